"""Views of a whole batch of images at once: crop, resize, flip, turn, blur, colour.

The published views of SimCLR (Chen et al. 2020, appendix A), with parameters of its own for each sample, keyed by
(seed, draw, view). Crop, resize, flip and blur are linear and separable: two small matrices a sample, `[out, in]` for
rows and for columns, so that a view costs two batched matrix products. Colour is linear too: brightness, contrast,
saturation, hue, greyscale and normalisation compose into one matrix `[c, c]` and one offset `[c]` a sample.

Where this differs from torchvision: values are clamped once, after all colour changes; hue is a rotation about the
grey axis in YIQ (torchvision's goes through HSV and is not linear); order is brightness, contrast, saturation, hue.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar import randomness
from nearfar.modalities.image.options import ImageOptions

_LUMA = torch.tensor([0.299, 0.587, 0.114])
_TO_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_FROM_YIQ = torch.linalg.inv(_TO_YIQ)
_TRIES = 10  # as torchvision's RandomResizedCrop, before it falls back to the centre
_NUMBERS = 2 * _TRIES + 14


@dataclass(frozen=True)
class Geometry:
    """Where views lie: boxes `[b, 4]` (left, top, width, height) as shares of the image, flips, turns, blurs `[b]`."""

    boxes: Tensor
    flipped: Tensor
    radians: Tensor
    sigmas: Tensor


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
    weights = (1 - (centre[:, :, None] - pixel).abs() / support).clamp_min_(0)
    return weights / weights.sum(2, keepdim=True).clamp_min_(1e-6)


def blurring(sigmas: Tensor, size: int) -> Tensor:
    """Gaussian matrices `[b, size, size]`, rows summing to one; sigma 0 is the identity. Sigmas are in pixels."""
    at = torch.arange(size, device=sigmas.device, dtype=torch.float32)
    distance = (at[:, None] - at).square()
    weights = torch.exp(-distance / (2 * sigmas.square() + 1e-8)[:, None, None])
    return weights / weights.sum(2, keepdim=True)


def turn(pictures: Tensor, radians: Tensor, aspect: Tensor) -> Tensor:
    """Turn each picture `[b, c, h, w]` about its centre; what comes in from outside repeats the border."""
    cos, sin = radians.cos(), radians.sin()
    none = torch.zeros_like(cos)
    theta = torch.stack([cos, -sin / aspect, none, sin * aspect, cos, none], dim=1).view(-1, 2, 3)
    grid = torch.nn.functional.affine_grid(theta, list(pictures.shape), align_corners=False)
    return torch.nn.functional.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def colour(numbers: Tensor, means: Tensor, *, strength: float, jitter: float, greyscale: float) -> tuple[Tensor, Tensor]:
    """Matrices `[b, c, c]` and offsets `[b, c]` that change the colours of pictures whose mean colours are `means`.

    `numbers` [b, 6] are uniform: whether to change, brightness, contrast, saturation, hue, whether to go grey.
    Factors are those of SimCLR: 1 +- 0.8 strength, hue +- 0.2 strength of a full turn.
    """
    b, c = means.shape
    device = means.device
    spread = min(0.8 * strength, 1.0)
    on = (numbers[:, 0] < jitter).float()[:, None]
    factors = 1 + on * spread * (2 * numbers[:, 1:4] - 1)
    brightness, contrast, saturation = (factors[:, i, None] for i in range(3))
    eye = torch.eye(c, device=device).expand(b, c, c)
    luma = _LUMA.to(device) if c == 3 else torch.full((c,), 1 / c, device=device)
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
        spin[:, 1, 2], spin[:, 2, 1] = -angle.sin(), angle.sin()
        step = _FROM_YIQ.to(device) @ spin @ _TO_YIQ.to(device) @ step
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

    def __call__(self, pixels: Tensor, aspect: Tensor, draws: NDArray[np.int64], view: int, small: bool) -> Tensor:
        """View number `view` of the pictures `[b, c, s, s]` (uint8): `[b, c, size, size]` float, normalised."""
        options = self.options
        numbers = randomness.uniform(self.seed, "image views", draws, _NUMBERS, view)
        lowest = options.crop_scale or 1.0
        size = self.size
        scale = (lowest, 1.0)
        if small:  # multi-crop: Caron et al. 2020 (SwAV), small views of small parts
            size = max(8, 8 * round(0.43 * self.size / 8))
            scale = (min(0.05, lowest), max(lowest, 0.4))
        boxes = torch.from_numpy(crop_boxes(numbers[:, : 2 * _TRIES + 2], aspect.cpu().numpy(), scale))
        rest = torch.from_numpy(numbers[:, 2 * _TRIES + 2 :]).to(pixels.device)
        boxes = boxes.to(pixels.device)

        stored = pixels.shape[-1]
        flipped = rest[:, 0] < (options.flip or 0)
        across = resampling(boxes[:, 0], boxes[:, 2], stored, size, flipped)
        down = resampling(boxes[:, 1], boxes[:, 3], stored, size)
        if options.blur:
            # SimCLR: sigma in [0.1, 2] at 224 px with a kernel of a tenth of the side, scaled with the size.
            sigma = (0.1 + 1.9 * rest[:, 2]) * size / 224
            blur = blurring(torch.where(rest[:, 1] < options.blur, sigma, torch.zeros_like(sigma)), size)
            across, down = blur @ across, blur @ down
        source = pixels.float()
        if options.rotate:
            radians = (2 * rest[:, 3] - 1) * math.radians(options.rotate)
            source = turn(source, radians, aspect.to(source))
        b, c = source.shape[:2]
        wide = torch.bmm(source.view(b, c * stored, stored), across.transpose(1, 2)).view(b, c, stored, size)
        view_pixels = torch.matmul(down[:, None], wide).view(b, c, size * size)

        means = view_pixels.mean(2) / 255
        matrix, offset = colour(
            rest[:, 4:10],
            means,
            strength=options.views_strength or 0,
            jitter=options.jitter or 0,
            greyscale=options.greyscale or 0,
        )
        mean, std = self.mean.to(source), self.std.to(source)
        matrix = matrix / (255 * std[:, None])
        offset = (offset - mean) / std
        out = torch.baddbmm(offset[:, :, None], matrix, view_pixels)
        low, high = -mean / std, (1 - mean) / std
        return torch.clamp(out, low[:, None], high[:, None]).view(b, c, size, size)
