"""Views: functions of (seed, draw, view), each operation alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from nearfar.modalities.audio.options import AudioOptions
from nearfar.modalities.audio.views import ViewMaker

SIZE, BANDS, FRAMES = 40, 16, 60
STILL = AudioOptions(crop_scale=1, stretch=0, pitch=0, noise=0, mix=0, gain=0, equalise=0, mask_time=0, mask_bands=0)
DRAWS = np.arange(64)


def sounds(count=64, frames=30):
    x = torch.randn(count, BANDS, FRAMES, generator=torch.Generator().manual_seed(0)) * 5 - 30
    shown = torch.full((count,), frames)
    return x * (torch.arange(FRAMES) < shown[:, None])[:, None], shown


def made(options, x=None, frames=None, *, draws=DRAWS, view=0, seed=0, small=False, pool=None):
    own = sounds()
    x, frames = own if x is None else (x, frames)
    return ViewMaker(options, size=SIZE, mean=-30, std=5, seed=seed)(x, frames, pool, draws, view, small)


def test_without_any_change_a_view_is_the_normalised_clip():
    x, frames = sounds()
    view = made(STILL)
    assert view["frames"].tolist() == frames.tolist()
    assert torch.allclose(view["sound"][:, :, :30], (x[:, :, :30] + 30) / 5, atol=1e-5)
    assert not view["sound"][:, :, 30:].any()


CHANGES = {
    "crop_scale": 0.5,
    "stretch": 0.5,
    "pitch": 0.3,
    "noise": 1.0,
    "mix": 0.5,
    "gain": 6.0,
    "equalise": 6.0,
    "mask_time": 0.5,
    "mask_bands": 0.5,
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_keyed_by_seed_draw_and_view(name):
    options = replace(STILL, **{name: CHANGES[name]})
    pool = (torch.rand(5, BANDS, 50), torch.full((5,), 50))
    view = made(options, pool=pool)["sound"]
    assert torch.equal(view, made(options, pool=pool)["sound"])
    assert not torch.allclose(view, made(STILL)["sound"])
    for other in ({"seed": 1}, {"view": 1}, {"draws": DRAWS + 100}):
        assert not torch.allclose(view, made(options, pool=pool, **other)["sound"])
    x, frames = sounds()
    part = made(options, x[10:12], frames[10:12], draws=DRAWS[10:12], pool=pool)["sound"]
    assert torch.allclose(part, view[10:12], atol=1e-5)


def test_a_crop_shows_a_part_of_the_frames():
    x, frames = sounds()
    ramp = torch.arange(FRAMES).float().expand_as(x)
    view = made(replace(STILL, crop_scale=0.5), ramp, frames)
    assert 15 <= int(view["frames"].min()) < int(view["frames"].max()) <= 30
    place = view["sound"][:, 0] * 5 - 30
    for row, count in zip(place, view["frames"].tolist(), strict=True):
        assert row[0] >= 0
        assert row[count - 1] <= 29.01
        assert torch.allclose(row[1 : count - 1].diff(), torch.ones(count - 3), atol=0.01)


def test_stretching_makes_a_clip_longer_or_shorter():
    frames = made(replace(STILL, stretch=0.3))["frames"]
    assert 23 <= int(frames.min()) < 27 < 33 < int(frames.max()) <= 39


def test_a_long_clip_fills_a_view():
    x, _ = sounds()
    assert made(STILL, x, torch.full((64,), FRAMES))["frames"].tolist() == [SIZE] * 64
    assert made(STILL, x, torch.full((64,), FRAMES), small=True)["sound"].shape == (64, BANDS, SIZE // 2)


def test_noise_and_mixing_add_power():
    loud = (torch.full((3, BANDS, 50), 10.0**8), torch.full((3,), 50))
    plain = made(STILL)["sound"]
    mixed = made(replace(STILL, mix=0.5), pool=loud)["sound"]
    assert bool((mixed >= plain - 1e-4).all())
    assert float((mixed - plain).amax()) > 5
    noisy = made(replace(STILL, noise=1.0))["sound"]
    assert bool((noisy >= plain - 1e-3).all())
    assert float(noisy[:, :, :30].mean()) > float(plain[:, :, :30].mean()) + 0.1


def test_gain_moves_all_bands_alike_and_equalising_does_not():
    plain = made(STILL)["sound"][:, :, :30]
    louder = made(replace(STILL, gain=6.0))["sound"][:, :, :30] - plain
    assert torch.allclose(louder, louder[:, :1, :1].expand_as(louder), atol=1e-4)
    assert float(louder.abs().max()) <= 6 / 5
    curve = made(replace(STILL, equalise=6.0))["sound"][:, :, :30] - plain
    assert torch.allclose(curve, curve[:, :, :1].expand_as(curve), atol=1e-4)
    assert float(curve.std(1).min()) > 0


def test_masks_hide_runs_of_bands_and_frames():
    view = made(replace(STILL, mask_bands=0.5, mask_time=0.5))["sound"][:, :, :30]
    hidden = view == 0
    bands, times = hidden.all(2).sum(1), hidden.all(1).sum(1)
    assert 0 < int(bands.max()) <= BANDS // 2
    assert 0 < int(times.max()) <= 15
