"""The options of images; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal

from nearfar.errors import must

ENCODERS: dict[str, str] = {
    "small_cnn": "three convolution blocks, 64-128-256 channels, global average pooling",
    "resnet8": "three stages of one block behind a strided stem, pooled together: the most accuracy a minute on a CPU",
    "resnet10": "four stages of one block, else as resnet8",
    "resnet18": "ResNet-18; 3x3 stem without pooling for images of at most 96 px",
    "resnet34": "ResNet-34; the stem as for resnet18",
    "resnet50": "ResNet-50; the stem as for resnet18",
    "resnet101": "ResNet-101; the stem as for resnet18",
}
"""Names built in, and a line for each; any timm name works beside them."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images are sized and how their views are made."""

    image_size: int | None = None
    """Side in pixels of what the encoder sees."""
    views_strength: float | None = None
    """Brightness, contrast, saturation and hue at once: 0 none, 1 SimCLR's ImageNet setting, 0.5 its CIFAR setting."""
    crop_scale: float | None = None
    """Smallest share of the image's area that a view may show, in (0, 1]."""
    flip: float | None = None
    """Probability of a horizontal flip."""
    rotate: float | None = None
    """Largest turn of a view, in degrees to either side."""
    greyscale: float | None = None
    """Probability that a view loses its colours."""
    blur: float | None = None
    """Probability of a Gaussian blur."""
    jitter: float | None = None
    """Probability of a change of brightness, contrast, saturation and hue."""
    stem: Literal["auto", "cifar", "imagenet", "patch"] = "auto"
    """First layers of a resnet: 3x3 without pooling (cifar), 7x7 with pooling (imagenet) or 4x4, stride 2 (patch)."""
    pool: Literal["auto", "last", "stages"] = "auto"
    """Features of a resnet: means of its last stage's map (last), or means and spreads of all stages' maps (stages)."""

    def __post_init__(self) -> None:
        must(self.image_size is None or self.image_size >= 8, "image_size must be at least 8", got=self.image_size)
        must(
            self.views_strength is None or 0 <= self.views_strength <= 2,
            "views_strength must be in [0, 2]",
            got=self.views_strength,
        )
        must(self.crop_scale is None or 0 < self.crop_scale <= 1, "crop_scale must be in (0, 1]", got=self.crop_scale)
        must(self.rotate is None or 0 <= self.rotate <= 180, "rotate must be in [0, 180] degrees", got=self.rotate)
        for name in ("flip", "greyscale", "blur", "jitter"):
            value = getattr(self, name)
            must(value is None or 0 <= value <= 1, f"{name} is a probability and must be in [0, 1]", got=value)
        stems, pools = ("auto", "cifar", "imagenet", "patch"), ("auto", "last", "stages")
        must(self.stem in stems, f"stem must be one of {', '.join(stems)}", got=self.stem)
        must(self.pool in pools, f"pool must be one of {', '.join(pools)}", got=self.pool)
