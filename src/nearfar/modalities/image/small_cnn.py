"""The small network: three blocks of a 3x3 convolution, batch norm, ReLU and 2x2 max pooling, then the mean."""

from torch import Tensor, nn

from nearfar.modalities.image.resnet import mean


class SmallCNN(nn.Module):
    """Images `[n, channels, h, w]`, h and w at least 8, to features `[n, 4 * width]`."""

    def __init__(self, *, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        inputs = channels
        for outputs in (width, 2 * width, 4 * width):
            blocks += [
                nn.Conv2d(inputs, outputs, 3, padding=1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
                nn.MaxPool2d(2),
            ]
            inputs = outputs
        self.blocks = nn.Sequential(*blocks)
        self.dim = inputs

    def forward(self, x: Tensor) -> Tensor:
        """Images to features."""
        return mean(self.blocks(x))

    def features_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Images to features, and to the map of each block."""
        maps = self.maps(x)
        return mean(maps[-1]), maps

    def maps(self, x: Tensor) -> list[Tensor]:
        """Images to the map of each block `[n, c, h, w]`, behind its pooling."""
        maps = []
        for layer in self.blocks:
            x = layer(x)
            if isinstance(layer, nn.MaxPool2d):
                maps.append(x)
        return maps
