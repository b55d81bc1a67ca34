"""Crops: where boxes lie, and what is seen of the picture inside them."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from nearfar import randomness
from nearfar.modalities.image.decode import decode
from nearfar.modalities.image.views.crop import crop_boxes, cropped, resampled, resampling

DRAWS = 4000
QUANTILES = np.linspace(0.05, 0.95, 19)


def uniform(count, columns, stream="test"):
    return randomness.uniform(0, stream, np.arange(count), columns)


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def smooth(width, height, seed=0):
    """A picture [h, w, 3] without fine detail."""
    small = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def apart(found, expected):
    return (found - expected).abs().max().item()


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


# Resampling


@pytest.mark.parametrize("size_out", [7, 24, 50])
def test_the_rows_of_a_resampling_sum_to_one(size_out):
    start, length = torch.tensor([0.0, 0.3, 0.9]), torch.tensor([1.0, 0.25, 0.1])
    sums = resampling(start, length, 24, size_out).sum(2)
    assert apart(sums, torch.ones(3, size_out)) < 1e-6


def test_the_whole_at_the_same_size_is_the_identity():
    found = resampling(torch.zeros(1), torch.ones(1), 16, 16)
    assert apart(found[0], torch.eye(16)) < 1e-6


@pytest.mark.parametrize("box", [(0, 0, 52, 40), (3.3, 5.1, 30.7, 34.9), (20, 10, 26, 15)])
@pytest.mark.parametrize("size", [9, 20, 64])
def test_resampling_is_pils_bilinear_within_two_roundings_to_bytes(box, size):
    pixels = noise(40, 52)
    left, top, right, bottom = box
    image = Image.fromarray(pixels.numpy()).resize((size, size), Image.Resampling.BILINEAR, box=box)
    across = resampling(torch.tensor([left / 52]), torch.tensor([(right - left) / 52]), 52, size)[0]
    down = resampling(torch.tensor([top / 40]), torch.tensor([(bottom - top) / 40]), 40, size)[0]
    assert apart(down @ pixels.float() @ across.T, torch.from_numpy(np.array(image)).float()) <= 1.01


def test_flipping_is_flipping_the_result():
    start, length = torch.tensor([0.2, 0.2]), torch.tensor([0.5, 0.5])
    found = resampling(start, length, 20, 12, torch.tensor([False, True]))
    assert apart(found[1], found[0].flip(0)) < 1e-6


@pytest.mark.parametrize(("width", "height"), [(96, 48), (40, 120)])
def test_a_squared_picture_is_cropped_in_the_coordinates_of_the_original(width, height):
    original = Image.fromarray(smooth(width, height))
    square, aspect = decode(original, size=48, channels=3)
    assert aspect == width / height
    box = (0.25 * width, 0.1 * height, 0.65 * width, 0.9 * height)
    expected = np.array(original.resize((32, 32), Image.Resampling.BILINEAR, box=box)).transpose(2, 0, 1)
    found = cropped(torch.from_numpy(square)[None], torch.tensor([[0.25, 0.1, 0.4, 0.8]]), 32)[0]
    difference = (found - torch.from_numpy(expected).float()).abs()
    assert difference.mean() < 2.0
    assert difference.max() < 10.0


def test_a_box_drawn_for_a_long_picture_shows_the_shape_that_was_drawn():
    """A 2:1 picture with a circle: a crop of ratio 1 of the original keeps it round."""
    y, x = np.mgrid[:60, :120]
    circle = (((x - 59.5) ** 2 + (y - 29.5) ** 2 < 20**2) * 255).astype(np.uint8)
    square, aspect = decode(Image.fromarray(circle), size=60, channels=1)
    boxes = torch.tensor([[0.25, 0.0, 0.5, 1.0]])  # 60 x 60 of the original
    found = cropped(torch.from_numpy(square)[None], boxes, 60)[0, 0] > 127
    assert aspect == 2
    assert abs(int(found.any(0).sum()) - int(found.any(1).sum())) <= 1


# One large picture at a time


BOXES = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.25, 0.5, 0.5, 0.25], [0.125, 0.0, 0.75, 0.5]])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [20, 40, 90])
def test_large_pictures_one_at_a_time_give_the_same_pixels(large, channels, size):
    pixels = torch.from_numpy(np.stack([smooth(64, 64, i).transpose(2, 0, 1) for i in range(3)]))[:, :channels]
    flipped = torch.tensor([True, False, True])
    large(10**6)
    expected = cropped(pixels, BOXES, size, flipped=flipped)
    large(1)
    found = cropped(pixels, BOXES, size, flipped=flipped)
    inside = slice(3, -3)  # at the border one sees a pixel beyond the box
    assert apart(found[:, :, inside, inside], expected[:, :, inside, inside]) < 2.0
    assert apart(found, expected) < 12.0


def test_one_at_a_time_equals_torchvisions_resized_crop(large):
    large(1)
    pixels = noise(1, 3, 64, 64)
    found = cropped(pixels, BOXES[1:2], 24)
    expected = reference.resized_crop(pixels, 32, 16, 16, 32, [24, 24], antialias=True)
    assert torch.equal(found, expected.float())


def test_blur_after_the_crop_equals_blur_within_it(large):
    pixels = noise(3, 3, 64, 64).float()  # floats are not rounded on the way
    whole, sigmas = BOXES[:1].expand(3, 4), torch.tensor([0.0, 0.5, 2.0])
    large(10**6)
    expected = cropped(pixels, whole, 40, sigmas=sigmas)
    large(1)
    assert apart(cropped(pixels, whole, 40, sigmas=sigmas), expected) < 1e-3


@pytest.mark.parametrize("one_at_a_time", [False, True])
@pytest.mark.parametrize("channels", [1, 3, 4, 13])
def test_channels_are_cropped_each_by_itself(large, one_at_a_time, channels):
    large(1 if one_at_a_time else 10**6)
    pixels = noise(3, channels, 24, 24)
    found = cropped(pixels, BOXES, 10)
    for c in range(channels):
        assert apart(found[:, c : c + 1], cropped(pixels[:, c : c + 1], BOXES, 10)) <= 1  # bytes are rounded to bytes


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_pictures_that_are_no_squares_are_cropped_in_shares_of_either_side(large, one_at_a_time):
    large(1 if one_at_a_time else 10**6)
    pixels = torch.from_numpy(smooth(64, 32).transpose(2, 0, 1).copy())[None]
    found = cropped(pixels, BOXES[1:2], 16)  # 32 x 8 pixels from (16, 16)
    expected = reference.resized_crop(pixels, 16, 16, 8, 32, [16, 16], antialias=True).float()
    assert apart(found[..., 1:-1, 1:-1], expected[..., 1:-1, 1:-1]) < 3.0


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_flips_of_a_crop_are_those_of_its_pixels(large, one_at_a_time):
    large(1 if one_at_a_time else 10**6)
    pixels, boxes = noise(4, 3, 24, 24), BOXES[1:2].expand(4, 4)
    plain = cropped(pixels, boxes, 9)
    flipped, inverted = torch.tensor([False, True, False, True]), torch.tensor([False, False, True, True])
    found = cropped(pixels, boxes, 9, flipped=flipped, inverted=inverted)
    expected = torch.stack([plain[0], plain[1].flip(2), plain[2].flip(1), plain[3].flip((1, 2))])
    assert apart(found, expected) < 1e-3


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_one_pixel_fills_the_view(large, one_at_a_time):
    large(1 if one_at_a_time else 10**6)
    pixels = noise(3, 3, 1, 1)
    assert apart(cropped(pixels, BOXES, 8), pixels.float().expand(3, 3, 8, 8)) < 1e-4


def test_pictures_with_their_channels_innermost_give_the_same_crops(large):
    large(1)
    pixels = noise(3, 3, 64, 64)
    found = cropped(pixels.contiguous(memory_format=torch.channels_last), BOXES, 24)
    assert torch.equal(found, cropped(pixels, BOXES, 24))


def test_small_crops_of_large_pictures_are_antialiased(large):
    """Stripes too fine for the view must become grey, not coarser stripes."""
    stripes = (torch.arange(128) % 2 * 255).to(torch.uint8).expand(1, 1, 128, 128)
    for side in (1, 10**6):
        large(side)
        assert cropped(stripes, BOXES[:1], 20).std() < 6  # 128 / 20 is no whole number: a little is left


def test_resampled_is_two_products():
    pictures, across, down = torch.rand(2, 3, 9, 9), torch.rand(2, 5, 9), torch.rand(2, 5, 9)
    expected = torch.einsum("boy,bcyx,bpx->bcop", down, pictures, across)
    assert apart(resampled(pictures, across, down), expected) < 1e-4
