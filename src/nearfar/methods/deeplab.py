"""The head of DeepLabV3+: classes of pixels from an encoder's coarsest maps, sharpened by a finer one.

Chen et al., "Encoder-decoder with atrous separable convolution for semantic image segmentation", 2018.

Differs from the paper: layers are plain, not separable, and have group norm (Wu and He, 2018), so that what a picture
gets does not depend on the others of its batch; the rates of the atrous layers follow the side of the map as 6, 12 and
18 follow 33 cells; and an encoder is taken as it is: where its coarsest map has a stride beyond 16, that map goes into
the pyramid together with the one before it, in the place of a last stage without strides.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from nearfar.contract import Map

_STRIDE = 16  # of the map that the pyramid reads, at most, where there is one
_FINE = 4  # the stride of the map that sharpens, at least, where there is one
_LOW = 48  # channels that it keeps
_GROUP = 4  # channels that are normalised together, at least
_SIDE = 33 / 6  # cells of a map, by which rates of the paper are multiples of one


class DeepLabHead(nn.Module):
    """Maps of an encoder, whose `shapes` are channels and strides, to scores of `classes` in the finest map used.

    `size` is the side in pixels of what the encoder learns from, `width` the channels of the layers.
    """

    def __init__(self, shapes: Sequence[tuple[int, int]], classes: int, *, size: int, width: int) -> None:
        super().__init__()
        self.low, self.deep = chosen([stride for _, stride in shapes])
        channels = [count for count, _ in shapes]
        inputs = sum(channels[i] for i in self.deep)
        rate = max(1, round(size / shapes[self.deep[0]][1] / _SIDE))
        self.branches = nn.ModuleList(
            [_layer(inputs, width, 1), *(_layer(inputs, width, 3, rate * times) for times in (1, 2, 3))]
        )
        self.whole = nn.Sequential(nn.Conv2d(inputs, width, 1), nn.ReLU(inplace=True))  # one cell is no norm
        self.joined = _layer(5 * width, width, 1)
        self.sharp = None if self.low is None else _layer(channels[self.low], _LOW, 1)
        decoder = width if self.low is None else width + _LOW
        self.decoder = nn.Sequential(_layer(decoder, width, 3), _layer(width, width, 3))
        self.scores = nn.Conv2d(width, classes, 1)

    def forward(self, maps: Sequence[Map]) -> Tensor:
        """Maps, finest first, to scores `[n, classes, h, w]`, h and w being those of the finest map that is used."""
        first = maps[self.deep[0]].values
        together = torch.cat([_as_large(maps[i].values, first) for i in self.deep], 1)
        mean = self.whole(together.mean((2, 3), keepdim=True)).expand(-1, -1, *together.shape[-2:])
        x = self.joined(torch.cat([*(branch(together) for branch in self.branches), mean], 1))
        if self.sharp is not None and self.low is not None:
            fine = self.sharp(maps[self.low].values)
            x = torch.cat([_as_large(x, fine), fine], 1)
        found: Tensor = self.scores(self.decoder(x))
        return found


def chosen(strides: Sequence[int]) -> tuple[int | None, list[int]]:
    """Which of the maps, finest first, sharpens, None where no other is left, and which the pyramid reads."""
    last = len(strides) - 1
    deep = [last - 1, last] if last > 0 and strides[last] > _STRIDE >= strides[last - 1] else [last]
    finer = list(range(deep[0]))
    if not finer:
        return None, deep
    return next((i for i in finer if strides[i] >= _FINE), finer[-1]), deep


def _layer(inputs: int, outputs: int, kernel: int, rate: int = 1) -> nn.Sequential:
    groups = max((count for count in range(1, 33) if outputs % (count * _GROUP) == 0), default=1)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=rate * (kernel // 2), dilation=rate, bias=False),
        nn.GroupNorm(groups, outputs),
        nn.ReLU(inplace=True),
    )


def _as_large(maps: Tensor, other: Tensor) -> Tensor:
    size = other.shape[-2:]
    return maps if maps.shape[-2:] == size else interpolate(maps, size, mode="bilinear", align_corners=False)
