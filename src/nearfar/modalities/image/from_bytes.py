"""Pictures of bytes to what a network sees, by matrix products alone: any exporter and runtime has these."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class FromBytes(nn.Module):
    """A network behind the central square of pictures `[n, c, h, w]` uint8, resized to `size` and normalised.

    As `torch.nn.functional.interpolate` of the square, bilinear and antialiased.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, size: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        self.size = size
        for name, values in (("mean", mean), ("std", std)):
            self.register_buffer(name, 255 * torch.tensor(values)[:, None, None])

    def forward(self, pixels: Tensor) -> Tensor:
        """Pictures to vectors `[n, dim]`."""
        high, wide = torch.ones_like(pixels[0, 0, :, 0]).float(), torch.ones_like(pixels[0, 0, 0]).float()
        side = torch.minimum(high.sum(), wide.sum())
        rows, columns = self._weights(high, side), self._weights(wide, side)
        made = rows @ pixels.float() @ columns.T
        found: Tensor = self.network((made - self.mean) / self.std)
        return found

    def _weights(self, ones: Tensor, side: Tensor) -> Tensor:
        """How much each of the places along an axis counts in each of the `size` new ones: `[size, places]`."""
        places = ones.cumsum(0) - 1
        left = torch.floor((ones.sum() - side) / 2)
        inside = (places >= left) & (places < left + side)
        step = side / self.size
        centres = left + (torch.arange(self.size, device=ones.device) + 0.5) * step
        apart = (places + 0.5 - centres[:, None]).abs() / step.clamp_min(1)
        weights = (1 - apart).clamp_min(0) * inside
        return weights / weights.sum(1, keepdim=True)
