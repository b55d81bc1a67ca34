"""The options of sounds; imports nothing heavy, so that help stays quick."""

from dataclasses import dataclass
from typing import Literal

from nearfar.options import Options, Span, automatic, option

ENCODERS: dict[str, str] = {
    "spectrogram_cnn": "four convolutions over log-mel, statistics over the clip and its quarters",
}
"""Names built in, and a line for each; any timm name works beside them."""

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64"})
"""Files that are sounds."""

MOST_SECONDS = 600
"""Of a clip that is kept: what is longer is a slip, or an altered file."""


@dataclass(frozen=True, kw_only=True)
class AudioOptions(Options):
    """How sounds are read and how their views are made."""

    sample_rate: int = automatic("Samples a second of what the encoder hears.", least=1000, most=384_000)
    clip_seconds: float = automatic(
        "Longest clip, in seconds, that is kept; of longer ones the middle.", above=0, most=MOST_SECONDS
    )
    view_seconds: float = automatic("Longest part of a clip, in seconds, that a view shows.", above=0, most=60)
    normalise: Literal["data", "clip"] = option(
        "data",
        "What is taken from a spectrogram: the mean of the data, or of each clip and band, which hides microphones and "
        "steady sounds.",
    )
    bands: int = option(64, "Bands of the log-mel spectrogram.", least=8, most=512)
    crop_scale: float = option(
        0.6, "Smallest share of a clip that a view shows, in (0, 1].", above=0, most=1, tuned=Span(0.2, 1)
    )
    stretch: float = option(0.3, "Largest change of tempo: 0.3 is up to 1.3 times as slow or quick.", least=0, most=4)
    pitch: float = option(
        0.15, "Largest warp of frequency, a share of it: other voices.", least=0, most=1, tuned=Span(0, 0.4)
    )
    noise: float = option(0.3, "Probability of white noise.", least=0, most=1)
    mix: float = option(
        0.3, "Largest share of another clip's power that is mixed in, in [0, 1).", least=0, below=1, tuned=Span(0, 0.6)
    )
    gain: float = option(6.0, "Largest change of loudness, in decibels.", least=0, most=60)
    equalise: float = option(10.0, "Largest change of a frequency's loudness, in decibels.", least=0, most=60)
    mask_time: float = option(0.2, "Largest share of a view's frames that a mask hides, in [0, 1).", least=0, below=1)
    mask_bands: float = option(0.2, "Largest share of a view's bands that a mask hides, in [0, 1).", least=0, below=1)
