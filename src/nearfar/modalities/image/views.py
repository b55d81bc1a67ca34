"""Views of a whole batch of images at once: crop, resize, flip, turn, blur, colour.

The published views of SimCLR (Chen et al. 2020, appendix A), with parameters of its own for each sample, keyed by
(seed, draw, view). Crop, resize, flip and blur are linear and separable: two small matrices a sample, `[out, in]` for
rows and for columns, so that a view costs two batched matrix products (large pictures on a CPU, where most of such a
matrix is zero, go one by one). Colour is linear too: brightness, contrast,
saturation, hue, greyscale and normalisation compose into one matrix `[c, c]` and one offset `[c]` a sample.

Where this differs from torchvision: values are clamped once, after all colour changes; hue is a rotation about the
grey axis in YIQ (torchvision's goes through HSV and is not linear: over random colours and shifts of up to 0.1 turns
the two are 0.05 apart on average, where values lie in [0, 1]); order is blur, brightness, contrast, saturation,
hue, grey; and the blur takes what lies outside the view as absent (its weights are scaled to sum to one), where
torchvision mirrors the border.
"""

import math
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from nearfar import randomness
from nearfar.modalities.image.options import ImageOptions

_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))
_TRIES = 10  # as torchvision's RandomResizedCrop, before it falls back to the centre
_LARGE = 128  # pixels a side from where one picture at a time is much faster than products with mostly zeros
_NUMBERS = 2 * _TRIES + 12


def crop_boxes(
    numbers: NDArray[np.float32], aspect: NDArray[np.float32], scale: tuple[float, float], ratio: float = 4 / 3
) -> NDArray[np.float32]:
    """Boxes `[b, 4]` as torchvision's RandomResizedCrop draws them, in shares of width and height.

    `numbers` [b, 2 * tries + 2] are uniform; `aspect` [b] is width / height of the whole image.
    """
    tries = (numbers.shape[1] - 2) // 2
    share = scale[0] + (scale[1] - scale[0]) * numbers[:, :tries]
    shape = np.exp((2 * numbers[:, tries : 2 * tries] - 1) * math.log(ratio))
    width = np.sqrt(share * shape / aspect[:, None])  # of the image's width
    height = np.sqrt(share * aspect[:, None] / shape)  # of the image's height
    fits = (width <= 1) & (height <= 1)
    first = fits.argmax(axis=1)
    rows = np.arange(len(numbers))
    w, h = width[rows, first], height[rows, first]
    none = ~fits.any(axis=1)
    if none.any():  # the largest central box whose own ratio is allowed
        bounded = np.clip(aspect, 1 / ratio, ratio)
        w = np.where(none, np.minimum(1, bounded / aspect), w)
        h = np.where(none, np.minimum(1, aspect / bounded), h)
    at = np.where(none[:, None], np.float32(0.5), numbers[:, -2:])
    return np.stack([at[:, 0] * (1 - w), at[:, 1] * (1 - h), w, h], axis=1).astype(np.float32)


def resampling(start: Tensor, length: Tensor, size_in: int, size_out: int, flipped: Tensor | None = None) -> Tensor:
    """Matrices `[b, size_out, size_in]` that resize the part from `start` (a share) of `length`, antialiased.

    The filter is the triangle, widened where the part is larger than the output, as in PIL's BILINEAR.
    """
    place = (torch.arange(size_out, device=start.device) + 0.5) / size_out
    centre = (start[:, None] + place * length[:, None]) * size_in  # [b out]
    if flipped is not None:
        centre = torch.where(flipped[:, None], centre.flip(1), centre)
    support = (length * (size_in / size_out)).clamp_min(1)[:, None, None]
    pixel = torch.arange(size_in, device=start.device) + 0.5
    weights = (centre[:, :, None] - pixel).abs_().div_(support).neg_().add_(1).clamp_min_(0)
    return weights.div_(weights.sum(2, keepdim=True))


def cropped(
    pictures: Tensor, boxes: Tensor, size: int, *, flipped: Tensor | None = None, sigmas: Tensor | None = None
) -> Tensor:
    """The boxes `[b, 4]` of pictures `[b, c, s, s]`, resized to `[b, c, size, size]` float, flipped and blurred."""
    stored = pictures.shape[-1]
    if pictures.device.type == "cpu" and stored >= _LARGE:
        found = cut(pictures, boxes, size, flipped)
        if sigmas is not None and (some := sigmas > 0).any():
            blur = blurring(sigmas[some], size)
            found[some] = resampled(found[some], blur, blur)
        return found
    across = resampling(boxes[:, 0], boxes[:, 2], stored, size, flipped)
    down = resampling(boxes[:, 1], boxes[:, 3], stored, size)
    if sigmas is not None:
        blur = blurring(sigmas, size)
        across, down = blur @ across, blur @ down
    return resampled(pictures.float(), across, down)


def resampled(pictures: Tensor, across: Tensor, down: Tensor) -> Tensor:
    """Pictures `[b, c, s, s]` under matrices `[b, size, s]` for columns and for rows: `[b, c, size, size]`."""
    b, c, stored = pictures.shape[:3]
    size = across.shape[1]
    wide = torch.bmm(pictures.reshape(b, c * stored, stored), across.transpose(1, 2)).view(b, c, stored, size)
    found = pictures.new_empty(b, c, size, size)
    for i in range(c):  # one product over all channels would copy `down` for each of them
        torch.bmm(down, wide[:, i], out=found[:, i])
    return found


def cut(pictures: Tensor, boxes: Tensor, size: int, flipped: Tensor | None = None) -> Tensor:
    """What `resampling` does, one picture at a time by torch's own kernel, which skips the zeros: `[b, c, size, size]`.

    Boxes are rounded to whole pixels and pixels outside of them play no part, as in torchvision; bytes are rounded to
    bytes.
    """
    b, c, stored = pictures.shape[:3]
    corners = torch.cat([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], dim=1).mul(stored).round().long()
    corners[:, :2].clamp_(0, stored - 1)
    corners[:, 2:] = torch.minimum(torch.maximum(corners[:, 2:], corners[:, :2] + 1), torch.tensor(stored))
    found = pictures.new_empty(b, c, size, size)

    inference = torch.is_inference_mode_enabled()  # each thread has a mode of its own

    def some(rows: range) -> None:
        with torch.inference_mode(inference):
            for i in rows:
                left, top, right, bottom = places[i]
                part = pictures[i : i + 1, :, top:bottom, left:right].contiguous()
                part = interpolate(part, size=(size, size), mode="bilinear", antialias=True)
                found[i] = part[0].flip(2) if mirrored[i] else part[0]

    places = corners.tolist()
    mirrored = [False] * b if flipped is None else flipped.tolist()
    threads = torch.get_num_threads()
    if threads == 1:
        some(range(b))
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(some, [range(start, b, threads) for start in range(threads)]))
    return found.float()


def blurring(sigmas: Tensor, size: int) -> Tensor:
    """Gaussian matrices `[b, size, size]`, rows summing to one; sigma 0 is the identity. Sigmas are in pixels."""
    at = torch.arange(size, device=sigmas.device)
    exponents = at.square() / (2 * sigmas.square() + 1e-8)[:, None]
    # What float32 loses beside 1 is nothing: denormal weights would make the products ten times slower.
    kernels = exponents.clamp_max(17).neg().exp().masked_fill_(exponents >= 17, 0)
    mirrored = torch.cat([kernels.flip(1), kernels[:, 1:]], dim=1)
    weights = mirrored.unfold(1, size, 1).flip(1)  # [b size size], each row one place further
    return weights.div_(weights.sum(2, keepdim=True))


def turn(pictures: Tensor, radians: Tensor, aspect: Tensor) -> Tensor:
    """Turn each picture `[b, c, h, w]` about its centre; what comes in from outside repeats the border."""
    cos, sin = radians.cos(), radians.sin()
    none = torch.zeros_like(cos)
    theta = torch.stack([cos, -sin / aspect, none, sin * aspect, cos, none], dim=1).view(-1, 2, 3)
    grid = affine_grid(theta, list(pictures.shape), align_corners=False)
    return grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def colour(
    numbers: Tensor, means: Tensor, *, strength: float, jitter: float, greyscale: float
) -> tuple[Tensor, Tensor]:
    """Matrices `[b, c, c]` and offsets `[b, c]` that change the colours of pictures whose mean colours are `means`.

    `numbers` [b, 6] are uniform: whether to change, brightness, contrast, saturation, hue, whether to go grey.
    Factors are those of SimCLR: 1 +- 0.8 strength, hue +- 0.2 strength of a full turn.
    """
    b, c = means.shape
    device = means.device
    low, high = max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength
    on = (numbers[:, 0] < jitter).float()[:, None]
    factors = 1 + on * (low - 1 + (high - low) * numbers[:, 1:4])
    brightness, contrast, saturation = (factors[:, i, None] for i in range(3))
    eye = torch.eye(c, device=device).expand(b, c, c)
    to_yiq, from_yiq = _yiq(device)
    luma = to_yiq[0] if c == 3 else torch.full((c,), 1 / c, device=device)
    matrix = eye * brightness[:, :, None]
    offset = (1 - contrast) * brightness * (means @ luma)[:, None]
    matrix = matrix * contrast[:, :, None]
    offset = offset.expand(b, c)
    if c == 3:
        grey = luma.expand(c, c)
        step = eye * saturation[:, :, None] + grey * (1 - saturation)[:, :, None]
        angle = on[:, 0] * (2 * numbers[:, 4] - 1) * min(0.2 * strength, 0.5) * 2 * math.pi
        spin = torch.zeros(b, 3, 3, device=device)
        spin[:, 0, 0] = 1
        spin[:, 1, 1] = spin[:, 2, 2] = angle.cos()
        spin[:, 1, 2], spin[:, 2, 1] = angle.sin(), -angle.sin()  # red to green, as torchvision turns
        step = from_yiq @ spin @ to_yiq @ step
        step = torch.where((numbers[:, 5] < greyscale)[:, None, None], grey @ step, step)
        matrix = step @ matrix
        offset = (step @ offset[:, :, None])[:, :, 0]
    return matrix, offset


class ViewMaker:
    """Makes the views of batches of pictures for an encoder of `size` pixels and given channel statistics."""

    def __init__(self, options: ImageOptions, *, size: int, mean: Tensor, std: Tensor, seed: int) -> None:
        self.options = options
        self.size = size
        self.mean = mean
        self.std = std
        self.seed = seed
        self._bounds = list(zip((-mean / std).tolist(), ((1 - mean) / std).tolist(), strict=True))

    @torch.no_grad()
    def __call__(self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> Tensor:
        """View number `view` of the pictures `[b, c, s, s]` (uint8): `[b, c, size, size]` float, normalised."""
        # A view made again inside an embed call must not be made in the encoder's arithmetic.
        with torch.autocast(pixels.device.type, enabled=False):
            return self._make(pixels, aspect, draws, view, small)

    def _make(self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> Tensor:
        options = self.options
        numbers = randomness.uniform(self.seed, "image views", draws, _NUMBERS, view)
        lowest = options.crop_scale or 1.0
        size = self.size
        scale = (lowest, 1.0)
        if small:  # multi-crop (Caron et al. 2020, SwAV), its small views of the shares that DINO takes
            size = max(8, 8 * round(0.43 * self.size / 8))
            scale = (min(0.05, lowest), max(lowest, 0.4))
        placed = torch.from_numpy(crop_boxes(numbers[:, : 2 * _TRIES + 2], aspect.cpu().numpy(), scale))
        boxes = placed.to(pixels.device)
        rest = torch.from_numpy(numbers[:, 2 * _TRIES + 2 :]).to(pixels.device)

        flipped = rest[:, 0] < (options.flip or 0)
        sigmas = None
        if options.blur:  # SimCLR: sigma in [0.1, 2] at 224 px, scaled with the size
            sigmas = torch.where(rest[:, 1] < options.blur, (0.1 + 1.9 * rest[:, 2]) * size / 224, 0)
        source = pixels
        if options.rotate:
            radians = (2 * rest[:, 3] - 1) * math.radians(options.rotate)
            source = turn(source.float(), radians, aspect.to(rest))
        found = cropped(source, boxes, size, flipped=flipped, sigmas=sigmas)
        return self._coloured(found, rest[:, 4:10])

    def _coloured(self, found: Tensor, numbers: Tensor) -> Tensor:
        """Views `[b, c, h, w]` in [0, 255] with their colours changed, clamped and normalised."""
        options = self.options
        flat = found.flatten(2)
        mean, std = self.mean.to(found), self.std.to(found)
        matrix, offset = colour(
            numbers,
            flat.mean(2) / 255,
            strength=options.views_strength or 0,
            jitter=options.jitter or 0,
            greyscale=options.greyscale or 0,
        )
        matrix = matrix / (255 * std[:, None])
        offset = (offset - mean) / std
        out = torch.baddbmm(offset[:, :, None], matrix, flat)
        for channel, (low, high) in zip(out.unbind(1), self._bounds, strict=True):
            channel.clamp_(low, high)
        return out.view(found.shape)


@cache
def _yiq(device: torch.device) -> tuple[Tensor, Tensor]:
    """The matrices from RGB to YIQ and back."""
    there = torch.tensor(_YIQ, dtype=torch.float64)
    return there.float().to(device), torch.linalg.inv(there).float().to(device)
