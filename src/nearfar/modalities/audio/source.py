"""Sounds as a source of training: looked over, decoded and resampled once, fetched by row."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearfar.contract import Card, Reading, Rows, Skipped, Source, Unreadable
from nearfar.data.decoded import Decoded
from nearfar.data.kept import Bytes, in_chunks, in_threads
from nearfar.data.samples import Samples
from nearfar.modalities.audio.cards import card_of
from nearfar.modalities.audio.decode import Encoded, Header, decode, header
from nearfar.modalities.audio.mel import Mel, log_mel

if TYPE_CHECKING:
    from nearfar.modalities.audio.encoder import AudioEncoder

RATE = 16_000
"""Samples a second where nothing says more, and at most where it is chosen: what speech needs."""
LONGEST = 10.0
"""Seconds of a clip that are kept where nothing else is asked for."""
_BANDS = 64
_SCANNED = 2_000
_POOL = 256
_QUICK = 64_000
"""Bytes of a clip that is decoded quicker than it is looked up on disk: two seconds at 16 kHz."""
_BATCH = 256
_FULL, _SILENT, _CLIPPED = 32_767, 33.0, 0.01
"""Full scale, the peak below which nothing is heard (-60 dB), and the share of samples at full scale that is heard."""


@dataclass(frozen=True)
class Sounds:
    """A raw batch: `waves` int16 `[b, t]`, of `lengths` [b] samples with zeros behind them, and clips to mix in."""

    waves: Tensor
    lengths: Tensor
    pool: "Pool"

    def __len__(self) -> int:
        return len(self.waves)


class Pool:
    """Clips of the data that views mix in, made once for an encoder's way to hear."""

    def __init__(self, source: "AudioSource") -> None:
        self._source = source
        self._made: tuple[Any, Tensor, Tensor] | None = None

    def powers(self, encoder: "AudioEncoder") -> tuple[Tensor, Tensor]:
        """Powers `[p, bands, frames]` and frames [p] of up to 256 clips, evenly spread, on the encoder's device."""
        key = (encoder.mel, encoder.config.get("normalise"), encoder.device)
        if self._made is None or self._made[0] != key:
            waves, lengths, _ = self._source.waves(self._source.samples.probe(_POOL))
            decibels, frames = encoder.decibels(waves, lengths)
            self._made = key, 10 ** (decibels / 10), frames
        return self._made[1:]


class AudioSource(Source):
    """Sounds read by row, at `rate` samples a second and at most `most` samples each.

    `rates` are the native rates of the clips that were looked over, `seconds` their lengths.
    """

    def __init__(self, samples: Samples, reading: Reading, headers: list[Header], **how: Any) -> None:
        super().__init__(samples, reading)
        self.rates = [one.rate for one in headers if one.rate]
        self.seconds = np.array([one.seconds for one in headers if one.rate] or [1.0])
        self._how = how
        self._stores: dict[tuple[int, int], Decoded] = {}
        self._show(self.usual_rate, self.usual_seconds)

    @property
    def usual_rate(self) -> int:
        """The rate that most clips have, at most 16 kHz."""
        return min(RATE, Counter(self.rates).most_common(1)[0][0]) if self.rates else RATE

    @property
    def usual_seconds(self) -> float:
        """The longest clip that was looked over, at most 10 s."""
        return float(min(LONGEST, np.ceil(100 * self.seconds.max()) / 100))

    def suited(self, config: Mapping[str, Any]) -> "AudioSource":
        """The sounds at the `sample_rate` of an encoder's config, and at most its `clip_seconds` long."""
        some = copy(self)
        some.__dict__.pop("_pool", None)
        some._show(int(config["sample_rate"]), float(config["clip_seconds"]))
        return some

    def fetch(self, rows: Rows) -> tuple[Sounds | None, Rows]:
        """These sounds, padded to the longest, and the rows that are in the batch."""
        wanted = np.asarray(rows, dtype=np.int64)
        waves, lengths, places = self.waves(wanted)
        return (Sounds(waves, lengths, self._pool) if len(places) else None), wanted[places]

    def waves(self, rows: Rows) -> tuple[Tensor, Tensor, Rows]:
        """int16 `[n, t]`, their lengths [n], and the places in `rows` of those that can be read."""
        records, notes, places = self._store.fetch(self.at[np.asarray(rows, dtype=np.int64)])
        longest = int(notes.max(initial=1))
        waves = np.ascontiguousarray(records.view(np.int16)[:, :longest])
        return torch.from_numpy(waves), torch.from_numpy(notes.astype(np.int64)), places

    def vectors(self) -> Tensor:
        """Mean and spread of each band of the log-mel spectrograms of the `usable` sounds `[N, 128]`."""
        found = [torch.empty(0, 2 * _BANDS)]
        for spectrograms, frames in self.spectrograms(Mel.of(self.rate, _BANDS)):
            count = frames[:, None].float()
            mean = spectrograms.sum(2) / count
            inside = torch.arange(spectrograms.shape[2]) < frames[:, None]
            apart = (spectrograms - mean[:, :, None]) * inside[:, None]
            found.append(torch.cat([mean, (apart.square().sum(2) / count).sqrt()], dim=1))
        return torch.cat(found)

    def spectrograms(self, mel: Mel) -> Iterator[tuple[Tensor, Tensor]]:
        """Decibels `[n, bands, frames]` and frames [n] of all readable sounds, some at a time."""
        for rows in in_chunks(np.arange(len(self)), _BATCH):
            waves, lengths, places = self.waves(rows)
            if len(places):
                yield log_mel(waves, lengths, mel)

    def cards(self, rows: Rows) -> list[Card]:
        """Key, label, the spectrogram as a picture, and the sound."""
        cards = super().cards(rows)
        waves, lengths, places = self.waves(rows)
        shown = {}
        for i, place in enumerate(places.tolist()):
            shown[place] = card_of(waves[i, : lengths[i]], self.rate)
        return [
            replace(card, image=shown[i][0], media=shown[i][1]) if i in shown else card for i, card in enumerate(cards)
        ]

    def defects(self, rows: Rows) -> list[Skipped]:
        """Sounds without a sound in them, and those that are cut off at full scale."""
        found = []
        for some in in_chunks(np.asarray(rows, dtype=np.int64), _BATCH):
            waves, lengths, places = self.waves(some)
            for i, place in enumerate(places.tolist()):
                if reason := _defect(waves[i, : lengths[i]].numpy()):
                    found.append(Skipped(self.keys[int(some[place])], reason))
        return found

    @cached_property
    def _pool(self) -> Pool:
        return Pool(self)

    def _show(self, rate: int, seconds: float) -> None:
        self.rate, self.most = rate, max(1, round(rate * seconds))
        if (self.rate, self.most) not in self._stores:
            reading = self.reading if not self._stores else self.reading.with_new_ids()
            self._stores[self.rate, self.most] = _store(self.whole, reading, self.rate, self.most, **self._how)
        self._store = self._stores[self.rate, self.most]
        self.reading = self._store.reading


def _defect(wave: NDArray[np.int16]) -> str | None:
    """What is wrong with a sound that can be read; None where nothing is."""
    if not len(wave):
        return "it has no length"
    peak = float(np.abs(wave - wave.mean()).max())
    if peak < _SILENT:
        return "silent: " + (
            "all samples are equal" if peak == 0 else f"its peak is {20 * np.log10(peak / _FULL):.0f} dB"
        )
    clipped = float((np.abs(wave.astype(np.int32)) >= _FULL).mean())
    return f"clipped: {100 * clipped:.1f} % of its samples are at full scale" if clipped > _CLIPPED else None


def audio_source(
    samples: Samples, *, threads: int | None = None, cache: str = "auto", grow: bool = True
) -> AudioSource:
    """These sounds, once the headers of up to 2,000 of them, evenly spread, were looked over.

    Where decoded sounds are kept, `cache` and `grow` say: see `Decoded`. Raises DataError where more than half is
    unreadable.
    """
    reading = Reading(samples)
    threads = threads or _threads()
    rows = samples.probe(_SCANNED)

    def read(chunk: Rows) -> list[Header]:
        found = []
        for row in chunk.tolist():
            try:
                found.append(header(samples.given(row)))
            except Unreadable as error:
                reading.refuse(row, str(error))
        return found

    headers = [one for some in in_threads(read, in_chunks(rows, 64), threads) for one in some]
    reading.check_share(len(rows) - len(headers), len(rows))
    reading.skipped.sort(key=lambda one: one.key)
    return AudioSource(samples, reading, headers, threads=threads, cache=cache, grow=grow)


def _store(samples: Samples, reading: Reading, rate: int, most: int, **how: Any) -> Decoded:
    def fill(row: int, out: Bytes) -> float:
        given: Encoded = samples.given(row)
        wave = decode(given, rate=rate, most=most)
        into = out.view(np.int16)
        into[: len(wave)] = wave
        into[len(wave) :] = 0
        return float(len(wave))

    form = {"sound": [rate, most], "decoder": 1}
    return Decoded(
        samples, reading, fill, size=2 * most, form=form, name=f"{samples.name}-{rate}Hz", quick=_QUICK, **how
    )


def _threads() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
