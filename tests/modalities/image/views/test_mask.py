"""Masks: where they lie, how much they cover, and what is seen of them."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomErasing

from nearfar import randomness
from nearfar.modalities.image.views import mask
from nearfar.modalities.image.views.mask import at_random, covered, cutout_boxes, inside, mask_boxes

DRAWS = 4000
QUANTILES = np.linspace(0.05, 0.95, 19)


def uniform(count, columns, stream="test"):
    return randomness.uniform(0, stream, np.arange(count), columns)


def apart(found, expected):
    return np.abs(np.quantile(found, QUANTILES) - np.quantile(expected, QUANTILES)).max()


@pytest.fixture(scope="module")
def boxes():
    """Boxes [draws, 4] of a mask: ours, and RandomErasing's, in shares of the view."""
    torch.manual_seed(0)
    image, side = torch.empty(1).expand(1, 1000, 1000), 1000
    drawn = [RandomErasing.get_params(image, [0.33 / 16, 0.33], [1 / 3.3, 3.3], [0.0])[:4] for _ in range(DRAWS)]
    theirs = np.array([(left, top, w, h) for top, left, h, w in drawn]) / side
    return mask_boxes(uniform(DRAWS, 22), 0.33), theirs


def test_the_area_of_a_box_is_distributed_as_that_of_random_erasing(boxes):
    assert apart(*(b[:, 2] * b[:, 3] for b in boxes)) < 0.015


def test_the_ratio_of_a_box_is_distributed_as_that_of_random_erasing(boxes):
    assert apart(*(np.log(b[:, 2] / b[:, 3]) for b in boxes)) < 0.1


@pytest.mark.parametrize("side", [0, 1], ids=["left", "top"])
def test_the_place_of_a_box_is_distributed_as_that_of_random_erasing(boxes, side):
    assert apart(*(b[:, side] for b in boxes)) < 0.03


@pytest.mark.parametrize("largest", [0.01, 0.33, 1.0])
def test_a_box_lies_inside_the_view(largest):
    found = mask_boxes(uniform(DRAWS, 22), largest)
    assert (found[:, :2] >= 0).all()
    assert (found[:, :2] + found[:, 2:] <= 1 + 1e-6).all()


def test_the_centre_of_a_cutout_may_lie_anywhere():
    found = cutout_boxes(uniform(DRAWS, 2), 0.5)
    centres = found[:, :2] + found[:, 2:] / 2
    assert (found[:, 2:] == 0.5).all()
    assert np.abs(np.quantile(centres, QUANTILES, axis=0) - QUANTILES[:, None]).max() < 0.03


def test_a_cutout_that_reaches_over_the_border_is_cut_there():
    """DeVries and Taylor: 16 of 32 pixels about a corner leave a quarter of the square in view."""
    found = inside(torch.from_numpy(cutout_boxes(np.zeros((1, 2), np.float32), 0.5)), 32, 32)
    expected = torch.zeros(1, 32, 32, dtype=torch.bool)
    expected[0, :8, :8] = True
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("high", "wide"), [(10, 20), (1, 1), (7, 3)])
def test_the_inside_of_a_box_is_rounded_to_whole_pixels(high, wide):
    left, top, right, bottom = 0.12, 0.31, 0.83, 0.92
    expected = torch.zeros(high, wide, dtype=torch.bool)
    expected[round(top * high) : round(bottom * high), round(left * wide) : round(right * wide)] = True
    assert torch.equal(inside(torch.tensor([[left, top, right - left, bottom - top]]), high, wide)[0], expected)


def test_pixels_are_drawn_with_the_shares_own_probability():
    numbers = torch.from_numpy(uniform(300, 3))
    found = at_random(numbers, 60, 80, 0.6).float().mean((1, 2))
    share = 0.6 * (1 / 16 + 15 / 16 * numbers[:, 0])
    deviations = (found - share) / (share * (1 - share) / 4800).sqrt()
    assert abs(deviations.mean().item()) < 4 / 300**0.5
    assert deviations.std().item() == pytest.approx(1, abs=0.2)


def test_neither_pixels_nor_samples_depend_on_each_other():
    numbers = torch.from_numpy(uniform(200, 3))
    numbers[:, 0] = 1.0  # one share for all
    drawn = at_random(numbers, 40, 40, 0.5).double() - 0.5
    pairs = [drawn[:, 1:] * drawn[:, :-1], drawn[:, :, 1:] * drawn[:, :, :-1], drawn[1:] * drawn[:-1]]
    for products in pairs:  # of +-1/2: mean 0, deviation 1/4
        assert abs(products.mean().item()) < 4 * 0.25 / products.numel() ** 0.5


def test_the_same_numbers_give_the_same_pixels_in_any_batch():
    numbers = torch.from_numpy(uniform(5, 3))
    assert torch.equal(at_random(numbers, 9, 12, 0.4)[3:], at_random(numbers[3:], 9, 12, 0.4))


def test_the_mixing_is_that_of_splitmix64():
    """The published sequence of the seed 1234567."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    states = torch.tensor([1234567]) + torch.arange(1, 4) * mask._GOLDEN
    assert [word % 2**64 for word in mask._mixed(states).tolist()] == published


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_the_same_pixels_are_drawn_on_every_device():
    numbers = torch.from_numpy(uniform(50, 3))
    assert torch.equal(at_random(numbers.cuda(), 30, 30, 0.4).cpu(), at_random(numbers, 30, 30, 0.4))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("channels", [1, 3, 4, 13])
def test_what_is_covered_is_blended_by_alpha(channels, alpha):
    views, fill = torch.rand(2, channels, 6, 5), torch.rand(channels)
    where = torch.rand(2, 6, 5) < 0.5
    expected = views.clone()
    for i, y, x in where.nonzero().tolist():
        expected[i, :, y, x] = (1 - alpha) * views[i, :, y, x] + alpha * fill
    assert (covered(views, where, fill, alpha) - expected).abs().max() < 1e-6
