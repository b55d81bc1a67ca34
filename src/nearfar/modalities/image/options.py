"""The options of images; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal, get_args, get_type_hints

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

EXTENSIONS = frozenset({
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".gif", ".bmp", ".dib", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
    ".pbm", ".pnm", ".avif", ".jp2",
})  # fmt: skip
"""Files that are pictures."""

MAX_PIXELS = 100_000_000
"""Of a picture, where nothing else is said."""

LARGEST = 16_384
"""Of an `image_size`: what is larger is a slip, or an altered file."""

STRENGTH = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
"""What a `views_strength` of 1 stands for: the largest changes of SimCLR (Chen et al. 2020, appendix A)."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions:
    """How images are sized and how their views are made."""

    image_size: int | None = None
    """Side in pixels of what the encoder sees."""
    max_pixels: int = MAX_PIXELS
    """Images with more pixels than this are skipped, before any decoder sees them."""
    views_strength: float | None = None
    """Brightness, contrast, saturation and hue at once: 0 none, 1 SimCLR's ImageNet setting, 0.5 its CIFAR setting."""
    brightness: float | None = None
    """Largest change of the brightness, a share of it; 0.8 of views_strength when not given."""
    contrast: float | None = None
    """Largest change of the contrast, a share of it; 0.8 of views_strength when not given."""
    saturation: float | None = None
    """Largest change of the saturation, a share of it; 0.8 of views_strength when not given."""
    hue: float | None = None
    """Largest shift of the hue, a share of a full turn, in [0, 0.5]; 0.2 of views_strength when not given."""
    crop_scale: float | None = None
    """Smallest share of the image's area that a view may show, in (0, 1]."""
    flip: float | None = None
    """Probability of a horizontal flip."""
    flip_vertical: float = 0.0
    """Probability of a vertical flip."""
    rotate: float | None = None
    """Largest turn of a view, in degrees to either side."""
    greyscale: float | None = None
    """Probability that a view loses its colours."""
    blur: float | None = None
    """Probability of a Gaussian blur."""
    jitter: float | None = None
    """Probability of a change of brightness, contrast, saturation and hue."""
    solarise: float = 0.0
    """Probability that a view's bright values are inverted."""
    solarise_from: float = 0.5
    """Values from here on count as bright, in [0, 1]."""
    cutout: float = 0.0
    """Probability that a square is cut out of a view."""
    cutout_size: float = 0.5
    """Side of a cut-out, as a share of the view's, in (0, 1]."""
    mask: float = 0.0
    """Probability that a view is masked: (1 - mask_alpha) of it stays where the mask lies."""
    mask_shape: Literal["box", "pixels"] = "box"
    """What a mask covers: one box, or pixels drawn one by one."""
    mask_ratio: float = 0.33
    """Largest share of a view that a mask covers, in (0, 1]; each mask draws its own, from a sixteenth of this on."""
    mask_alpha: float = 1.0
    """How much of the mask is seen, in [0, 1]: 1 hides what lies below."""
    mask_fill: Literal["mean", "black"] = "mean"
    """Colour of masks and cut-outs: the data's mean, or black."""
    mask_views: Literal["all", "later"] = "all"
    """Views that are masked: all, or all but the first, so that a picture is compared with its masked self."""
    small_scale: float = 0.4
    """Largest share of the image's area that a small view shows, in (0, 1], for methods with multi-crop."""
    small_size: float = 0.43
    """Side of a small view, as a share of image_size, in (0, 1]; rounded to 8 pixels."""
    stem: Literal["auto", "cifar", "imagenet", "patch"] = "auto"
    """First layers of a resnet: 3x3 without pooling (cifar), 7x7 with pooling (imagenet) or 4x4, stride 2 (patch)."""
    pool: Literal["auto", "last", "stages"] = "auto"
    """Features of a resnet: means of its last stage's map (last), or means and spreads of all stages' maps (stages)."""

    def __post_init__(self) -> None:
        must(self.max_pixels >= 1, "max_pixels must be at least 1", got=self.max_pixels)
        size = 8 if self.image_size is None else self.image_size
        must(size >= 8, "image_size must be at least 8", got=size)
        must(size <= LARGEST, f"image_size must be at most {LARGEST}", got=size)
        must(
            self.views_strength is None or 0 <= self.views_strength <= 2,
            "views_strength must be in [0, 2]",
            got=self.views_strength,
        )
        for name in ("brightness", "contrast", "saturation"):
            value = getattr(self, name)
            must(value is None or 0 <= value <= 2, f"{name} must be in [0, 2]", got=value)
        must(self.hue is None or 0 <= self.hue <= 0.5, "hue must be in [0, 0.5]", got=self.hue)
        for name in ("crop_scale", "small_scale", "small_size", "cutout_size", "mask_ratio"):
            value = getattr(self, name)
            must(value is None or 0 < value <= 1, f"{name} must be in (0, 1]", got=value)
        for name in ("solarise_from", "mask_alpha"):
            must(0 <= getattr(self, name) <= 1, f"{name} must be in [0, 1]", got=getattr(self, name))
        must(self.rotate is None or 0 <= self.rotate <= 180, "rotate must be in [0, 180] degrees", got=self.rotate)
        for name in ("flip", "flip_vertical", "greyscale", "blur", "jitter", "solarise", "cutout", "mask"):
            value = getattr(self, name)
            must(value is None or 0 <= value <= 1, f"{name} is a probability and must be in [0, 1]", got=value)
        hints = get_type_hints(type(self))
        for name in ("stem", "pool", "mask_shape", "mask_fill", "mask_views"):
            known = get_args(hints[name])
            must(getattr(self, name) in known, f"{name} must be one of {', '.join(known)}", got=getattr(self, name))

    def largest(self, change: str) -> float:
        """The largest change of brightness, contrast, saturation or hue: its own, or its share of views_strength."""
        own: float | None = getattr(self, change)
        return STRENGTH[change] * (self.views_strength or 0) if own is None else own
