"""Views one at a time: the same as by matrices, whatever the picture."""

import pytest
import torch

from nearfar.modalities.image.views import batched, single

CORNERS = torch.tensor([[0, 0, 24, 20], [3, 5, 9, 17], [23, 19, 24, 20], [0, 4, 24, 6]])
ASKED = {
    "crop": {},
    "flip": {"flipped": torch.tensor([True, False, True, False])},
    "upside down": {"inverted": torch.tensor([True, False, True, False])},
    "both flips": {
        "flipped": torch.tensor([True, False, True, False]),
        "inverted": torch.tensor([True, True, False, False]),
    },
    "blur": {"sigmas": torch.tensor([0.0, 0.4, 1.7, 3.0])},
    "turn": {"turns": torch.tensor([[[0.9, -0.3, 2.0], [0.3, 0.9, -1.0]]]).repeat(4, 1, 1)},
}


def apart(found, expected):
    return (found - expected).abs().max().item()


def pictures(channels, dtype):
    made = torch.randint(0, 256, (4, 20, 24, channels), generator=torch.Generator().manual_seed(0))
    return made.to(dtype).permute(0, 3, 1, 2)


def both(given, size, **asked):
    out = torch.empty(len(given), size, size, given.shape[1]).permute(0, 3, 1, 2)
    single.placed(given, CORNERS, out, **asked)
    return out, batched.placed(given, CORNERS, size, **asked)


@pytest.mark.parametrize("channels", [1, 3, 4, 13, 128])
@pytest.mark.parametrize("size", [8, 20, 40])
@pytest.mark.parametrize("asked", ASKED)
def test_floats_are_placed_as_by_matrices(channels, size, asked):
    found, expected = both(pictures(channels, torch.float32), size, **ASKED[asked])
    assert apart(found, expected) < 2e-2  # of 255


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("asked", ASKED)
def test_bytes_that_grow_are_placed_as_by_matrices(channels, asked):
    found, expected = both(pictures(channels, torch.uint8), 40, **ASKED[asked])
    assert apart(found, expected) < 2e-2


@pytest.mark.parametrize("channels", [1, 3, 13])
@pytest.mark.parametrize("size", [8, 20])
def test_bytes_that_shrink_are_rounded_to_bytes(channels, size):
    found, expected = both(pictures(channels, torch.uint8), size)
    assert apart(found, expected) < 1.1


@pytest.mark.parametrize("channels", [1, 3])
def test_planar_pictures_are_placed_like_those_with_their_channels_innermost(channels):
    given = pictures(channels, torch.uint8)
    for size in (8, 40):
        assert torch.equal(both(given.contiguous(), size)[0], both(given, size)[0])


@pytest.mark.parametrize("channels", [1, 2, 3, 4, 13, 128])
def test_colours_are_mixed_as_by_products(channels):
    views = torch.rand(3, 7, 5, channels).permute(0, 3, 1, 2)
    matrices, offsets = torch.rand(3, channels, channels), torch.rand(3, channels)
    expected = batched.mixed(views, matrices, offsets)
    single.mixed(views, matrices, offsets)
    assert apart(views, expected) < 1e-4


def test_pictures_stay_as_they_were():
    for dtype in (torch.uint8, torch.float32):
        given = pictures(3, dtype)
        for asked in ASKED.values():
            for size in (8, 20, 40):
                both(given, size, **asked)
        assert torch.equal(given, pictures(3, dtype))
