"""Views of a whole batch of images at once, with parameters of its own for each sample.

Parameters are keyed by (seed, draw, view), one stream of numbers for each group of operations. The order is turn, crop
and resize, flip, blur, colour, clamp, normalise, solarise, mask.

Colour is linear: brightness, contrast, saturation, hue, greyscale and normalisation are one matrix `[c, c]` and one
offset `[c]` a sample. A CPU takes the pictures one by one through OpenCV's kernels (`single`), a few at a time so that
they stay in its cache; a GPU multiplies the whole batch by matrices (`batched`). Both make the same views. Pictures
and views have their channels innermost in memory.

Where this differs from torchvision: values are clamped once, after all colour changes; a hue shift is a rotation about
the grey axis in YIQ, not a shift in HSV (over random colours and shifts of up to 0.1 turns the two are 0.05 apart on
average, where values lie in [0, 1]; `benchmarks/views.py` says it for pictures); the order of the colour changes has no
meaning, as without clamps between them all orders give the same; the blur reaches three times its width; and a turn
repeats the border.
"""

from nearfar.modalities.image.views.plain import squares
from nearfar.modalities.image.views.recipe import ViewMaker

__all__ = ["ViewMaker", "squares"]
