"""Crops: where boxes lie."""

import numpy as np
import pytest
import torch
from torchvision.transforms import RandomResizedCrop

from nearfar import randomness
from nearfar.modalities.image.views.crop import corners, crop_boxes

DRAWS = 4000
QUANTILES = np.linspace(0.05, 0.95, 19)


def uniform(count, columns, stream="test"):
    return randomness.uniform(0, stream, np.arange(count), columns)


# Crop boxes


def ours(shape, scale=(0.08, 1.0)):
    """Left, top, width, height in pixels."""
    width, height = shape
    aspect = np.full(DRAWS, width / height, dtype=np.float32)
    boxes = crop_boxes(uniform(DRAWS, 22), aspect, scale)
    return boxes * np.array([width, height, width, height], dtype=np.float32)


def theirs(shape, scale=(0.08, 1.0), draws=DRAWS):
    torch.manual_seed(0)
    width, height = shape
    image = torch.empty(1).expand(1, height, width)
    found = [RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(draws)]
    return np.array([(left, top, w, h) for top, left, h, w in found], dtype=np.float32)


SHAPES = pytest.mark.parametrize("shape", [(1000, 1000), (1500, 500), (500, 1500)], ids=["square", "3:1", "1:3"])


@pytest.fixture(scope="module")
def drawn():
    shapes = [(1000, 1000), (1500, 500), (500, 1500)]
    return {shape: (ours(shape), theirs(shape)) for shape in shapes}


@SHAPES
def test_the_area_of_a_box_is_distributed_as_torchvisions(drawn, shape):
    a, b = (boxes[:, 2] * boxes[:, 3] / (shape[0] * shape[1]) for boxes in drawn[shape])
    assert np.abs(np.quantile(a, QUANTILES) - np.quantile(b, QUANTILES)).max() < 0.03


@SHAPES
def test_the_aspect_ratio_of_a_box_is_distributed_as_torchvisions(drawn, shape):
    a, b = (np.log(boxes[:, 2] / boxes[:, 3]) for boxes in drawn[shape])
    assert np.abs(np.quantile(a, QUANTILES) - np.quantile(b, QUANTILES)).max() < 0.03


@SHAPES
@pytest.mark.parametrize("side", [0, 1], ids=["left", "top"])
def test_the_place_of_a_box_is_distributed_as_torchvisions(drawn, shape, side):
    a, b = (boxes[:, side] / shape[side] for boxes in drawn[shape])
    assert np.abs(np.quantile(a, QUANTILES) - np.quantile(b, QUANTILES)).max() < 0.03


@pytest.mark.parametrize("shape", [(1500, 500), (500, 1500)], ids=["3:1", "1:3"])
def test_where_no_box_fits_it_is_torchvisions_central_one(shape):
    found, expected = ours(shape, (0.9, 1.0)), theirs(shape, (0.9, 1.0), draws=1)
    assert np.abs(found - found[0]).max() == 0
    assert np.abs(found[0] - expected[0]).max() <= 1  # torchvision rounds to whole pixels


def test_as_many_boxes_fall_back_to_the_centre_as_torchvisions():
    shape = (1500, 500)
    shares = [
        np.isclose(boxes[:, 2], 500 * 4 / 3, atol=1.5) & np.isclose(boxes[:, 3], 500, atol=0.5)
        for boxes in (ours(shape, (0.35, 0.6)), theirs(shape, (0.35, 0.6)))
    ]
    assert 0.05 < shares[1].mean() < 0.95
    assert abs(shares[0].mean() - shares[1].mean()) < 0.04


@pytest.mark.parametrize("aspect", [1.0, 3.0, 1 / 3, 0.8, 100.0])
@pytest.mark.parametrize("scale", [(0.05, 0.4), (0.08, 1.0), (1.0, 1.0)])
def test_a_box_lies_inside_the_picture(aspect, scale):
    boxes = crop_boxes(uniform(DRAWS, 22), np.full(DRAWS, aspect, dtype=np.float32), scale)
    assert (boxes >= 0).all()
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= 1 + 1e-6).all()


# Whole pixels


def test_corners_are_whole_pixels():
    boxes = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.25], [0.13, 0.4, 0.3, 0.27]])
    assert corners(boxes, 20, 40).tolist() == [[0, 0, 40, 20], [10, 10, 30, 15], [5, 8, 17, 13]]


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (32, 32)])
def test_corners_span_at_least_a_pixel_of_the_picture(shape):
    high, wide = shape
    starts = torch.rand(500, 2)
    boxes = torch.cat([starts, (1 - starts) * torch.rand(500, 2) ** 8], dim=1)
    left, top, right, bottom = corners(boxes, high, wide).unbind(1)
    assert ((left >= 0) & (left < right) & (right <= wide)).all()
    assert ((top >= 0) & (top < bottom) & (bottom <= high)).all()
