"""Views by matrix products: what the matrices are."""

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.modalities.image.views.batched import mixed, resampled, resampling


def apart(found, expected):
    return (found - expected).abs().max().item()


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def matrix(start, stop, size_in, size_out, flipped=None):
    return resampling(torch.tensor([start]), torch.tensor([stop]), size_in, size_out, flipped)[0]


@pytest.mark.parametrize("size_out", [7, 24, 50])
def test_the_rows_of_a_resampling_sum_to_one(size_out):
    start, stop = torch.tensor([0, 7, 22]), torch.tensor([24, 13, 23])
    sums = resampling(start, stop, 24, size_out).sum(2)
    assert apart(sums, torch.ones(3, size_out)) < 1e-6


def test_the_whole_at_the_same_size_is_the_identity():
    assert apart(matrix(0, 16, 16, 16), torch.eye(16)) < 1e-6


@pytest.mark.parametrize("box", [(0, 0, 52, 40), (3, 5, 31, 35), (20, 10, 26, 15)])
@pytest.mark.parametrize("size", [9, 20, 64])
def test_resampling_is_pils_bilinear_of_the_part_within_two_roundings_to_bytes(box, size):
    pixels = noise(40, 52)
    left, top, right, bottom = box
    image = Image.fromarray(pixels.numpy()).crop(box).resize((size, size), Image.Resampling.BILINEAR)
    across, down = matrix(left, right, 52, size), matrix(top, bottom, 40, size)
    assert apart(down @ pixels.float() @ across.T, torch.from_numpy(np.array(image)).float()) <= 1.01


def test_flipping_is_flipping_the_result():
    start, stop = torch.tensor([4, 4]), torch.tensor([14, 14])
    found = resampling(start, stop, 20, 12, torch.tensor([False, True]))
    assert apart(found[1], found[0].flip(0)) < 1e-6


def test_resampled_is_two_products():
    pictures, across, down = torch.rand(2, 3, 9, 9), torch.rand(2, 5, 9), torch.rand(2, 5, 9)
    expected = torch.einsum("boy,bcyx,bpx->bcop", down, pictures, across)
    assert apart(resampled(pictures, across, down), expected) < 1e-4


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
@pytest.mark.parametrize("shape", [(8, 8), (1, 1), (5, 7), (6, 10)])
def test_colours_are_mixed_by_the_matrix_and_the_offset_of_their_sample(channels, shape):
    pictures = torch.rand(3, *shape, channels).permute(0, 3, 1, 2)
    matrices, offsets = torch.rand(3, channels, channels), torch.rand(3, channels)
    found = mixed(pictures, matrices, offsets)
    assert apart(found, torch.einsum("bdc,bchw->bdhw", matrices, pictures) + offsets[:, :, None, None]) < 1e-5
    assert found.stride() == pictures.stride()
