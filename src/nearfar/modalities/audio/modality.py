"""Sounds as a modality: what the training frame asks for, put together from this folder's parts.

Imports nothing heavy: torch and soundfile are imported by what needs them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar import given
from nearfar.contract import Modality
from nearfar.errors import ConfigError
from nearfar.modalities.audio.options import ENCODERS, EXTENSIONS, AudioOptions

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.contract import Card, Requirements, Rows, Views
    from nearfar.contract.baseline import Baseline
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.modalities.audio.encoder import AudioEncoder
    from nearfar.modalities.audio.source import AudioSource, Sounds
    from nearfar.options import Choice, Facts

_LONGEST_VIEW = 3.0  # seconds
_KEPT = ("sample_rate", "clip_seconds", "view_seconds", "bands", "normalise")
"""The options that an encoder is made for."""


class Audio(Modality):
    """The modality `audio`."""

    name = "audio"
    Options = AudioOptions
    encoders = ENCODERS
    extensions = EXTENSIONS
    columns = (
        *("audio", "sound", "wav", "path", "file", "filepath", "filename", "file_name", "file_path"),
        *("audio_path", "audio_file", "audio_filepath", "wav_path"),
    )
    raw_baseline = "log-mel statistics"
    gentle: ClassVar[Mapping[str, Any]] = {"crop_scale": 0.8, "mix": 0.0, "equalise": 5.0}
    advice: ClassVar[Mapping[str, str]] = {
        "inputs alike": "such as recordings of silence",
        "views unrelated": "raise --crop-scale, lower --mix, --pitch and --equalise",
        "too easy": "lower --crop-scale, raise --mix, --pitch and --equalise",
    }

    def claims(self, found: Found) -> bool:
        """Whether it is sounds, by the files' extensions, the columns' names and the first cells."""
        return found.kind.name == self.name

    def source(
        self,
        samples: Samples,
        *,
        options: AudioOptions | None = None,
        cache: str = "auto",
        grow: bool = True,
        threads: int | None = None,
    ) -> AudioSource:
        """The sounds of these samples, the headers of some of them looked over; see `audio_source`."""
        from nearfar.modalities.audio.source import audio_source

        return audio_source(samples, cache=cache, grow=grow, threads=threads)

    def settle(
        self, options: AudioOptions, source: AudioSource, encoder: str | None, facts: Facts
    ) -> tuple[AudioOptions, str, list[Choice]]:
        """Rate and lengths by those of the clips, and the encoder."""
        import numpy as np

        from nearfar.options import Choice, Settling

        settling = Settling(options)
        settling.choose("sample_rate", source.usual_rate, "the rate that most clips have, at most 16 kHz")
        settling.choose("clip_seconds", source.usual_seconds, "the longest clip, at most 10 s")
        most = min(_LONGEST_VIEW, settling.options.clip_seconds)
        length = float(np.ceil(100 * np.quantile(source.seconds, 0.9)) / 100)
        settling.choose("view_seconds", min(most, max(0.1, length)), "as long as nine tenths of the clips, at most 3 s")
        if encoder is None:
            encoder = next(iter(self.encoders))
            settling.choices.append(Choice("encoder", encoder, "the usual one"))
        return settling.options, encoder, settling.choices

    def encoder(
        self,
        name: str,
        source: AudioSource,
        options: AudioOptions,
        *,
        width: int | None = None,
        pretrained: str | None = None,
    ) -> AudioEncoder:
        """A new encoder; some of the sounds are decoded for their statistics."""
        from nearfar.modalities.audio import encoder as encoders
        from nearfar.modalities.audio.statistics import statistics

        if pretrained is not None:
            raise ConfigError("pretrained has no meaning for sounds yet: leave it out.")
        if width is None and name in ENCODERS:
            width = encoders.WIDTH
        config: dict[str, Any] = {
            "modality": self.name,
            "encoder": name,
            "width": width,
            **{key: getattr(options, key) for key in _KEPT},
        }
        made = encoders.build(config)  # before sounds are decoded: a wrong name should cost no minutes
        suited = source.suited(config)
        made.config["mean"], made.config["std"] = statistics(suited, made)
        if given.is_given(name):
            made.measure(suited.fetch(suited.usable[:2])[0])
        return made

    def restore(self, config: Mapping[str, Any]) -> AudioEncoder:
        """The encoder of a saved config, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.audio.encoder import build, check_statistics

        check_statistics(config)
        return build(config)

    def views(
        self,
        raw: Sounds,
        draws: Rows,
        *,
        requires: Requirements,
        seed: int,
        options: AudioOptions,
        encoder: AudioEncoder,
    ) -> Views:
        """The views of a raw batch on the encoder's device, made when asked for."""
        from nearfar.contract import Views
        from nearfar.modalities.audio.views import ViewMaker

        made: dict[tuple[int, int], tuple[Tensor, Tensor]] = {}  # the part that is at work: a large batch may not fit
        maker = ViewMaker(
            options, size=encoder.view_frames, mean=encoder.config["mean"], std=encoder.config["std"], seed=seed
        )

        def make(number: int, start: int, stop: int) -> dict[str, Tensor]:
            if (start, stop) not in made:
                made.clear()
                made[start, stop] = encoder.decibels(raw.waves[start:stop], raw.lengths[start:stop])
            pool = raw.pool.powers(encoder) if options.mix else None
            return maker(*made[start, stop], pool, draws[start:stop], number, number >= requires.wide)

        return Views(make, range(requires.wide + requires.small), 0, len(draws), requires.wide)

    def baselines(self) -> Sequence[Baseline]:
        """Statistics of the spectrogram, and segment MFCC."""
        from nearfar.modalities.audio.baselines import SegmentCepstra

        return [*super().baselines(), SegmentCepstra()]

    def show(self, inputs: Mapping[str, Tensor], encoder: AudioEncoder) -> list[Card]:
        """The spectrograms of one view, as the encoder hears them."""
        from nearfar.contract import Card
        from nearfar.modalities.audio.cards import spectrogram_picture

        shown = []
        for sound, frames in zip(inputs["sound"].float().cpu(), inputs["frames"].tolist(), strict=True):
            shown.append(Card(key="", image=spectrogram_picture(0.5 + sound[:, :frames] / 5)))
        return shown


MODALITY = Audio()
