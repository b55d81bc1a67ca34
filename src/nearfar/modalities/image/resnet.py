"""ResNets of any width and any number of channels, in parts named as torchvision names them.

He et al., "Deep residual learning for image recognition", 2015; the stride of a bottleneck stands on its 3x3 layer
(as in torchvision). Weights of torchvision and of timm load into the standard ones unchanged.
Three stems: `imagenet` (7x7, stride 2, then 3x3 max pooling, stride 2), `cifar` (3x3, no pooling: Chen et al. 2020,
appendix B.9) and `patch` (4x4, stride 2: a quarter of the pixels from the first layer on).
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 layers around a shortcut."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[n, inputs, h, w]` to maps `[n, planes, h / stride, w / stride]`."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)  # type: ignore[no-any-return]


class Bottleneck(nn.Module):
    """A 3x3 layer between two 1x1 layers, around a shortcut."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int) -> None:
        super().__init__()
        outputs = planes * self.expansion
        self.conv1 = nn.Conv2d(inputs, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[n, inputs, h, w]` to maps `[n, 4 * planes, h / stride, w / stride]`."""
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)  # type: ignore[no-any-return]


LAYERS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], Sequence[int]]] = {
    "resnet8": (BasicBlock, (1, 1, 1)),
    "resnet10": (BasicBlock, (1, 1, 1, 1)),
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet34": (BasicBlock, (3, 4, 6, 3)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
}
"""Block and number of blocks a stage, by name."""

STEMS = {"imagenet": (7, 2, 3), "cifar": (3, 1, 1), "patch": (4, 2, 1)}
"""Kernel, stride and padding of the first layer, by the stem's name."""

POOLS = ("last", "stages")


class ResNet(nn.Module):
    """Images `[n, channels, h, w]` to pooled features `[n, dim]`.

    With `pool="last"` these are the means over the last stage's map, as in the paper; with `pool="stages"` the means
    and the spreads over the maps of the stem and of every stage side by side (statistics pooling: Snyder et al. 2018):
    the finer ones keep what the last one has given up.
    """

    def __init__(
        self, name: str, *, channels: int = 3, width: int = 64, stem: str = "imagenet", pool: str = "last"
    ) -> None:
        super().__init__()
        block, counts = LAYERS[name]
        kernel, stride, padding = STEMS[stem]
        self.conv1 = nn.Conv2d(channels, width, kernel, stride, padding, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if stem == "imagenet" else nn.Identity()
        self.stages: list[str] = []
        outputs = [width]
        inputs = width
        for i, count in enumerate(counts):
            planes = width * 2**i
            blocks: list[nn.Module] = []
            for j in range(count):
                blocks.append(block(inputs, planes, 2 if i > 0 and j == 0 else 1))
                inputs = planes * block.expansion
            self.stages.append(f"layer{i + 1}")
            self.add_module(self.stages[-1], nn.Sequential(*blocks))
            outputs.append(inputs)
        self.pool = pool
        self.dim = inputs if pool == "last" else 2 * sum(outputs)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Images to features."""
        return self._pooled(self.stem_and_stages(x))

    def features_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images to features, and to the map of each stage."""
        maps = self.stem_and_stages(x)
        return self._pooled(maps), maps[1:]

    def maps(self, x: Tensor) -> list[Tensor]:
        """Images to the map of each stage `[n, c, h, w]`."""
        return self.stem_and_stages(x)[1:]

    def stem_and_stages(self, x: Tensor) -> list[Tensor]:
        """Images to the maps of the stem and of each stage `[n, c, h, w]`."""
        maps = [self.maxpool(self.relu(self.bn1(self.conv1(x))))]
        for stage in self.stages:
            maps.append(self.get_submodule(stage)(maps[-1]))
        return maps

    def _pooled(self, maps: Sequence[Tensor]) -> Tensor:
        if self.pool == "last":
            return mean(maps[-1])
        return torch.cat([statistic for one in maps for statistic in mean_and_spread(one)], dim=1)


def mean(maps: Tensor) -> Tensor:
    """The mean of each map: `[n, c, h, w]` to `[n, c]`.

    Not `maps.mean((2, 3))`: its gradient has no memory layout of its own, and adding it to a map's takes as long as a
    convolution (a fifth of the step of a small network on a CPU).
    """
    return nn.functional.avg_pool2d(maps, (maps.shape[-2], maps.shape[-1])).flatten(1)


def coarse(maps: Tensor) -> Tensor:
    """Maps averaged to about 8 x 8 where they are larger."""
    cells = max(1, maps.shape[-2] // 8), max(1, maps.shape[-1] // 8)
    return maps if cells == (1, 1) else nn.functional.avg_pool2d(maps, cells)


def mean_and_spread(maps: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each map, averaged to about 8 x 8 first: `[n, c, h, w]` to twice `[n, c]`."""
    maps = coarse(maps)
    centre = mean(maps)
    apart = mean((maps - centre[:, :, None, None]).square())
    return centre, (apart + 1e-4).sqrt()  # the root has no slope at zero


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Module | None:
    if stride == 1 and inputs == outputs:
        return None
    kind = _Narrow if inputs < 8 else nn.Conv2d
    return nn.Sequential(kind(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


class _Narrow(nn.Conv2d):
    """A 1x1 convolution with strides that leaves pixels out first.

    With fewer than 7 channels inside, oneDNN's own (torch 2.14, AVX2, channels last) writes over other memory on its
    way back.
    """

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.conv2d(x[:, :, :: self.stride[0], :: self.stride[1]], self.weight, self.bias)
