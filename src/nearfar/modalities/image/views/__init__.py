"""Views of a whole batch of images at once, with parameters of its own for each sample.

Parameters are keyed by (seed, draw, view), one stream of numbers for each group of operations. The order is turn, crop
and resize, flip, blur, colour, clamp, normalise, solarise, mask.

Crop, resize, flip and blur are linear and separable: two small matrices a sample, `[out, in]` for rows and for columns,
so that a view costs two batched matrix products. Large pictures on a CPU, where most of such a matrix is zero, take
torch's resize and the blur's band in their stead. Colour is linear too: brightness, contrast, saturation, hue,
greyscale and normalisation are one matrix `[c, c]` and one offset `[c]` a sample.

Pictures and views have their channels innermost in memory; that order falls out of the two products, and torch's resize
of bytes is twice as fast in it. A CPU makes a few views at a time, so that they stay in the cache.

Where this differs from torchvision: values are clamped once, after all colour changes; a hue shift is a rotation about
the grey axis in YIQ, not a shift in HSV (over random colours and shifts of up to 0.1 turns the two are 0.05 apart on
average, where values lie in [0, 1]; `benchmarks/views.py` says it for pictures); the order of the colour changes has no
meaning, as without clamps between them all orders give the same; the blur takes what lies outside the view as absent
(its weights are scaled to sum to one), where torchvision mirrors the border; and a turn repeats the border.
"""

from nearfar.modalities.image.views.crop import cropped
from nearfar.modalities.image.views.pieces import by_pieces
from nearfar.modalities.image.views.recipe import ViewMaker

__all__ = ["ViewMaker", "by_pieces", "cropped"]
