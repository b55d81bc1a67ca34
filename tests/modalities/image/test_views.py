import math

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import ColorJitter, RandomResizedCrop
from torchvision.transforms.v2 import functional as reference

from nearfar import randomness
from nearfar.modalities.image import views
from nearfar.modalities.image.decode import decode
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views import ViewMaker, blurring, colour, crop_boxes, cropped, resampled, resampling, turn

LEVEL = 1 / 255
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


@pytest.fixture
def large(monkeypatch):
    """Pass from one way of cropping to the other."""
    return lambda side: monkeypatch.setattr(views, "_LARGE", side)


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


def test_several_threads_crop_as_one_does(large):
    large(1)
    pixels, before = noise(5, 3, 64, 64), torch.get_num_threads()
    boxes = BOXES[1:2].expand(5, 4)
    try:
        torch.set_num_threads(1)
        expected = cropped(pixels, boxes, 24)
        torch.set_num_threads(2)
        with torch.inference_mode():
            found = cropped(pixels, boxes, 24)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(found, expected)


# Blur


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


# Turns


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


# Colours


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


def changed(pictures, given, strength=0.5, jitter=1.0, greyscale=0.5):
    matrix, offset = colour(given, pictures.mean((2, 3)), strength=strength, jitter=jitter, greyscale=greyscale)
    return (matrix @ pictures.flatten(2) + offset[:, :, None]).view(pictures.shape)


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


def test_strength_zero_changes_nothing():
    pictures = pastel(50)
    given = torch.rand(50, 6)
    assert apart(changed(pictures, given, strength=0, greyscale=0), pictures) < 1e-5


def test_hue_keeps_the_luma():
    pictures = pastel(20)
    found = changed(pictures, numbers(20, hue=torch.linspace(0, 1, 20)), strength=1.0)
    luma = torch.tensor([0.299, 0.587, 0.114])
    assert apart(torch.einsum("bchw,c->bhw", found, luma), torch.einsum("bchw,c->bhw", pictures, luma)) < 1e-5


def test_hue_keeps_grey():
    pictures = pastel(channels=1).expand(1, 3, 8, 8)
    assert apart(changed(pictures, numbers(hue=0.9)), pictures) < 1e-5


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


def test_all_at_once_is_one_after_another():
    pictures = pastel()
    given = {"brightness": 0.8, "contrast": 0.3, "saturation": 0.1, "hue": 0.6, "grey": 0.9}
    found = pictures
    for name, number in given.items():
        found = changed(found, numbers(**{name: number}))
    assert apart(changed(pictures, numbers(**given)), found) < 1e-5


@pytest.mark.parametrize("channels", [1, 5])
def test_pictures_without_three_channels_change_in_brightness_and_contrast_only(channels):
    pictures = pastel(channels=channels)
    given = numbers(brightness=0.9, contrast=0.2, saturation=0.0, hue=0.9, grey=0.0)
    brightness, contrast = 1.32, 0.76
    bright = brightness * pictures
    expected = contrast * bright + (1 - contrast) * bright.mean((1, 2, 3), keepdim=True)
    assert apart(changed(pictures, given), expected) < 1e-5


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_factors_are_distributed_as_those_of_colorjitter(name, strength):
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    given = numbers(DRAWS, strength, **{name: drawn[:, 1]})
    black = torch.zeros(DRAWS, 3) if name == "brightness" else torch.full((DRAWS, 3), 0.5)
    matrix, _ = colour(given, black, strength=strength, jitter=1.0, greyscale=0.0)
    found = matrix[:, 0, 0] - matrix[:, 1, 0] * (name == "saturation")
    low, high = getattr(ColorJitter(**{name: 0.8 * strength}), name)
    expected = low + (high - low) * QUANTILES
    assert np.abs(np.quantile(found.numpy(), QUANTILES) - expected).max() < 0.03 * strength


def test_shifts_of_hue_are_distributed_as_those_of_colorjitter():
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    given = numbers(DRAWS, hue=drawn[:, 1])
    matrix, _ = colour(given, torch.zeros(DRAWS, 3), strength=1.0, jitter=1.0, greyscale=0.0)
    there, back = views._yiq(matrix.device)
    spin = there @ matrix @ back
    shifts = torch.atan2(spin[:, 1, 2], spin[:, 1, 1]) / (2 * math.pi)
    low, high = ColorJitter(hue=0.2).hue
    assert np.abs(np.quantile(shifts.numpy(), QUANTILES) - (low + (high - low) * QUANTILES)).max() < 0.01


def test_as_many_views_change_as_jitter_says():
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    matrix, _ = colour(drawn, torch.zeros(DRAWS, 3), strength=0.5, jitter=0.8, greyscale=0.0)
    same = (matrix - torch.eye(3)).abs().amax((1, 2)) < 1e-5
    assert same.float().mean().item() == pytest.approx(0.2, abs=0.03)


def test_as_many_views_go_grey_as_greyscale_says():
    drawn = torch.from_numpy(uniform(DRAWS, 6))
    matrix, _ = colour(drawn, torch.zeros(DRAWS, 3), strength=0.5, jitter=0.8, greyscale=0.2)
    grey = (matrix[:, 0] - matrix[:, 1]).abs().amax(1) < 1e-5
    assert grey.float().mean().item() == pytest.approx(0.2, abs=0.03)


# Views

FULL = {
    "views_strength": 1.0,
    "crop_scale": 0.1,
    "flip": 0.5,
    "rotate": 20.0,
    "greyscale": 0.2,
    "blur": 0.5,
    "jitter": 0.8,
}
NONE = {
    "views_strength": 0.0,
    "crop_scale": 1.0,
    "flip": 0.0,
    "rotate": 0.0,
    "greyscale": 0.0,
    "blur": 0.0,
    "jitter": 0.0,
}
MEAN, STD = (0.5, 0.45, 0.4), (0.2, 0.25, 0.3)


def maker(options=FULL, size=16, channels=3, seed=0):
    mean, std = torch.tensor(MEAN[:channels]), torch.tensor(STD[:channels])
    return ViewMaker(ImageOptions(**options), size=size, mean=mean, std=std, seed=seed)


def made(pixels, draws, view=0, small=False, aspect=None, **more):
    aspect = torch.ones(len(pixels)) if aspect is None else aspect
    return maker(**more)(pixels, aspect, np.array(draws), view, small)


def plain(normalised):
    channels = normalised.shape[1]
    return normalised * torch.tensor(STD[:channels])[:, None, None] + torch.tensor(MEAN[:channels])[:, None, None]


@pytest.mark.parametrize("one_at_a_time", [False, True])
@pytest.mark.parametrize("small", [False, True])
def test_a_view_does_not_depend_on_the_batch_around_it(large, one_at_a_time, small):
    large(1 if one_at_a_time else 10**6)
    pixels, aspect = noise(6, 3, 24, 24), torch.tensor([1.0, 2.0, 0.5, 1.0, 1.5, 3.0])
    draws = [3, 5, 8, 13, 21, 34]
    whole = made(pixels, draws, view=1, small=small, aspect=aspect)
    some = [4, 1]
    part = made(pixels[some], [draws[i] for i in some], view=1, small=small, aspect=aspect[some])
    assert apart(part, whole[some]) < 1e-5


@pytest.mark.parametrize("other", [{"view": 1}, {"seed": 1}, {"draws": [8]}], ids=["view", "seed", "draw"])
def test_another_view_seed_or_draw_is_another_view(other):
    pixels = noise(1, 3, 24, 24)
    first = {"draws": [7], "view": 0, "seed": 0}
    assert apart(made(pixels, **first), made(pixels, **{**first, **other})) > 0.1


def test_the_same_key_gives_the_same_view():
    pixels = noise(2, 3, 24, 24)
    assert torch.equal(made(pixels, [1, 2]), made(pixels, [1, 2]))


@pytest.mark.parametrize("channels", [1, 3])
def test_values_are_those_of_pixels_from_0_to_1(channels):
    found = plain(
        made(noise(64, channels, 24, 24), range(64), channels=channels, options={**FULL, "views_strength": 2})
    )
    assert found.min() >= -1e-5
    assert found.max() <= 1 + 1e-5
    assert found.max() > 0.9


def test_with_everything_off_a_view_is_the_prepared_picture():
    pixels = noise(3, 3, 16, 16)
    assert apart(plain(made(pixels, [0, 1, 2], options=NONE)), pixels / 255) < 1e-5


def test_options_left_open_change_nothing():
    pixels = noise(3, 3, 16, 16)
    assert apart(plain(made(pixels, [0, 1, 2], options={})), pixels / 255) < 1e-5


def test_flips_are_as_many_as_asked():
    pixels = noise(1, 3, 16, 16).expand(400, 3, 16, 16)
    found = plain(made(pixels, range(400), options={**NONE, "flip": 0.3}))
    flipped = (found - pixels.flip(3) / 255).abs().amax((1, 2, 3)) < 1e-4
    same = (found - pixels / 255).abs().amax((1, 2, 3)) < 1e-4
    assert (flipped | same).all()
    assert flipped.float().mean().item() == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_pictures_stay_finite(level):
    pixels = torch.full((16, 3, 24, 24), level, dtype=torch.uint8)
    found = made(pixels, range(16))
    assert found.isfinite().all()
    assert (found.std((2, 3)) < 1e-4).all()


@pytest.mark.parametrize(("size", "expected"), [(224, 96), (96, 40), (32, 16), (16, 8), (8, 8)])
def test_small_views_are_smaller_squares(size, expected):
    found = made(noise(2, 3, 24, 24), [0, 1], small=True, size=size)
    assert found.shape == (2, 3, expected, expected)


def test_small_views_show_smaller_parts():
    """A ramp from left to right: a part of it spans fewer levels."""
    ramp = torch.arange(64, dtype=torch.uint8).mul(4).expand(200, 1, 64, 64)
    options = {**NONE, "crop_scale": 0.3}

    def spans(small):
        found = plain(made(ramp, range(200), small=small, options=options, channels=1))
        return (found.amax((1, 2, 3)) - found.amin((1, 2, 3))).median()

    assert spans(small=True) < 0.75 * spans(small=False)


@pytest.mark.parametrize("one_at_a_time", [False, True])
def test_autocast_around_it_does_not_reach_a_view(large, one_at_a_time):
    large(1 if one_at_a_time else 10**6)
    pixels = noise(4, 3, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(pixels, range(4))
    assert torch.equal(found, made(pixels, range(4)))


def test_a_turn_moves_the_picture():
    pixels = torch.from_numpy(smooth(24, 24).transpose(2, 0, 1).copy())[None]
    still = made(pixels, [3], options=NONE)
    assert apart(made(pixels, [3], options={**NONE, "rotate": 90.0}), still) > 0.3


def test_resampled_is_two_products():
    pictures, across, down = torch.rand(2, 3, 9, 9), torch.rand(2, 5, 9), torch.rand(2, 5, 9)
    expected = torch.einsum("boy,bcyx,bpx->bcop", down, pictures, across)
    assert apart(resampled(pictures, across, down), expected) < 1e-4
