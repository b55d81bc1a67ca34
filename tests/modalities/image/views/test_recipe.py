"""Whole views: keyed, in range, with what was asked for and nothing else."""

import math

import numpy as np
import pytest
import torch

from nearfar import randomness
from nearfar.modalities.image.options import STRENGTH, ImageOptions
from nearfar.modalities.image.views import ViewMaker


def noise(*shape, seed=0):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


def apart(found, expected):
    return (found - expected).abs().max().item()


NONE = {
    "views_strength": 0.0,
    "crop_scale": 1.0,
    "flip": 0.0,
    "rotate": 0.0,
    "greyscale": 0.0,
    "blur": 0.0,
    "jitter": 0.0,
}
DEFAULT = {
    "views_strength": 0.5,
    "crop_scale": 0.15,
    "flip": 0.5,
    "greyscale": 0.2,
    "jitter": 0.8,
}
OPERATIONS = {
    "crop": {"crop_scale": 0.1},
    "flip": {"flip": 0.5},
    "vertical flip": {"flip_vertical": 0.5},
    "turn": {"rotate": 20.0},
    "blur": {"blur": 0.5},
    "colour": {"jitter": 0.8, **STRENGTH},
    "greyscale": {"greyscale": 0.2},
    "solarise": {"solarise": 0.5},
    "cutout": {"cutout": 0.5},
    "box": {"mask": 0.5, "mask_alpha": 0.7},
    "pixels": {"mask": 0.5, "mask_shape": "pixels", "mask_fill": "black"},
}
FULL = {name: value for some in OPERATIONS.values() for name, value in some.items()}
ALL = pytest.mark.parametrize("operation", OPERATIONS)
MEAN, STD = (0.5, 0.45, 0.4, *10 * [0.55]), (0.2, 0.25, 0.3, *10 * [0.22])


def maker(options=FULL, size=16, channels=3, seed=0):
    mean, std = torch.tensor(MEAN[:channels]), torch.tensor(STD[:channels])
    return ViewMaker(ImageOptions(**options), size=size, mean=mean, std=std, seed=seed)


def made(pixels, draws, view=0, small=False, aspect=None, **more):
    aspect = torch.ones(len(pixels)) if aspect is None else aspect
    return maker(**more)(pixels, aspect, np.array(draws), view, small)


def plain(normalised):
    channels = normalised.shape[1]
    return normalised * torch.tensor(STD[:channels])[:, None, None] + torch.tensor(MEAN[:channels])[:, None, None]


# The default views


def weights(start, length, size_in, size_out):
    """A row for each pixel of the result: the triangle about its centre, as wide as a pixel of the wider grid."""
    found = np.zeros((size_out, size_in))
    first, last = round(start * size_in), round((start + length) * size_in)
    for i in range(size_out):
        centre = first + (i + 0.5) / size_out * (last - first)
        for j in range(first, last):
            found[i, j] = max(0.0, 1 - abs(j + 0.5 - centre) / max(1.0, (last - first) / size_out))
        found[i] /= found[i].sum()
    return found


def by_formula(picture, draw, view, seed, size):
    """A default view [c, size, size] of one square picture, in float64, one operation after the other."""
    u = randomness.uniform(seed, "image views", np.array([draw]), 32, view)[0].astype(np.float64)
    for share, shape in zip(u[:10], u[10:20], strict=True):
        area, ratio = 0.15 + 0.85 * share, (4 / 3) ** (2 * shape - 1)
        wide, high = math.sqrt(area * ratio), math.sqrt(area / ratio)
        if wide <= 1 and high <= 1:
            left, top = u[20] * (1 - wide), u[21] * (1 - high)
            break
    else:
        left, top, wide, high = 0.0, 0.0, 1.0, 1.0
    stored = picture.shape[-1]
    down, across = weights(top, high, stored, size), weights(left, wide, stored, size)
    x = np.einsum("oy,cyx,px->cop", down, picture / 255, across)
    if u[22] < 0.5:
        x = x[:, :, ::-1]
    if len(x) == 3:
        luma = np.array([0.299, 0.587, 0.114])
        yiq = np.array([luma, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
    else:
        luma = np.ones(len(x)) / len(x)
    if u[26] < 0.8:
        brightness, contrast, saturation = 1 + 0.4 * (2 * u[27:30] - 1)
        x = brightness * x
        x = contrast * x + (1 - contrast) * np.einsum("c,chw->hw", luma, x).mean()
        if len(x) == 3:
            x = saturation * x + (1 - saturation) * np.einsum("c,chw->hw", luma, x)
            angle = 2 * math.pi * 0.1 * (2 * u[30] - 1)
            c, s = math.cos(angle), math.sin(angle)
            x = np.einsum("cd,dhw->chw", np.linalg.inv(yiq) @ [[1, 0, 0], [0, c, s], [0, -s, c]] @ yiq, x)
    if len(x) == 3 and u[31] < 0.2:
        x = np.broadcast_to(np.einsum("c,chw->hw", luma, x), x.shape)
    mean, std = (np.array(values[: len(x)])[:, None, None] for values in (MEAN, STD))
    return (x.clip(0, 1) - mean) / std


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stored", [32, 45])
def test_a_default_view_is_that_of_the_formula(way, channels, stored):
    pixels, draws = noise(24, channels, stored, stored).float(), np.arange(24) * 1001
    found = made(pixels, draws, view=1, seed=7, size=32, channels=channels, options=DEFAULT)
    for x, picture, draw in zip(found, pixels, draws, strict=True):
        expected = by_formula(picture.numpy().astype(np.float64), draw, 1, 7, 32)
        assert np.abs(x.numpy() - expected).max() < 1e-4


# Every operation


def pictures_of(channels, count=12, shape=(20, 28)):
    return noise(count, channels, *shape)


@ALL
@pytest.mark.parametrize("channels", [1, 3, 13])
def test_an_operation_does_not_depend_on_the_batch_around_it(way, operation, channels):
    pixels, draws = pictures_of(channels), np.arange(12) * 5
    more = {"options": {**NONE, **OPERATIONS[operation]}, "channels": channels, "size": 40}
    whole, some = made(pixels, draws, **more), [7, 2, 11]
    assert apart(made(pixels[some], draws[some], **more), whole[some]) < 2e-5


@ALL
@pytest.mark.parametrize(("channels", "shape"), [(1, (20, 28)), (3, (1, 1)), (13, (2, 9))])
def test_an_operation_keeps_values_in_range_and_finite(operation, channels, shape):
    options = {**NONE, **OPERATIONS[operation]}
    found = plain(made(pictures_of(channels, shape=shape), range(12), options=options, channels=channels))
    assert found.isfinite().all()
    assert found.min() >= -1e-5
    assert found.max() <= 1 + 1e-5


@ALL
def test_an_operation_changes_some_views(operation):
    pixels = pictures_of(3)
    options = {**NONE, **OPERATIONS[operation]}
    changed, still = (made(pixels, range(12), options=some, size=112) for some in (options, NONE))
    assert apart(changed, still) > 0.05


@ALL
def test_pixels_may_be_floats_of_the_same_range(way, operation):
    pixels = pictures_of(3)
    more = {"options": {**NONE, **OPERATIONS[operation]}, "size": 40}
    assert apart(made(pixels.float(), range(12), **more), made(pixels, range(12), **more)) < 1e-5


@ALL
def test_a_device_makes_the_views_of_the_cpu(operation):
    if not torch.cuda.is_available():
        pytest.skip("needs CUDA")
    pixels, more = noise(12, 3, 40, 40), {"options": {**NONE, **OPERATIONS[operation]}}
    found = made(pixels.cuda(), range(12), aspect=torch.ones(12), **more).cpu()
    difference = (found - made(pixels, range(12), **more)).abs()
    assert difference.mean() < 2e-3  # bytes that shrink are rounded to bytes


@pytest.mark.parametrize(
    "off",
    [
        {"jitter": 1.0, **dict.fromkeys(STRENGTH, 0.0)},
        {"cutout": 0.0},
        {"solarise": 0.0},
        {"mask": 0.0},
        {"mask": 1.0, "mask_alpha": 0.0},
        {"flip_vertical": 0.0},
        {"jitter": 1.0, "hue": 0.5, "saturation": 2.0, "greyscale": 1.0, "keep_colours": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("channels", [1, 3])
def test_an_operation_of_strength_0_changes_nothing(off, channels):
    pixels = noise(6, channels, 16, 16)
    found = plain(made(pixels, range(6), options={**NONE, **off}, channels=channels))
    assert apart(found, pixels / 255) < 1e-5


@pytest.mark.parametrize("name", ["flip", "flip_vertical", "solarise", "cutout", "mask"])
def test_as_many_views_are_changed_as_asked(name):
    pixels = noise(1, 3, 16, 16).expand(400, 3, 16, 16)
    found = plain(made(pixels, range(400), options={**NONE, name: 0.3}))
    touched = (found - pixels / 255).abs().amax((1, 2, 3)) > 1e-4
    if "flip" in name:
        assert apart(found[touched], pixels.flip(2 if name == "flip_vertical" else 3)[touched] / 255) < 1e-4
    assert touched.float().mean().item() == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize("name", ["solarise", "cutout", "box", "pixels", "vertical flip"])
def test_switching_an_operation_on_draws_no_other_numbers(name):
    """The views that it leaves alone are those without it."""
    pixels = noise(60, 3, 24, 24)
    base = {**DEFAULT, "crop_scale": 0.3}
    without = made(pixels, range(60), options=base)
    found = made(pixels, range(60), options={**base, **OPERATIONS[name]})
    same = (found - without).abs().amax((1, 2, 3)) < 1e-6
    assert 15 < same.sum() < 45


def test_a_solarised_view_is_inverted_from_the_threshold_on():
    pixels = noise(2, 3, 16, 16)
    found = plain(made(pixels, [0, 1], options={**NONE, "solarise": 1.0, "solarise_from": 0.25}))
    x = pixels / 255
    assert apart(found, torch.where(x >= 0.25, 1 - x, x)) < 1e-5


@pytest.mark.parametrize(("fill", "colour"), [("mean", MEAN[:3]), ("black", (0.0, 0.0, 0.0))])
@pytest.mark.parametrize("shape", ["box", "pixels"])
@pytest.mark.parametrize("alpha", [0.4, 1.0])
def test_a_masked_view_is_the_blend_with_the_fill(fill, colour, shape, alpha):
    pixels = noise(8, 3, 16, 16)
    mask = {"mask": 1.0, "mask_shape": shape, "mask_alpha": alpha, "mask_fill": fill, "mask_ratio": 0.5}
    found, x = plain(made(pixels, range(8), options={**NONE, **mask})), pixels / 255
    blend = (1 - alpha) * x + alpha * torch.tensor(colour)[:, None, None]
    masked, kept = ((found - y).abs().amax(1) < 1e-5 for y in (blend, x))
    assert (masked | kept).all()
    assert 0.5 / 16 * 0.5 < (masked & ~kept).float().mean() < 0.5


def test_the_first_view_may_stay_unmasked():
    pixels = noise(4, 3, 16, 16)
    options = {**NONE, "mask": 1.0, "mask_views": "later"}
    first, second = (plain(made(pixels, range(4), view=view, options=options)) for view in (0, 1))
    assert apart(first, pixels / 255) < 1e-5
    assert ((second - pixels / 255).abs().amax((1, 2, 3)) > 1e-3).all()


# All together


@pytest.mark.parametrize("options", [NONE, {}], ids=["off", "open"])
def test_with_everything_off_or_left_open_a_view_is_the_prepared_picture(options):
    pixels = noise(3, 3, 16, 16)
    assert apart(plain(made(pixels, [0, 1, 2], options=options)), pixels / 255) < 1e-5


@pytest.mark.parametrize("level", [0, 128, 255])
def test_constant_pictures_stay_finite(level):
    pixels = torch.full((16, 3, 24, 24), level, dtype=torch.uint8)
    found = made(pixels, range(16), options={**DEFAULT, "rotate": 20.0, "blur": 0.5})
    assert found.isfinite().all()
    assert (found.std((2, 3)) < 1e-4).all()


@pytest.mark.parametrize(("size", "expected"), [(224, 96), (96, 40), (16, 8), (8, 8)])
def test_small_views_are_smaller_squares(size, expected):
    found = made(noise(2, 3, 24, 24), [0, 1], small=True, size=size)
    assert found.shape == (2, 3, expected, expected)
    assert made(noise(2, 3, 24, 24), [0, 1], small=True, size=size, options={"small_size": 1.0}).shape[-1] == size


def test_autocast_around_it_does_not_reach_a_view(way):
    pixels = noise(4, 3, 24, 24)
    with torch.autocast("cpu", torch.bfloat16):
        found = made(pixels, range(4))
    assert torch.equal(found, made(pixels, range(4)))


@pytest.mark.parametrize("largest", [0.1, 0.4])
def test_small_views_show_at_most_what_was_asked(largest):
    """A ramp from left to right, and its transpose: the levels in a view are its width, and its height."""
    ramp = torch.linspace(0, 255, 256).expand(300, 1, 256, 256)
    options = {**NONE, "crop_scale": 0.5, "small_scale": largest}
    spans = []
    for pixels in (ramp, ramp.transpose(2, 3)):
        found = plain(made(pixels, range(300), small=True, size=224, options=options, channels=1))
        spans.append(found.amax((1, 2, 3)) - found.amin((1, 2, 3)))
    area = spans[0] * spans[1]
    assert 0.9 * largest < area.max() < 1.05 * largest
    assert area.min() < 0.07
