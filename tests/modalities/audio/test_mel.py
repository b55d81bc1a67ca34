"""Spectrograms against librosa's definition."""

import numpy as np
import pytest
import torch

from nearfar.modalities.audio.mel import Mel, filterbank, log_mel

librosa = pytest.importorskip("librosa", reason="librosa is not installed")


@pytest.mark.parametrize(("rate", "bands"), [(8000, 64), (16000, 40), (44100, 128)])
def test_filters_are_those_of_librosa(rate, bands):
    mel = Mel.of(rate, bands)
    wanted = librosa.filters.mel(sr=rate, n_fft=mel.fft, n_mels=bands)
    assert np.allclose(filterbank(mel, torch.device("cpu")).numpy(), wanted, rtol=1e-4, atol=1e-7)


def test_decibels_are_those_of_librosa():
    """`power_to_db(melspectrogram(..., pad_mode="constant"))` by its definition: to call it compiles for a minute."""
    wave = 0.1 * np.random.default_rng(0).normal(size=3001)
    wave[1500:] = 0
    mel = Mel.of(8000, 64)
    padded = np.pad(wave, mel.fft // 2)
    before = (mel.fft - mel.window) // 2
    window = np.zeros(mel.fft)
    window[before : before + mel.window] = np.hanning(mel.window + 1)[:-1]
    frames = np.lib.stride_tricks.sliding_window_view(padded, mel.fft)[:: mel.hop]
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    wanted = 10 * np.log10(np.maximum(1e-10, filterbank(mel, torch.device("cpu")).numpy() @ power.T))
    wanted = np.maximum(wanted, wanted.max() - 80)
    found, count = log_mel(torch.from_numpy(wave)[None].float(), torch.tensor([len(wave)]), mel)
    assert count.tolist() == [wanted.shape[1]]
    assert np.allclose(found[0].numpy(), wanted, atol=1e-2)


def test_a_clip_is_the_same_whatever_it_is_padded_with_zeros_to():
    wave = torch.randn(1, 1000)
    alone, _ = log_mel(wave, torch.tensor([1000]), Mel.of(8000, 32))
    padded, frames = log_mel(torch.nn.functional.pad(wave, (0, 5000)), torch.tensor([1000]), Mel.of(8000, 32))
    assert torch.allclose(padded[:, :, : int(frames)], alone, atol=1e-4)
    assert not padded[:, :, int(frames) :].any()


def test_large_batches_are_transformed_in_pieces(monkeypatch):
    waves, lengths = torch.randn(5, 2000), torch.tensor([2000, 10, 500, 2000, 1])
    whole, frames = log_mel(waves, lengths, Mel.of(8000, 16))
    monkeypatch.setattr("nearfar.modalities.audio.mel._AT_ONCE", 40_000)
    pieces, again = log_mel(waves, lengths, Mel.of(8000, 16))
    assert torch.allclose(whole, pieces, atol=1e-4)
    assert torch.equal(frames, again)


def test_an_autocast_does_not_reach_spectrograms():
    waves, lengths = torch.randn(2, 2000), torch.tensor([2000, 500])
    wanted, _ = log_mel(waves, lengths, Mel.of(8000, 16))
    with torch.autocast("cpu", torch.bfloat16):
        found, _ = log_mel(waves, lengths, Mel.of(8000, 16))
    assert found.dtype == torch.float32
    assert torch.allclose(found, wanted, atol=1e-4)
