"""Images as a modality: what the training frame asks for, put together from this folder's parts.

Imports nothing heavy: torch and PIL are imported by what needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar import given
from nearfar.contract import Builtin, Modality
from nearfar.modalities.image.options import ENCODERS, EXTENSIONS, LARGEST, RECIPES, ImageOptions

if TYPE_CHECKING:
    import torch

    from nearfar.contract import Card, Inputs, Requirements, Rows, Source, Views, Wanted
    from nearfar.data.samples import Samples
    from nearfar.modalities.image.encoder import ImageEncoder
    from nearfar.modalities.image.pictures import Pictures
    from nearfar.modalities.image.source import ImageSource
    from nearfar.options import Choice, Facts


def _digits(split: str | None) -> Samples:
    from nearfar.modalities.image.digits import digits

    return digits(split)


class Images(Modality):
    """The image modality."""

    name = "image"
    Options = ImageOptions
    encoders = ENCODERS
    with_maps = (*ENCODERS, "timm:NAME")
    extensions = EXTENSIONS
    columns = (
        *("image", "path", "file", "filepath", "filename", "img"),
        *("file_name", "file_path", "image_path", "img_path", "image_file"),
    )
    builtins: ClassVar[Mapping[str, Builtin]] = {"digits": Builtin(_digits, ("test", "train"))}
    recipes = RECIPES
    recipe_options = ("keep_colours", "views_strength", "saturation", "hue", "greyscale", "jitter")
    gentle: ClassVar[Mapping[str, Any]] = {"crop_scale": 0.4, "greyscale": 0.0, "jitter": 0.4, "blur": 0.0}
    named: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "fine-grained": {"crop_scale": 0.4, "greyscale": 0.0, "jitter": 0.4, "views": "colours-both"}
    }
    advice: ClassVar[Mapping[str, str]] = {
        "inputs alike": "such as black pictures",
        "views unrelated": "lower --views-strength, raise --crop-scale",
        "too easy": "raise --views-strength, lower --crop-scale",
        "waiting for data": "--image-size",
    }

    def source(
        self,
        samples: Samples,
        *,
        options: ImageOptions | None = None,
        cache: str = "auto",
        grow: bool = True,
        threads: int | None = None,
    ) -> ImageSource:
        """The pictures of these samples, the headers of some of them looked over; see `image_source`."""
        from nearfar.modalities.image.source import image_source

        most = None if options is None else options.max_pixels
        return image_source(samples, max_pixels=most, cache=cache, grow=grow, threads=threads)

    def annotated(self, source: Source, wanted: Wanted) -> Source:
        """The same pictures with masks, boxes or their sizes; see `annotations`."""
        from nearfar.modalities.image.annotations import annotations_of
        from nearfar.modalities.image.source import ImageSource

        assert isinstance(source, ImageSource)
        return source.with_annotations(annotations_of(source, wanted))

    def around(self, data: str, *, annotated: bool) -> str:
        """The folder `images` of one that has annotations beside it."""
        from nearfar.modalities.image.annotations import beside

        return data if given.is_given(data) else beside.around(data, files=annotated)

    def settle(
        self, options: ImageOptions, source: ImageSource, encoder: str | None, facts: Facts
    ) -> tuple[ImageOptions, str, list[Choice]]:
        """Sizes and strengths by the pictures' size, the number of channels and the device.

        Single changes of colour that were not given stay open: they follow `views_strength`, also where a later run
        takes these options and another strength.
        """
        from nearfar.modalities.image import encoder as encoders
        from nearfar.modalities.image import published
        from nearfar.modalities.image.at_hand import suggestion
        from nearfar.modalities.image.resnet import LAYERS
        from nearfar.modalities.image.sizes import without
        from nearfar.options import Choice, Settling

        settling = Settling(options)
        native = source.short_side
        if facts.weights is not None and encoder is not None and not given.is_given(encoder):
            published.settle(settling, encoder, facts)
        settling.choose("normalise", "data", "nothing else is known to suit them")

        # Networks of others halve their maps up to five times and cut into patches: multiples of 32 suit nearly all.
        step, least = (8, 16) if encoder in {None, *ENCODERS, *LAYERS} else (32, 32)
        largest = 224 if facts.device.startswith("cuda") else 64
        size = min(largest, max(least, step * round(native / step)))
        settling.choose("image_size", size, f"the pictures' short side is {native} px, on {facts.device}")
        settling.choose("views_strength", 0.5, "SimCLR's setting for small pictures and short runs")
        for name, why in without(source.channels).items():
            if getattr(settling.options, name) != 0:
                settling.put(name, 0.0, why)
        if facts.paired:
            settling.choose("crop_scale", 0.5, "what the other side speaks of stays in view")
            for name in ("flip", "greyscale", "jitter"):
                settling.choose(name, 0.0, "the other side may speak of it")
        settling.choose("crop_scale", 0.15, "between SimCLR's 0.08 and the 0.2 that short runs like")
        settling.choose("flip", 0.5, "pictures seldom care for left and right")
        settling.choose("rotate", 0.0, "most pictures have an upright")
        settling.choose("greyscale", 0.2, "as in SimCLR")
        settling.choose("jitter", 0.8, "as in SimCLR")
        settling.choose("keep_colours", 0.0, "")
        small = settling.options.image_size <= encoders.CIFAR_STEM_UP_TO
        settling.choose("blur", 0.0 if small else 0.5, "small pictures are blurred enough" if small else "as in SimCLR")
        if encoder is None:
            encoder = "resnet18" if facts.device.startswith("cuda") else "resnet8"
            settling.choices.append(Choice("encoder", encoder, f"learns most in the time on {facts.device}"))
            if facts.weights is None and (at_hand := suggestion(facts.device)) is not None:
                why = f"weights at hand often give more in the time: --encoder {at_hand} --pretrained hub"
                settling.choices.append(Choice("pretrained", "none", why))
        if encoder in LAYERS:
            stem = encoders.stem_for(encoder, settling.options.image_size, settling.options.stem)
            settling.choose("stem", stem, f"for {encoder} at {settling.options.image_size} px")
            settling.choose("pool", encoders.pool_for(encoder), f"for {encoder}")
        return settling.options, encoder, settling.choices

    def as_published(self, options: ImageOptions) -> ImageOptions:
        """The size and the normalisation are those of the weights."""
        open_again: dict[str, Any] = dict.fromkeys(("image_size", "normalise"))
        return replace(options, **open_again)

    def weights_of(self, encoder: str) -> str | None:
        """The file in a folder of transformers."""
        from pathlib import Path

        from nearfar.modalities.image.published import weights_in

        return weights_in(Path(encoder.removeprefix("hf:"))) if encoder.startswith("hf:") else None

    def recipes_for(self, source: ImageSource) -> Sequence[str]:
        """Grey pictures have no colours to change."""
        return tuple(self.recipes) if source.channels > 1 else ()

    def encoder(
        self,
        name: str,
        source: ImageSource,
        options: ImageOptions,
        *,
        width: int | None = None,
        pretrained: str | None = None,
    ) -> ImageEncoder:
        """A new encoder; some of the pictures are decoded for their statistics."""
        from nearfar.modalities.adapters import add_adapters
        from nearfar.modalities.image import encoder as encoders
        from nearfar.modalities.image.published import channels_of, numbers_of
        from nearfar.modalities.image.sizes import statistics, stored_size

        if width is None and name in encoders.SMALL:
            width = encoders.SMALL_WIDTH
        config: dict[str, Any] = {
            "modality": self.name,
            "encoder": name,
            "width": width,
            "channels": channels_of(name, source.channels),
            "image_size": options.image_size,
            "stored_size": stored_size(source.short_side, options.image_size, options.crop_scale or 1),
            "stem": encoders.stem_for(name, options.image_size, options.stem),
            "pool": encoders.pool_for(name, options.pool),
            "max_pixels": options.max_pixels,
            "white": source.white,
        }
        made = encoders.build(config)  # before the pictures are decoded: a wrong name should cost no minutes
        suited = source.suited(config)
        own = statistics(suited) if options.normalise in (None, "data") else None
        made.config["mean"], made.config["std"] = own or numbers_of(options.normalise, made.config["channels"])
        if given.is_given(name):
            made.measure(suited.fetch(suited.sample[:2])[0])
        if pretrained:
            encoders.load_pretrained(made, pretrained)
        if options.lora:
            add_adapters(made.network, options.lora, name)
            made.config["lora"] = options.lora
        return made

    def published(self, name: str, weights: str | None) -> ImageEncoder | None:
        """The trained encoder that `timm:NAME`, `torchvision:NAME`, `hf:NAME`, or `NAME` with a file stands for."""
        from nearfar.modalities.image.named import published

        return published(name, weights)

    def restore(self, config: Mapping[str, Any]) -> ImageEncoder:
        """The encoder of a saved config, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.adapters import add_adapters
        from nearfar.modalities.image.encoder import build
        from nearfar.options import numbers, whole

        made = build(config)
        if config.get("lora"):
            add_adapters(made.network, whole(config, "lora"), str(config["encoder"]))
        for name in ("mean", "std"):
            numbers(config, name, config["channels"])
        for name, most in (("stored_size", LARGEST), ("max_pixels", None), ("white", None)):
            if config.get(name) is not None:
                whole(config, name, most=most)
        return made

    def views(
        self,
        raw: Pictures,
        draws: Rows,
        *,
        requires: Requirements,
        seed: int,
        options: ImageOptions,
        encoder: ImageEncoder,
    ) -> Views:
        """The views of a raw batch on the encoder's device, made when asked for."""
        import torch

        from nearfar.contract import Views
        from nearfar.contract.annotations import INPUTS
        from nearfar.modalities.image.views import ViewMaker

        device = encoder.device
        marked = requires.annotations is not None
        moved: dict[tuple[int, int], torch.Tensor] = {}  # the part that is at work: a large batch may not fit
        mean, std = torch.tensor(encoder.config["mean"]), torch.tensor(encoder.config["std"])
        maker = ViewMaker(options, size=encoder.size, mean=mean, std=std, seed=seed)

        def make(number: int, start: int, stop: int) -> Inputs:
            if (start, stop) not in moved:
                moved.clear()
                moved[start, stop] = raw.pixels[start:stop].to(device)
            aspect = raw.aspect[start:stop]  # boxes are placed on the CPU
            how = aspect, draws[start:stop], number, number >= requires.wide
            pictures = maker(moved[start, stop], *how)
            if not marked:
                return pictures
            marks = maker.marks(raw[start:stop].marks, *how)
            return {INPUTS: pictures, **{name: values.to(device) for name, values in marks.items()}}

        return Views(make, range(requires.wide + requires.small), 0, len(draws), requires.wide)

    def plain(self, raw: Pictures, start: int, stop: int, encoder: ImageEncoder) -> list[torch.Tensor]:
        """Each picture as uint8 `[channels, h, w]` in its own shape."""
        return raw[start:stop].in_shape()

    def viewed(self, made: torch.Tensor, encoder: ImageEncoder) -> torch.Tensor:
        """Pictures of bytes are normalised, others are taken as they are; raises ConfigError for other channels."""
        import torch

        from nearfar.errors import ConfigError

        channels = encoder.config["channels"]
        if made.ndim != 4 or made.shape[1] != channels:
            raise ConfigError(f"views makes {list(made.shape[1:])}: a view of a picture is [{channels}, h, w].")
        made = made.to(encoder.device)
        return encoder.normalised(made) if made.dtype == torch.uint8 else made.float()

    def show(self, inputs: Inputs, encoder: ImageEncoder) -> list[Card]:
        """The pictures of one view, as the encoder sees them, and what is said of places in them drawn over."""
        import torch

        from nearfar.contract import Card
        from nearfar.contract.annotations import INPUTS
        from nearfar.modalities.image.source import thumbnail

        mean, std = (torch.tensor(encoder.config[name])[:, None, None] for name in ("mean", "std"))
        if not isinstance(inputs, torch.Tensor):
            from nearfar.modalities.image.annotations.drawn import over

            pixels = ((inputs[INPUTS].float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
            marks = {name: values.cpu().numpy() for name, values in inputs.items() if name != INPUTS}
            return [
                Card(key="", image=thumbnail(over(one.numpy(), {name: some[i] for name, some in marks.items()}), 1.0))
                for i, one in enumerate(pixels)
            ]
        pixels = ((inputs.float().cpu() * std + mean) * 255).round().clamp(0, 255).to(torch.uint8)
        return [Card(key="", image=thumbnail(picture.numpy(), 1.0)) for picture in pixels]


MODALITY = Images()
