"""The options of images; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal

from nearfar.options import Options, Span, automatic, option

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

LARGEST = 8_192
"""Of an `image_size`: what is larger is a slip, or an altered file."""

STRENGTH = {"brightness": 0.8, "contrast": 0.8, "saturation": 0.8, "hue": 0.2}
"""What a `views_strength` of 1 stands for: the largest changes of SimCLR (Chen et al. 2020, appendix A)."""


RECIPES: dict[str, dict[str, float]] = {
    "colours-change": {"keep_colours": 0.0},
    "colours-both": {"keep_colours": 0.5},
    "colours-stay": {"keep_colours": 1.0},
}
"""Whether views differ in hue and saturation; the usual one first."""


@dataclass(frozen=True, kw_only=True)
class ImageOptions(Options):
    """How images are sized and how their views are made."""

    image_size: int = automatic("Side in pixels of what the encoder sees.", least=8, most=LARGEST)
    normalise: str = automatic(
        "What pictures are normalised by: `data` (their own mean and spread), `imagenet`, or numbers of [0, 1] as "
        "MEAN,MEAN,MEAN/STD,STD,STD; when not given, what published weights were trained with, else the data."
    )
    max_pixels: int = option(
        MAX_PIXELS, "Images with more pixels than this are skipped, before any decoder sees them.", least=1
    )
    views_strength: float = automatic(
        "Brightness, contrast, saturation and hue at once: 0 none, 1 SimCLR's ImageNet setting, 0.5 its CIFAR setting.",
        least=0,
        most=2,
        tuned=Span(0, 1),
    )
    brightness: float | None = option(
        None, "Largest change of the brightness, a share of it; 0.8 of views_strength when not given.", least=0, most=2
    )
    contrast: float | None = option(
        None, "Largest change of the contrast, a share of it; 0.8 of views_strength when not given.", least=0, most=2
    )
    saturation: float | None = option(
        None, "Largest change of the saturation, a share of it; 0.8 of views_strength when not given.", least=0, most=2
    )
    hue: float | None = option(
        None,
        "Largest shift of the hue, a share of a full turn, in [0, 0.5]; 0.2 of views_strength when not given.",
        least=0,
        most=0.5,
    )
    crop_scale: float = automatic(
        "Smallest share of the image's area that a view may show, in (0, 1].", above=0, most=1, tuned=Span(0.08, 0.8)
    )
    flip: float = automatic("Probability of a horizontal flip.", least=0, most=1)
    flip_vertical: float = option(0.0, "Probability of a vertical flip.", least=0, most=1)
    rotate: float = automatic("Largest turn of a view, in degrees to either side.", least=0, most=180)
    greyscale: float = automatic("Probability that a view loses its colours.", least=0, most=1)
    keep_colours: float = automatic(
        "Share of the samples whose views all keep the picture's hue and saturation.", least=0, most=1
    )
    blur: float = automatic("Probability of a Gaussian blur.", least=0, most=1)
    jitter: float = automatic("Probability of a change of brightness, contrast, saturation and hue.", least=0, most=1)
    solarise: float = option(0.0, "Probability that a view's bright values are inverted.", least=0, most=1)
    solarise_from: float = option(0.5, "Values from here on count as bright, in [0, 1].", least=0, most=1)
    cutout: float = option(0.0, "Probability that a square is cut out of a view.", least=0, most=1)
    cutout_size: float = option(0.5, "Side of a cut-out, as a share of the view's, in (0, 1].", above=0, most=1)
    mask: float = option(
        0.0, "Probability that a view is masked: (1 - mask_alpha) of it stays where the mask lies.", least=0, most=1
    )
    mask_shape: Literal["box", "pixels"] = option("box", "What a mask covers: one box, or pixels drawn one by one.")
    mask_ratio: float = option(
        0.33,
        "Largest share of a view that a mask covers, in (0, 1]; each mask draws its own, from a sixteenth of this on.",
        above=0,
        most=1,
    )
    mask_alpha: float = option(
        1.0, "How much of the mask is seen, in [0, 1]: 1 hides what lies below.", least=0, most=1
    )
    mask_fill: Literal["mean", "black"] = option("mean", "Colour of masks and cut-outs: the data's mean, or black.")
    mask_views: Literal["all", "later"] = option(
        "all", "Views that are masked: all, or all but the first, so that a picture is compared with its masked self."
    )
    small_scale: float = option(
        0.4,
        "Largest share of the image's area that a small view shows, in (0, 1], for methods with multi-crop.",
        above=0,
        most=1,
    )
    small_size: float = option(
        0.43, "Side of a small view, as a share of image_size, in (0, 1]; rounded to 8 pixels.", above=0, most=1
    )
    stem: Literal["auto", "cifar", "imagenet", "patch"] = option(
        "auto",
        "First layers of a resnet: 3x3 without pooling (cifar), 7x7 with pooling (imagenet) or 4x4, stride 2 (patch).",
    )
    lora: int = option(
        0, "Rank of adapters beside the layers of a transformer, which then stays fixed; 0: all of it learns.", least=0
    )
    pool: Literal["auto", "last", "stages"] = option(
        "auto",
        "Features of a resnet: means of its last stage's map (last), or means and spreads of all stages' maps "
        "(stages).",
    )

    def largest(self, change: str) -> float:
        """The largest change of brightness, contrast, saturation or hue: its own, or its share of views_strength."""
        own: float | None = getattr(self, change)
        return STRENGTH[change] * (self.views_strength or 0) if own is None else own
