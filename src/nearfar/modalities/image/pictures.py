"""A raw batch of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor
from torch.nn.functional import interpolate


@dataclass(frozen=True)
class Pictures:
    """Whole pictures as squares: `pixels` uint8 `[b, channels, size, size]`, `aspect` `[b]` float32, width over height.

    Those of a source have their channels innermost in memory. Where the source has annotations, `marks` are what these
    say of the squares, `[b, ...]` by name. Indexing takes samples: by slice, by index tensor or by mask.
    """

    pixels: Tensor
    aspect: Tensor
    marks: Mapping[str, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, samples: slice | Tensor) -> Pictures:
        marks = {name: values[samples] for name, values in self.marks.items()}
        return Pictures(self.pixels[samples], self.aspect[samples], marks)

    def in_shape(self) -> list[Tensor]:
        """Each picture `[channels, h, w]` with its own ratio of sides, the longer one as long as that of the square."""
        size = self.pixels.shape[-1]
        shapes = [
            (size, max(1, round(size * a))) if a < 1 else (max(1, round(size / a)), size) for a in self.aspect.tolist()
        ]
        return [
            square.contiguous()
            if shape == (size, size)
            else interpolate(square[None].contiguous(), shape, mode="bilinear", antialias=True)[0]
            for square, shape in zip(self.pixels, shapes, strict=True)
        ]
