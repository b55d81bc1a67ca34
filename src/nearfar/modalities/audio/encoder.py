"""Encoders of sounds: a network over log-mel spectrograms, and how sounds become its input."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike, fspath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar import given
from nearfar.contract import Encoder, Parts, Unreadable
from nearfar.contract.program import Program, ProgramInput
from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.memory import check_weights
from nearfar.modalities.audio.decode import as_encoded, decode
from nearfar.modalities.audio.mel import Mel, centred, log_mel
from nearfar.modalities.audio.options import ENCODERS, EXTENSIONS, MOST_SECONDS
from nearfar.modalities.audio.small_cnn import SpectrogramCNN
from nearfar.modalities.network import OwnNetwork
from nearfar.options import is_number, numbers, text, whole

WIDTH = 32


class AudioEncoder(Encoder):
    """A network over log-mel spectrograms, normalised by `config["mean"]` and `config["std"]` in decibels.

    Its inputs are `sound` `[n, bands, t]` with `frames` [n]; behind these all is zero.
    """

    files = EXTENSIONS
    cheaper = "a smaller encoder (--width) or shorter views (--view-seconds)"
    optimizer = "adamw"

    def __init__(self, network: nn.Module, dim: int, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.network = network
        self.dim = dim
        self.config = dict(config)
        self.mel = Mel.of(config["sample_rate"], config["bands"])
        self.most = max(1, round(config["sample_rate"] * config["clip_seconds"]))
        self.view_frames = max(8, round(100 * config["view_seconds"]))
        self.embed_batch = max(16, min(256, 256 * 200 // self.mel.frames(self.most)))

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Spectrograms to vectors `[n, dim]`."""
        found: Tensor = self.network(inputs["sound"], inputs["frames"])
        return found

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """Of normalised spectrograms and their frames, or of waves and their lengths."""
        from nearfar.modalities.audio.from_waves import AllWindows, FromWaves

        network = AllWindows(self.network) if isinstance(self.network, Windows) else self.network
        mean, std, rate = self.config["mean"], self.config["std"], self.mel.rate
        if preprocessing:
            network = FromWaves(network, self.mel, mean, std, by_clip=self.config.get("normalise") == "clip")
            long = max(2 * self.view_frames * self.mel.hop, self.mel.fft)
            waves = f"sounds [n, t] of [-1, 1] at {rate} Hz, zero behind their ends"
            inputs = {
                "waves": ProgramInput(torch.randn(2, long).clamp(-1, 1), {0: "batch", 1: "samples"}, waves),
                "lengths": ProgramInput(torch.tensor([long, long // 2]), {0: "batch"}, "samples of each sound [n]"),
            }
            return {"encoder": Program(network, inputs)}
        long = 2 * self.view_frames + 3
        sound = (
            f"log-mel spectrograms [n, {self.mel.bands}, t] in decibels at {rate} Hz, a frame each {self.mel.hop} "
            f"samples, less {mean:g} and over {std:g}, zero behind their ends"
        )
        inputs = {
            "sound": ProgramInput(torch.randn(2, self.mel.bands, long), {0: "batch", 2: "frames"}, sound),
            "frames": ProgramInput(torch.tensor([long, long // 2]), {0: "batch"}, "frames of each spectrogram [n]"),
        }
        return {"encoder": Program(network, inputs)}

    def prepare(self, raw: Any) -> dict[str, Tensor]:
        """Waves `[n, t]` with their lengths to normalised spectrograms."""
        return self.normalised(*self.decibels(raw.waves, raw.lengths))

    def decibels(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waves `[n, t]` of `lengths` [n] to spectrograms `[n, bands, frames]` and frames [n], on the own device."""
        found, frames = log_mel(waves.to(self.device), lengths.to(self.device), self.mel)
        return (centred(found, frames) if self.config.get("normalise") == "clip" else found), frames

    def normalised(self, decibels: Tensor, frames: Tensor) -> dict[str, Tensor]:
        """Decibels `[n, bands, t]` less the mean and over the spread of the training data; zero behind the end."""
        inside = torch.arange(decibels.shape[2], device=decibels.device) < frames[:, None]
        return {"sound": (decibels - self.config["mean"]) / self.config["std"] * inside[:, None], "frames": frames}

    def parts(self, inputs: Mapping[str, Tensor]) -> Parts:
        """Regions of time and frequency of one sound, with what each adds to features that are a sum over them."""
        from nearfar.modalities.audio.parts import parts_of

        return parts_of(self, inputs)

    def measure(self, raw: Any) -> None:
        """Learn the length of the features of a user's own network, by what it makes of real sounds."""
        assert isinstance(self.network, Windows)
        assert isinstance(self.network.network, OwnNetwork)
        inputs = self.prepare(raw)
        self.dim = self.config["dim"] = self.network.network.width(
            self.network.cut(inputs["sound"])[:, :1].flatten(0, 1)[:, None]
        )

    def preprocess(self, inputs: Sequence[Any]) -> dict[str, Tensor]:
        """Paths, encoded bytes, arrays `[t]` or `[t, channels]`, or mappings of an `array` and a `sampling_rate`, to
        spectrograms; bare arrays are at the encoder's rate.

        Raises DataError naming the input that cannot be read.
        """
        waves = []
        for i, one in enumerate(inputs):
            try:
                waves.append(decode(as_encoded(one), rate=self.mel.rate, most=self.most))
            except Unreadable as error:
                name = repr(fspath(one)) if isinstance(one, str | PathLike) else f"Input {i}"
                raise DataError(f"{name} cannot be read as a sound: {error}.") from None
        lengths = torch.tensor([len(wave) for wave in waves], dtype=torch.int64)
        together = torch.zeros(len(waves), int(lengths.max()) if waves else 1, dtype=torch.int16)
        for row, wave in zip(together, waves, strict=True):
            row[: len(wave)] = torch.from_numpy(wave)
        return self.normalised(*self.decibels(together, lengths))

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one sound: a path, bytes, a mapping, or an array of one axis."""
        if isinstance(inputs, str | PathLike | bytes | Mapping):
            return True
        return hasattr(inputs, "__array__") and np.ndim(inputs) == 1


class Windows(nn.Module):
    """A network for pictures of one size `[n, 1, bands, size]` over spectrograms of any length: its vectors of all
    windows of a clip, averaged by how much of each the clip fills."""

    def __init__(self, network: nn.Module, size: int) -> None:
        super().__init__()
        self.network = network
        self.size = size

    def cut(self, spectrograms: Tensor) -> Tensor:
        """Windows `[n, w, bands, size]`, zeros behind the last frame."""
        missing = -spectrograms.shape[2] % self.size
        return nn.functional.pad(spectrograms, (0, missing)).unfold(2, self.size, self.size).transpose(1, 2)

    def forward(self, spectrograms: Tensor, frames: Tensor) -> Tensor:
        """Spectrograms `[n, bands, t]` of `frames` [n] to vectors `[n, dim]`."""
        windows = self.cut(spectrograms)
        count = windows.shape[1]
        filled = (frames[:, None] - self.size * torch.arange(count, device=frames.device)).clamp(0, self.size)
        some = filled > 0  # [n w]
        vectors = self.network(windows[some][:, None])
        spread = vectors.new_zeros(*some.shape, vectors.shape[1])
        spread = spread.masked_scatter(some[:, :, None], vectors)
        weights = (filled / filled.sum(1, keepdim=True)).to(vectors.dtype)
        found: Tensor = (spread * weights[:, :, None]).sum(1)
        return found


def build(config: Mapping[str, Any]) -> AudioEncoder:
    """The encoder that `config` describes, with fresh weights; raises ConfigError where it is none."""
    name, bands = text(config, "encoder"), whole(config, "bands", least=8, most=512)
    whole(config, "sample_rate", least=1000, most=384_000)
    text({"normalise": "data", **config}, "normalise", ("data", "clip"))
    for key, most in (("clip_seconds", MOST_SECONDS), ("view_seconds", 60)):
        if not is_number(config.get(key)) or not 0 < config[key] <= most:
            raise ConfigError(f"{key} must be in (0, {most}], got {config.get(key)!r}.")
    frames = max(8, round(100 * config["view_seconds"]))
    width = None if config.get("width") is None else whole(config, "width")
    network: nn.Module
    if name == "spectrogram_cnn":
        small = _fitting(lambda: SpectrogramCNN(bands=bands, width=width or WIDTH))
        return AudioEncoder(small, small.dim, config)
    if given.is_given(name):
        network, dim = OwnNetwork(name), whole(config, "dim") if "dim" in config else 0
    else:
        network = _timm(name, bands, frames)  # first of all, it knows whether there is such a name
        dim = int(getattr(network, "head_hidden_size", None) or network.num_features)  # type: ignore[arg-type]
    if width is not None:
        raise ConfigError("width goes with spectrogram_cnn alone.")
    return AudioEncoder(Windows(network, frames), dim, config)


def check_statistics(config: Mapping[str, Any]) -> None:
    """Raise ConfigError where a saved config lacks what spectrograms are normalised with."""
    numbers({"mean": [config.get("mean")]}, "mean", 1)
    if numbers({"std": [config.get("std")]}, "std", 1)[0] <= 0:
        raise ConfigError(f"std must be above 0, got {config['std']!r}.")


def _fitting(make: Callable[[], SpectrogramCNN]) -> SpectrogramCNN:
    with torch.device("meta"):
        check_weights(sum(weights.numel() for weights in make().parameters()), "width")
    return make()


def _timm(name: str, bands: int, frames: int) -> nn.Module:
    import timm

    if not timm.is_model(name):
        raise UnknownName("encoder", name, [*ENCODERS, *timm.list_models()])
    wants: dict[str, Any] = {"pretrained": False, "num_classes": 0, "in_chans": 1}
    try:
        try:
            network: nn.Module = timm.create_model(name, img_size=(bands, frames), **wants)
        except TypeError:  # convolutional models take any size and no such argument
            network = timm.create_model(name, **wants)
    except Exception as error:
        raise ConfigError(
            f"timm cannot make {name!r} for {bands} bands and {frames} frames: {str(error)[:200]}"
        ) from None
    return network
