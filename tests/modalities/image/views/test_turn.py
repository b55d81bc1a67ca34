"""Turns about the centre."""

import math

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import InterpolationMode
from torchvision.transforms.v2 import functional as reference

from nearfar.modalities.image.views import single
from nearfar.modalities.image.views.turn import turned, turns


def apart(found, expected):
    return (found - expected).abs().max().item()


def by_torch(pictures, maps):
    return turned(pictures, maps)


def by_opencv(pictures, maps):
    found = [single.turned(x.permute(1, 2, 0).numpy(), m.double().numpy()) for x, m in zip(pictures, maps, strict=True)]
    return torch.from_numpy(np.stack(found)).permute(0, 3, 1, 2)


WAYS = pytest.mark.parametrize("way", [by_torch, by_opencv])


def turn(way, pictures, radians, aspect):
    return way(pictures, turns(radians, aspect, *pictures.shape[2:]))


@WAYS
@pytest.mark.parametrize("quarters", [1, -1])
def test_a_quarter_turn_is_that_of_rot90(way, quarters):
    pictures = torch.rand(1, 3, 12, 12)
    found = turn(way, pictures, torch.tensor([quarters * math.pi / 2]), torch.ones(1))
    assert apart(found, torch.rot90(pictures, quarters, (2, 3))) < 1e-4


@WAYS
def test_a_turn_respects_the_aspect_ratio(way):
    """A picture of 2:1 kept as a square: what lies 15 px right of the centre is then 15 px above it."""
    square = torch.zeros(1, 1, 60, 60)  # of 120 x 60 pixels: one column is two pixels of the original
    square[0, 0, 28:32, 36:39] = 1  # x = +12 ... +18, y = -2 ... +2
    found = turn(way, square, torch.tensor([math.pi / 2]), torch.tensor([2.0]))[0, 0]
    y, x = np.argwhere(found.numpy() > 0.5).mean(0) - 29.5
    assert abs(2 * x) < 1.0
    assert abs(y + 15) < 1.0


@WAYS
@pytest.mark.parametrize("degrees", [-50.0, 7.0, 30.0])
def test_a_turn_is_torchvisions_where_nothing_comes_in_from_outside(way, degrees):
    y, x = torch.meshgrid(torch.arange(41.0), torch.arange(41.0), indexing="ij")
    picture = torch.stack([torch.sin(x / 5) + y / 20, torch.cos(y / 4) * x / 40])[None]
    within = ((x - 20) ** 2 + (y - 20) ** 2) < 18**2
    found = turn(way, picture, torch.tensor([math.radians(degrees)]), torch.ones(1))
    expected = reference.rotate(picture, degrees, interpolation=InterpolationMode.BILINEAR)
    assert apart(found[..., within], expected[..., within]) < 1e-4


@WAYS
@pytest.mark.parametrize(("channels", "shape"), [(1, (8, 8)), (4, (6, 10)), (13, (9, 5)), (3, (1, 1))])
def test_half_a_turn_flips_both_ways(way, channels, shape):
    pictures = torch.rand(1, channels, *shape)
    found = turn(way, pictures, torch.tensor([math.pi]), torch.tensor([shape[1] / shape[0]]))
    assert apart(found, pictures.flip((2, 3))) < 1e-4


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("shape", [(8, 8), (40, 25), (1, 9)])
def test_both_ways_turn_alike(channels, shape):
    pictures = torch.rand(4, channels, *shape)
    radians, aspect = torch.linspace(-1, 2, 4), torch.tensor([1.0, 2.0, 0.6, 1.3])
    assert apart(*(turn(way, pictures, radians, aspect) for way in (by_torch, by_opencv))) < 1e-4
