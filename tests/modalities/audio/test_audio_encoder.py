"""Encoders: a clip's vector is its own, whatever stands beside it."""

import numpy as np
import pytest
import torch
from torch import nn

from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.modalities.audio import MODALITY
from nearfar.modalities.audio.encoder import Windows, build
from nearfar.modalities.audio.small_cnn import SpectrogramCNN, means_of_parts
from tests.modalities.audio.sounds import encode, tone

CONFIG = {
    "modality": "audio", "encoder": "spectrogram_cnn", "width": 4, "sample_rate": 8000, "clip_seconds": 1.0,
    "view_seconds": 0.3, "bands": 16, "normalise": "data", "mean": -40.0, "std": 10.0,
}  # fmt: skip


@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_what_a_clip_is_padded_with_plays_no_part(frames):
    network = SpectrogramCNN(bands=16, width=4).eval()
    x = torch.randn(3, 16, 50)
    long = x * (torch.arange(50) < frames)
    with torch.no_grad():
        alone = network(x[:, :, :frames], torch.full((3,), frames))
        padded = network(long, torch.full((3,), frames))
    assert torch.allclose(alone, padded, atol=1e-5)


@pytest.mark.parametrize("frames", [1, 2, 7, 30])
def test_windows_of_a_network_for_pictures_depend_on_the_clip_alone(frames):
    pooling = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = Windows(pooling, 8)
    x = torch.randn(2, 16, 50) * (torch.arange(50) < torch.tensor([[frames], [50]]))[:, None]
    both = network(x, torch.tensor([frames, 50]))
    assert both.shape == (2, 5)
    assert torch.allclose(both[:1], network(x[:1, :, :frames], torch.tensor([frames])), atol=1e-5)


def test_means_of_parts_cut_within_frames():
    x = torch.arange(5).float()[None, None]
    found = means_of_parts(x, torch.tensor([5]), 2)
    assert found.tolist() == [[pytest.approx((0 + 1 + 0.5 * 2) / 2.5), pytest.approx((0.5 * 2 + 3 + 4) / 2.5)]]


def test_paths_bytes_arrays_and_mappings_are_the_same_sound(tmp_path):
    encoder = MODALITY.restore(CONFIG)
    wave = (tone(500, 0.4) * 32768).round().astype(np.int16)
    (tmp_path / "a.wav").write_bytes(encode(wave))
    forms = [tmp_path / "a.wav", encode(wave), wave, {"array": wave, "sampling_rate": 8000}, torch.from_numpy(wave)]
    vectors = [encoder.encode(one) for one in forms]
    assert vectors[0].shape == (encoder.dim,)
    assert all(np.allclose(one, vectors[0], atol=1e-5) for one in vectors)


def test_what_is_no_sound_is_named():
    encoder = MODALITY.restore(CONFIG)
    with pytest.raises(DataError, match=r"Input 1 cannot be read as a sound: no sound that is known"):
        encoder.encode([encode(tone()), b"no sound"])
    with pytest.raises(DataError, match=r"'missing\.wav' cannot be read as a sound: no such file"):
        encoder.encode("missing.wav")


def test_a_clips_own_mean_hides_loudness_and_microphone():
    encoder = MODALITY.restore({**CONFIG, "normalise": "clip"})
    loud, quiet = encoder.preprocess([tone(500, 0.4, loud=0.8), tone(500, 0.4, loud=0.4)])["sound"]
    assert torch.allclose(loud, quiet, atol=0.05)


def test_a_timm_network_takes_one_channel():
    config = {**CONFIG, "encoder": "resnet18", "width": None, "view_seconds": 0.32, "bands": 32}
    encoder = MODALITY.restore(config).eval()
    assert encoder.encode([tone(seconds=0.1), tone(seconds=0.9)]).shape == (2, 512)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "spectogram_cnn"}, "Did you mean 'spectrogram_cnn'"),
        ({"clip_seconds": -1}, r"clip_seconds must be in \(0, 600\], got -1"),
        ({"bands": 4}, "bands must be at least 8"),
        ({"encoder": "resnet18"}, "width goes with spectrogram_cnn alone"),
        ({"std": 0.0}, "std must be above 0"),
        ({"normalise": "both"}, "normalise"),
    ],
    ids=str,
)
def test_an_altered_config_is_refused(change, message):
    with pytest.raises((ConfigError, UnknownName), match=message):
        MODALITY.restore({**CONFIG, **change})


def test_another_width_has_another_length():
    assert build({**CONFIG, "width": 8}).dim == 2 * build(CONFIG).dim
