"""Squares: what is seen of the picture inside a box, in both ways."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as reference

from nearfar.modalities.image.decode import decode
from nearfar.modalities.image.views import squares

BOXES = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.25], [0.125, 0.0, 0.75, 0.5]])


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def smooth(width, height, seed=0):
    """A picture [h, w, 3] without fine detail."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def apart(found, expected):
    return (found - expected).abs().max().item()


@pytest.mark.parametrize("size", [24, 40, 90])
def test_a_square_is_torchvisions_resized_crop(way, size):
    pixels = noise(1, 3, 64, 64)
    found = squares(pixels, BOXES[1:2], size)
    expected = reference.resized_crop(pixels, 32, 16, 16, 32, [size, size], antialias=True)
    assert apart(found, expected.float()) <= 1.01  # it rounds to bytes


@pytest.mark.parametrize("channels", [1, 3, 4, 13])
def test_channels_are_cropped_each_by_itself(way, channels):
    pixels = noise(3, channels, 24, 24)
    found = squares(pixels, BOXES, 10)
    for c in range(channels):
        assert apart(found[:, c : c + 1], squares(pixels[:, c : c + 1], BOXES, 10)) <= 1  # bytes are rounded to bytes


def test_one_pixel_fills_the_square(way):
    pixels = noise(3, 3, 1, 1)
    assert apart(squares(pixels, BOXES, 8), pixels.float().expand(3, 3, 8, 8)) < 1e-4


def test_small_squares_of_large_pictures_are_antialiased(way):
    """Stripes too fine for the view must become grey, not coarser stripes."""
    stripes = (torch.arange(128) % 2 * 255).to(torch.uint8).expand(1, 1, 128, 128)
    assert squares(stripes, BOXES[:1], 20).std() < 6  # 128 / 20 is no whole number: a little is left


@pytest.mark.parametrize(("width", "height"), [(96, 48), (40, 120)])
def test_a_squared_picture_is_cropped_in_the_coordinates_of_the_original(way, width, height):
    original = Image.fromarray(smooth(width, height))
    square, aspect = decode(original, size=48, channels=3)
    assert aspect == width / height
    box = (0.25 * width, 0.125 * height, 0.75 * width, 0.875 * height)
    expected = np.array(original.resize((32, 32), Image.Resampling.BILINEAR, box=box)).transpose(2, 0, 1)
    found = squares(torch.from_numpy(square)[None], torch.tensor([[0.25, 0.125, 0.5, 0.75]]), 32)[0]
    difference = (found - torch.from_numpy(expected).float()).abs()
    assert difference.mean() < 2.0
    assert difference.max() < 10.0


def test_a_box_drawn_for_a_long_picture_shows_the_shape_that_was_drawn(way):
    """A 2:1 picture with a circle: a crop of ratio 1 of the original keeps it round."""
    y, x = np.mgrid[:60, :120]
    circle = (((x - 59.5) ** 2 + (y - 29.5) ** 2 < 20**2) * 255).astype(np.uint8)
    square, aspect = decode(Image.fromarray(circle), size=60, channels=1)
    boxes = torch.tensor([[0.25, 0.0, 0.5, 1.0]])  # 60 x 60 of the original
    found = squares(torch.from_numpy(square)[None], boxes, 60)[0, 0] > 127
    assert aspect == 2
    assert abs(int(found.any(0).sum()) - int(found.any(1).sum())) <= 1


def test_more_channels_than_opencv_takes_are_cropped(take):
    pixels = noise(2, 130, 12, 12)
    found = squares(pixels, BOXES[:1].expand(2, 4), 6)
    take("batched")
    assert torch.equal(found, squares(pixels, BOXES[:1].expand(2, 4), 6))
