"""Blurs: the Gaussian, its borders, and the two ways to one result."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from nearfar.modalities.image.views import single
from nearfar.modalities.image.views.blur import blurring, reach


def apart(found, expected):
    return (found - expected).abs().max().item()


def by_matrices(pictures, sigma):
    down, across = (blurring(torch.tensor([sigma]), size)[0] for size in pictures.shape[-2:])
    return down @ pictures @ across.T


def by_opencv(pictures, sigma):
    """Of square pictures [b, c, s, s]."""
    b, c, size, _ = pictures.shape
    out = torch.empty(b, size, size, c).permute(0, 3, 1, 2)
    corners = torch.tensor([[0, 0, size, size]]).expand(b, 4)
    single.placed(pictures, corners, out, sigmas=torch.full((b,), sigma))
    return out


@pytest.mark.parametrize("blur", [by_matrices, by_opencv])
@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.5, 4.0])
def test_a_blur_is_torchvisions_up_to_the_border(blur, channels, sigma):
    pictures = torch.rand(2, channels, 40, 40, generator=torch.Generator().manual_seed(0))
    taps = 2 * reach(sigma) + 1
    expected = reference.gaussian_blur(pictures, [taps, taps], [sigma, sigma])
    assert apart(blur(pictures, sigma), expected) < 1e-5


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0, 2.0])
def test_a_blur_of_224_pixels_is_torchvisions_of_23_taps_within_3_thousandths(sigma):
    """23 taps are a tenth of 224 pixels, as in SimCLR; ours end three sigmas from the centre."""
    pictures = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    expected = reference.gaussian_blur(pictures, [23, 23], [sigma, sigma])
    assert apart(by_opencv(pictures, sigma), expected) < 3e-3


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 9.0])
def test_both_ways_blur_pictures_that_are_smaller_than_the_blur(size, sigma):
    pictures = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    assert apart(by_opencv(pictures, sigma), by_matrices(pictures, sigma)) < 1e-5


def test_a_blur_leaves_a_constant_as_it_is_up_to_the_border():
    sums = blurring(torch.tensor([0.3, 4.0]), 12).sum(2)
    assert apart(sums, torch.ones(2, 12)) < 1e-6


def test_the_weights_of_a_blur_are_never_denormal():
    weights = blurring(torch.linspace(0, 3, 50), 64)
    assert weights[weights > 0].min() > 1e-30
