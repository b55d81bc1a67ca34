"""Regions of sounds: what is taken away is quiet, and the small network's features are sums over regions."""

import numpy as np
import pytest
import torch
from torch import nn

from nearfar.modalities.audio.encoder import AudioEncoder, Windows, build
from nearfar.modalities.audio.small_cnn import SpectrogramCNN
from nearfar.testing.parts import check_parts
from tests.modalities.audio.sounds import tone
from tests.modalities.audio.test_audio_encoder import CONFIG


@pytest.mark.parametrize("frames", [1, 5, 40, 50])
def test_the_features_of_the_small_network_are_sums_over_time_and_frequency(frames):
    torch.manual_seed(0)
    network = SpectrogramCNN(bands=16, width=4).eval()
    for layer in network.layers:
        nn.init.normal_(layer.norm.running_mean, std=0.5)
        nn.init.uniform_(layer.norm.bias, -1, 1)
    x, length = torch.randn(1, 16, 50) * (torch.arange(50) < frames), torch.tensor([frames])
    with torch.no_grad():
        torch.testing.assert_close(network.terms(x, length).sum((0, 1)), network(x, length)[0], rtol=1e-4, atol=1e-5)


def test_the_encoder_says_its_regions():
    torch.manual_seed(0)
    encoder = build(CONFIG).eval()
    inputs = encoder.preprocess([tone(440, seconds=0.5)])
    with torch.no_grad():
        parts = encoder.parts(inputs)
    assert parts.grid == (6, 10)
    assert parts.names[-1] == "0.46 to 0.51 s, 0 to 391 Hz"
    assert parts.names[0].endswith("to 4000 Hz")
    check_parts(encoder, inputs)


def test_what_is_taken_away_is_as_quiet_as_the_clip_ever_is():
    encoder = build(CONFIG).eval()
    wave = np.concatenate([tone(440, seconds=0.3), np.zeros(2400, dtype=np.float32)])
    inputs = encoder.preprocess([wave])
    with torch.no_grad():
        found = encoder.parts(inputs).without(torch.zeros(1, 60, dtype=torch.bool))["sound"]
    assert float(found.std(2).max()) == 0
    assert float(found.max()) < float(inputs["sound"].max()) - 1


def test_windows_of_a_network_have_regions_without_terms():
    pooling = nn.Sequential(nn.Conv2d(1, 5, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    encoder = AudioEncoder(Windows(pooling, 8), 5, CONFIG).eval()
    with torch.no_grad():
        assert encoder.parts(encoder.preprocess([tone(440, seconds=0.5)])).terms is None
