"""Blurs: the Gaussian, its borders, and the two ways to one result."""

import pytest
import torch
from torchvision.transforms.v2 import functional as reference

from nearfar.modalities.image.views.blur import blurred, blurring
from nearfar.modalities.image.views.crop import cropped


def apart(found, expected):
    return (found - expected).abs().max().item()


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.5])
def test_blurring_is_torchvisions_away_from_the_borders(sigma):
    pictures = torch.rand(1, 1, 40, 40, generator=torch.Generator().manual_seed(0))
    matrix = blurring(torch.tensor([sigma]), 40)[0]
    found = matrix @ pictures[0, 0] @ matrix.T
    expected = reference.gaussian_blur(pictures, [25, 25], [sigma, sigma])[0, 0]
    assert apart(found[12:-12, 12:-12], expected[12:-12, 12:-12]) < 1e-5


def test_a_blur_leaves_a_constant_as_it_is_up_to_the_border():
    sums = blurring(torch.tensor([0.3, 4.0]), 12).sum(2)
    assert apart(sums, torch.ones(2, 12)) < 1e-6


def test_sigma_zero_blurs_nothing():
    assert torch.equal(blurring(torch.zeros(2), 9), torch.eye(9).expand(2, 9, 9))


def test_the_weights_of_a_blur_are_never_denormal():
    weights = blurring(torch.linspace(0, 3, 50), 64)
    assert weights[weights > 0].min() > 1e-9


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("shape", [(40, 40), (30, 44), (5, 3), (1, 1)])
@pytest.mark.parametrize("sigma", [0.1, 0.7, 2.0, 9.0])
def test_a_convolution_is_what_the_matrices_make(channels, shape, sigma):
    picture = 255 * torch.rand(channels, *shape, generator=torch.Generator().manual_seed(0))
    down, across = (blurring(torch.tensor([sigma]), size)[0] for size in shape)
    assert apart(blurred(picture, sigma), down @ picture @ across.T) < 1e-3


def test_blur_after_the_crop_equals_blur_within_it(large):
    pixels = 255 * torch.rand(3, 3, 64, 64)  # floats are not rounded on the way
    whole, sigmas = torch.tensor([[0.0, 0.0, 1.0, 1.0]]).expand(3, 4), torch.tensor([0.0, 0.5, 2.0])
    large(10**6)
    expected = cropped(pixels, whole, 40, sigmas=sigmas)
    large(1)
    assert apart(cropped(pixels, whole, 40, sigmas=sigmas), expected) < 1e-3
