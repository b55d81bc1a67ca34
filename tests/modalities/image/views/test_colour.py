"""Changes of colour: each against torchvision's, their distributions, and how they combine."""

import itertools
import math

import numpy as np
import pytest
import torch
from torchvision.transforms import ColorJitter
from torchvision.transforms.v2 import functional as reference

from nearfar import randomness
from nearfar.modalities.image.options import STRENGTH
from nearfar.modalities.image.views import colour as colours
from nearfar.modalities.image.views.batched import mixed
from nearfar.modalities.image.views.colour import colour

DRAWS = 4000
QUANTILES = np.linspace(0.05, 0.95, 19)


def uniform(count, columns, stream="test"):
    return randomness.uniform(0, stream, np.arange(count), columns)


def apart(found, expected):
    return (found - expected).abs().max().item()


def numbers(count=1, strength=0.5, **given):
    """Neutral numbers of `count` samples, always changing and never grey, but for those given."""
    found = torch.full((count, 6), 0.5)
    found[:, 0], found[:, 5] = 0.0, 1.0
    if 0.8 * strength > 1:  # factors go from 0: the one that changes nothing is not half-way
        found[:, 1:4] = 1 / (1 + 0.8 * strength)
    for name, value in given.items():
        found[:, ("on", "brightness", "contrast", "saturation", "hue", "grey").index(name)] = value
    return found


def pastel(count=1, channels=3):
    """Colours [b, c, 8, 8] that no change of this strength pushes out of [0, 1]."""
    return 0.35 + 0.2 * torch.rand(count, channels, 8, 8, generator=torch.Generator().manual_seed(0))


def spreads(strength):
    return {name: share * strength for name, share in STRENGTH.items()}


def changed(pictures, given, strength=0.5, jitter=1.0, greyscale=0.5, **more):
    some = {**spreads(strength), "jitter": jitter, "greyscale": greyscale, **more}
    matrices, of_means = colour(given, pictures.shape[1], **some)
    offsets = (of_means @ pictures.mean((2, 3))[:, :, None])[:, :, 0]
    return mixed(pictures, matrices, offsets)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
@pytest.mark.parametrize("number", [0.0, 0.2, 0.9])
def test_a_change_alone_is_torchvisions(name, number):
    pictures = pastel()
    factor = 1 + 0.4 * (2 * number - 1)
    expected = getattr(reference, f"adjust_{name}")(pictures, factor)
    assert apart(changed(pictures, numbers(**{name: number})), expected) < 1e-3  # of 1: its luma is rounded to 0.2989


def test_grey_is_torchvisions():
    pictures = pastel()
    expected = reference.rgb_to_grayscale(pictures, num_output_channels=3)
    assert apart(changed(pictures, numbers(grey=0.0)), expected) < 1e-3


@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_neutral_numbers_change_nothing(channels):
    pictures = pastel(channels=channels)
    assert apart(changed(pictures, numbers()), pictures) < 1e-5


def test_hue_keeps_the_luma():
    pictures = pastel(20)
    found = changed(pictures, numbers(20, hue=torch.linspace(0, 1, 20)), strength=1.0)
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert apart(torch.einsum("bchw,c->bhw", found, luma), torch.einsum("bchw,c->bhw", pictures, luma)) < 1e-5


def test_a_full_turn_of_hue_is_none():
    """Strength 2 shifts by up to 0.4 turns: five shifts of a fifth of a turn come home."""
    pictures = found = pastel()
    for _ in range(5):
        found = changed(found, numbers(hue=0.75, strength=2.0), strength=2.0)
    assert apart(found, pictures) < 1e-4


def test_hue_is_near_torchvisions():
    """Another space than HSV: 0.05 apart on average over random colours and shifts, of changes of 0.06 on average."""
    pictures = torch.rand(500, 3, 1, 1, generator=torch.Generator().manual_seed(0))
    shifts = np.linspace(-0.1, 0.1, 11)
    found = [changed(pictures, numbers(500, hue=0.5 + shift / 0.4), strength=1.0).clamp(0, 1) for shift in shifts]
    expected = [reference.adjust_hue(pictures, float(shift)) for shift in shifts]
    distance = np.mean([(a - b).abs().mean().item() for a, b in zip(found, expected, strict=True)])
    assert distance == pytest.approx(0.049, abs=0.004)


def test_one_channel_changes_in_brightness_and_contrast_only():
    pictures = pastel(channels=1)
    given = numbers(brightness=0.9, contrast=0.2, saturation=0.0, hue=0.9, grey=0.0)
    brightness, contrast = 1.32, 0.76
    bright = brightness * pictures
    expected = contrast * bright + (1 - contrast) * bright.mean((1, 2, 3), keepdim=True)
    assert apart(changed(pictures, given), expected) < 1e-5


@pytest.mark.parametrize("channels", [2, 4, 13])
def test_other_channels_blend_with_their_mean_where_three_blend_with_the_luma(channels):
    pictures = pastel(channels=channels)
    given = numbers(brightness=0.9, contrast=0.2, saturation=0.1, hue=0.9)
    brightness, contrast, saturation = 1.32, 0.76, 0.68
    bright = brightness * pictures
    flat = contrast * bright + (1 - contrast) * bright.mean((1, 2, 3), keepdim=True)
    expected = saturation * flat + (1 - saturation) * flat.mean(1, keepdim=True)
    assert apart(changed(pictures, given), expected) < 1e-5


CHANGES = {"brightness": 0.9, "contrast": 0.1, "saturation": 0.2, "hue": 0.8}


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
def test_every_order_of_the_changes_gives_the_same(channels):
    """Without clamps between them: torchvision's random order differs by its clamps and its hue alone."""
    pictures = pastel(channels=channels)
    together = changed(pictures, numbers(**CHANGES))
    for order in itertools.permutations(CHANGES):
        found = pictures
        for name in order:
            found = changed(found, numbers(**{name: CHANGES[name]}))
        assert apart(found, together) < 1e-5


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_that_is_off_leaves_the_others_as_they_are(name):
    pictures, given = pastel(20), torch.from_numpy(uniform(20, 6))
    neutral = {"brightness": 0.5, "contrast": 0.5, "saturation": 0.5, "hue": 0.5}[name]
    without = given.clone()
    without[:, list(CHANGES).index(name) + 1] = neutral
    assert apart(changed(pictures, given, **{name: 0.0}), changed(pictures, without)) < 1e-5


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_distributed_as_those_of_colorjitter(name, strength):
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    given = numbers(DRAWS, strength, **{name: drawn[:, 1]})
    matrix, _ = colour(given, 3, **spreads(strength), jitter=1.0, greyscale=0.0)
    found = matrix[:, 0, 0] - matrix[:, 1, 0] * (name == "saturation")
    low, high = getattr(ColorJitter(**{name: 0.8 * strength}), name)
    expected = low + (high - low) * QUANTILES
    assert np.abs(np.quantile(found.numpy(), QUANTILES) - expected).max() < 0.03 * strength


def test_shifts_of_hue_are_distributed_as_those_of_colorjitter():
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    given = numbers(DRAWS, hue=drawn[:, 1])
    matrix, _ = colour(given, 3, **spreads(1.0), jitter=1.0, greyscale=0.0)
    there, back = colours._yiq(matrix.device)
    spin = there @ matrix @ back
    shifts = torch.atan2(spin[:, 1, 2], spin[:, 1, 1]) / (2 * math.pi)
    low, high = ColorJitter(hue=0.2).hue
    assert np.abs(np.quantile(shifts.numpy(), QUANTILES) - (low + (high - low) * QUANTILES)).max() < 0.01


def test_as_many_views_change_as_jitter_says():
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    matrix, _ = colour(drawn, 3, **spreads(0.5), jitter=0.8, greyscale=0.0)
    same = (matrix - torch.eye(3)).abs().amax((1, 2)) < 1e-5
    assert same.float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_as_many_views_go_grey_as_greyscale_says():
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    matrix, _ = colour(drawn, 3, **spreads(0.5), jitter=0.8, greyscale=0.2)
    grey = (matrix[:, 0] - matrix[:, 1]).abs().amax(1) < 1e-5
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.03)
