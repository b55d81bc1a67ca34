"""A small network over spectrograms of any length: four convolutions, then statistics over time.

Frames behind the end of a clip are zero after every layer, and play no part in the statistics: a clip's vector is the
same whatever else is in the batch.
"""

from typing import Any

import torch
from torch import Tensor, nn


class SpectrogramCNN(nn.Module):
    """Spectrograms `[n, bands, frames]` of `frames` [n] to `[n, dim]`.

    The last convolution sees all frequencies at once. Its channels are pooled as mean and maximum over the clip, and
    as means over each of `parts` equal parts of it, which keep the order of things.
    """

    def __init__(self, *, bands: int, width: int = 32, parts: int = 4) -> None:
        super().__init__()
        sizes = ((7, 5), (3, 3), (3, 3))  # bands, frames
        steps = ((4, 2), (2, 2), (2, 1))
        layers, inputs, high = [], 1, bands
        for number, (size, step) in enumerate(zip(sizes, steps, strict=True)):
            outputs = width << number
            layers.append(_Layer(inputs, outputs, size, step))
            inputs, high = outputs, -(-high // step[0])
        layers.append(_Layer(inputs, 8 * width, (high, 1), (1, 1), flat=True))
        self.layers = nn.ModuleList(layers)
        self.parts = parts
        self.dim = 8 * width * (2 + parts)

    def forward(self, spectrograms: Tensor, frames: Tensor) -> Tensor:
        """Spectrograms to vectors."""
        x = spectrograms[:, None]
        for layer in self.layers:
            x, frames = layer(x, frames)
        return pooled(x[:, :, 0], frames, self.parts)

    def terms(self, spectrograms: Tensor, frames: Tensor) -> Tensor:
        """What each place of the last map of one clip `[1, bands, frames]` adds to its features: `[f, t, dim]`, low
        frequencies first.

        The last convolution is a sum over frequencies; its norm and ReLU scale each sum as a whole, and pooling weighs
        frames. What the norm adds is shared equally among the frequencies.
        """
        x = spectrograms[:, None]
        for layer in self.layers[:-1]:
            x, frames = layer(x, frames)
        last: Any = self.layers[-1]
        x = x[0, :, :, : int(frames)]
        scale = last.norm.weight / (last.norm.running_var + last.norm.eps).sqrt()
        shift = last.norm.bias - last.norm.running_mean * scale
        each = torch.einsum("oif,ift->fto", last.convolution.weight[..., 0], x) * scale + shift / x.shape[1]
        whole = each.sum(0)  # [t o]
        each = each * (whole > 0)
        largest = torch.zeros_like(whole).scatter_(0, whole.relu().argmax(0, keepdim=True), 1.0)
        means = [part_weights(frames, len(whole), parts)[0, :, :, None] for parts in (1, self.parts)]  # [parts t 1]
        return torch.cat([each * weights for weights in (largest, *torch.cat(means))], dim=2)


class _Layer(nn.Module):
    """A convolution, batch norm and ReLU; zero behind the end of each clip."""

    def __init__(self, inputs: int, outputs: int, size: tuple[int, int], step: tuple[int, int], flat: bool = False):
        super().__init__()
        padding = (0 if flat else size[0] // 2, size[1] // 2)
        self.convolution = nn.Conv2d(inputs, outputs, size, step, padding, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.step = step[1]

    def forward(self, x: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
        x = self.norm(self.convolution(x)).relu()
        frames = (frames + self.step - 1) // self.step
        return x * (torch.arange(x.shape[3], device=x.device) < frames[:, None])[:, None, None], frames


def pooled(x: Tensor, frames: Tensor, parts: int) -> Tensor:
    """Channels over time `[n, c, t]` to `[n, (2 + parts) * c]`: maximum, mean and means of equal parts of `frames`."""
    inside = torch.arange(x.shape[2], device=x.device) < frames[:, None]
    largest = x.masked_fill(~inside[:, None], torch.finfo(x.dtype).min).amax(2)
    return torch.cat([largest, means_of_parts(x, frames, 1), means_of_parts(x, frames, parts)], dim=1)


def means_of_parts(x: Tensor, frames: Tensor, parts: int) -> Tensor:
    """Means of channels `[n, c, t]` over equal parts of the first `frames` [n]: `[n, parts * c]`.

    The bounds of parts may lie within a frame.
    """
    weights = part_weights(frames, x.shape[2], parts)
    return torch.bmm(weights.to(x.dtype), x.transpose(1, 2)).flatten(1)


def part_weights(frames: Tensor, length: int, parts: int) -> Tensor:
    """How much each of `length` frames counts in the mean of each part: `[n, parts, length]`."""
    at = torch.arange(length, device=frames.device)
    bounds = torch.arange(parts + 1, device=frames.device) / parts * frames[:, None]  # [n parts+1]
    weights = (bounds[:, 1:, None] - at).clamp(0, 1) - (bounds[:, :-1, None] - at).clamp(0, 1)
    return weights / weights.sum(2, keepdim=True)
