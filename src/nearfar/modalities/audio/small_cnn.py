"""A small network over spectrograms of any length: four convolutions, then statistics over time.

Frames behind the end of a clip are zero after every layer, and play no part in the statistics: a clip's vector is the
same whatever else is in the batch.
"""

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
    at = torch.arange(x.shape[2], device=x.device)
    bounds = torch.arange(parts + 1, device=x.device) / parts * frames[:, None]  # [n parts+1]
    weights = (bounds[:, 1:, None] - at).clamp(0, 1) - (bounds[:, :-1, None] - at).clamp(0, 1)
    weights = weights / weights.sum(2, keepdim=True)
    return torch.bmm(weights.to(x.dtype), x.transpose(1, 2)).flatten(1)
