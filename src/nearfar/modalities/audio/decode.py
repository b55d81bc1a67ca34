"""From a file of any rate, length, number of channels and bit depth to mono at one rate."""

import io
import os
import re
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nearfar.contract import Unreadable
from nearfar.data.contents import reason_of, size_of
from nearfar.errors import MissingExtra

Wave = NDArray[np.int16]
Encoded = str | bytes | NDArray[Any] | Mapping[str, Any]
"""A file, its content, samples `[t]` or `[t, channels]`, or these as `array` beside a `sampling_rate`."""

_MOST_CHANNELS = 64
_MOST_RATE = 1_000_000
_LOOKED_AT = 4096
_BEGINNINGS = (b"RIFF", b"RIFX", b"RF64", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"dns.", b"caff", b"ID3")
_MP3 = re.compile(rb"\xff[\xe2-\xff]")
"""What is no sound is not shown to the decoder of MP3, which looks for one in anything and complains on the way."""


class Header(NamedTuple):
    """What a file says of itself."""

    rate: int
    seconds: float


def header(given: Encoded) -> Header:
    """The rate and length of a sound; the rate of a bare array is 0. Raises Unreadable."""
    if not isinstance(given, str | bytes):
        array, rate = _parts(given)
        return Header(rate, len(array) / (rate or 1))
    with _opened(given) as file:
        return Header(file.samplerate, file.frames / file.samplerate)


def decode(given: Encoded, *, rate: int, most: int) -> Wave:
    """At most `most` samples at `rate` a second, the middle of a longer sound; channels are averaged.

    Values lie from -1 to 1, as int16; floats beyond that are made quieter. A bare array is taken to have the rate.
    Raises Unreadable, also for what is silent throughout.
    """
    if isinstance(given, str | bytes):
        with _opened(given) as file:
            native = file.samplerate
            needed = -(-most * native // rate) + 2
            try:
                _go_to(file, max(0, (file.frames - needed) // 2))
                wave = file.read(needed, dtype="float32", always_2d=True)
            except (RuntimeError, OSError, ValueError) as error:
                raise Unreadable(_reason(error)) from None
    else:
        array, native = _parts(given)
        native = native or rate
        needed = -(-most * native // rate) + 2
        start = max(0, (len(array) - needed) // 2)
        wave = _floats(array[start : start + needed])
    if not len(wave):
        raise Unreadable("no samples in it")
    mono = wave[:, 0] if wave.shape[1] == 1 else wave.mean(axis=1, dtype=np.float32)
    if not np.isfinite(mono).all():
        raise Unreadable("values that are not finite")
    if native != rate:
        mono = resampled(mono, native, rate)
    start = max(0, (len(mono) - most) // 2)
    mono = mono[start : start + most]
    peak = float(np.abs(mono).max(initial=0))
    whole: Wave = (mono * np.float32(32768 / max(1.0, peak))).round().clip(-32768, 32767).astype(np.int16)
    if not whole.any():
        raise Unreadable("silent throughout")
    return whole


def soundfile() -> ModuleType:
    """The package that reads and writes files of sounds; raises MissingExtra."""
    try:
        return import_module("soundfile")
    except (ImportError, OSError):  # OSError: libsndfile is not there
        raise MissingExtra("Sound", "soundfile", "audio") from None


def resampled(wave: NDArray[Any], rate: int, to: int) -> NDArray[Any]:
    """Samples `[t]` at `rate` a second as they are at another; raises MissingExtra."""
    try:
        import soxr
    except ImportError:
        raise MissingExtra("Sound", "soxr", "audio") from None
    found: NDArray[Any] = soxr.resample(wave, rate, to)
    return found


def _opened(given: str | bytes) -> Any:
    sound = soundfile()
    try:
        head = _head(given)
        if not head:
            raise Unreadable("empty file")
        if not head.startswith(_BEGINNINGS) and not _MP3.search(head):
            raise Unreadable("no sound that is known")
        file = sound.SoundFile(given if isinstance(given, str) else io.BytesIO(given))
    except OSError as error:
        raise Unreadable(reason_of(error)) from None
    except (RuntimeError, ValueError, TypeError) as error:
        raise Unreadable(_reason(error)) from None
    if not (0 < file.channels <= _MOST_CHANNELS and 0 < file.samplerate <= _MOST_RATE):
        file.close()
        raise Unreadable(f"{file.channels} channels at {file.samplerate} Hz")
    return file


def _head(given: str | bytes) -> bytes:
    if isinstance(given, bytes):
        return given[:_LOOKED_AT]
    size_of(given)  # it is a plain file
    with open(given, "rb") as file:
        return file.read(_LOOKED_AT)


def _go_to(file: Any, frame: int) -> None:
    """Of MP3, what comes before is read: its decoder writes to the standard error where it begins in between."""
    if file.format != "MPEG":
        file.seek(frame)
        return
    while frame > 0:
        frame -= len(file.read(min(frame, 1 << 20), dtype="float32")) or frame


def _reason(error: Exception) -> str:
    """libsndfile's sentence, without the file's name."""
    text = str(getattr(error, "error_string", error)).strip().rstrip(".")
    return f"cannot be decoded: {text[:1].lower()}{text[1:120]}" if text else "cannot be decoded"


def _parts(given: Any) -> tuple[NDArray[Any], int]:
    if isinstance(given, Mapping):
        if given.get("array") is None:
            raise Unreadable("no `array` of samples")
        return np.asarray(given["array"]), int(given.get("sampling_rate") or 0)
    return np.asarray(given), 0


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    """Samples `[t, channels]` from -1 to 1: whole numbers are divided by their type's largest."""
    if array.ndim not in (1, 2) or array.dtype.kind not in "iuf":
        raise Unreadable(f"samples are numbers [t] or [t, channels], got {list(array.shape)} of {array.dtype}")
    if array.ndim == 2 and array.shape[0] < array.shape[1]:
        array = array.T  # channels first, as torch has them
    array = array.reshape(len(array), -1)
    if array.dtype.kind == "f":
        return array.astype(np.float32)
    largest = -float(np.iinfo(array.dtype).min) if array.dtype.kind == "i" else (np.iinfo(array.dtype).max + 1) / 2
    shift = 0 if array.dtype.kind == "i" else largest
    return ((array.astype(np.float64) - shift) / largest).astype(np.float32)


def as_encoded(given: Any) -> Encoded:
    """What `decode` takes, from what a user has: a path, bytes, an array or tensor, or a mapping with an `array`."""
    if isinstance(given, bytes | Mapping):
        return given
    if isinstance(given, str | os.PathLike):
        return str(Path(given))
    return np.asarray(given.detach().cpu() if hasattr(given, "detach") else given)
