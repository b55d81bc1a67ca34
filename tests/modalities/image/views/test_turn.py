"""Turns about the centre."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from nearfar.modalities.image.views.turn import turn


def apart(found, expected):
    return (found - expected).abs().max().item()


def test_turning_by_nothing_changes_nothing():
    pictures = torch.rand(2, 3, 12, 12)
    assert apart(turn(pictures, torch.zeros(2), torch.tensor([1.0, 2.5])), pictures) < 1e-5


@pytest.mark.parametrize("quarters", [1, -1])
def test_a_quarter_turn_is_that_of_rot90(quarters):
    pictures = torch.rand(1, 3, 12, 12)
    found = turn(pictures, torch.tensor([quarters * math.pi / 2]), torch.ones(1))
    assert apart(found, torch.rot90(pictures, quarters, (2, 3))) < 1e-4


def test_a_turn_respects_the_aspect_ratio():
    """A picture of 2:1 kept as a square: what lies 15 px right of the centre is then 15 px above it."""
    square = torch.zeros(1, 1, 60, 60)  # of 120 x 60 pixels: one column is two pixels of the original
    square[0, 0, 28:32, 36:39] = 1  # x = +12 ... +18, y = -2 ... +2
    found = turn(square, torch.tensor([math.pi / 2]), torch.tensor([2.0]))[0, 0]
    y, x = np.argwhere(found.numpy() > 0.5).mean(0) - 29.5
    assert abs(2 * x) < 1.0
    assert abs(y + 15) < 1.0


@pytest.mark.parametrize("degrees", [-50.0, 7.0, 30.0])
def test_a_turn_is_torchvisions_where_nothing_comes_in_from_outside(degrees):
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    picture = torch.stack([torch.sin(x / 5) + y / 20, torch.cos(y / 4) * x / 40])[None]
    within = ((x - 20) ** 2 + (y - 20) ** 2) < 18**2
    found = turn(picture, torch.tensor([math.radians(degrees)]), torch.ones(1))
    expected = reference.rotate(picture, degrees, interpolation=InterpolationMode.BILINEAR)
    assert apart(found[..., within], expected[..., within]) < 1e-4


@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 8)), (4, (6, 10)), (13, (9, 5)), (3, (1, 1))])
def test_half_a_turn_flips_both_ways(channels, shape):
    pictures = torch.rand(1, channels, *shape)
    found = turn(pictures, torch.tensor([math.pi]), torch.tensor([shape[1] / shape[0]]))
    assert apart(found, pictures.flip((2, 3))) < 1e-4
