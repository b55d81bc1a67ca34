"""Masks and boxes go where their pictures go."""

import numpy as np
import pytest
import torch

from nearfar.contract.annotations import VOID
from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views import ViewMaker

SIZE = 48
ASPECT = torch.tensor([1.0, 1.5, 0.75, 1.0])
QUIET = {"jitter": 0.0, "greyscale": 0.0, "blur": 0.0, "keep_colours": 0.0, "views_strength": 0.0}


def maker(**options):
    return ViewMaker(
        ImageOptions(**{"crop_scale": 0.4, "flip": 0.5, "flip_vertical": 0.5, "rotate": 0.0, **QUIET, **options}),
        size=SIZE, mean=torch.zeros(1), std=torch.ones(1), seed=3,
    )  # fmt: skip


def squares():
    """A bright rectangle on black in each picture: the pictures, their masks, and its box in shares."""
    pixels = torch.zeros(4, 1, 64, 64, dtype=torch.uint8)
    boxes = torch.zeros(4, 1, 4)
    for i, (left, top, right, bottom) in enumerate(
        [(8, 16, 40, 60), (20, 20, 50, 40), (4, 30, 30, 50), (28, 8, 60, 50)]
    ):
        pixels[i, 0, top:bottom, left:right] = 255
        boxes[i, 0] = torch.tensor([left, top, right, bottom]) / 64
    return pixels, (pixels[:, 0] > 0).to(torch.uint8), boxes


@pytest.mark.parametrize("turn", [0.0, 40.0])
def test_a_mask_lies_where_its_picture_shows_it(turn):
    pixels, masks, _ = squares()
    draws = np.arange(4)
    make = maker(rotate=turn)
    view = make(pixels, ASPECT, draws, 0, False)[:, 0]
    mask = make.marks({"mask": masks}, ASPECT, draws, 0, False)["mask"]
    assert mask.shape == (4, SIZE, SIZE)
    known = mask != VOID
    wrong = ((view > 0.5) != (mask == 1)) & known
    assert wrong.float().mean() < 0.02  # the rectangle's border, which the picture's filter blurs
    assert known.float().mean() > (0.6 if turn else 0.999)


@pytest.mark.parametrize("turn", [0.0, 40.0])
def test_a_box_is_around_what_its_picture_shows(turn):
    pixels, _, boxes = squares()
    draws = np.arange(4)
    make = maker(rotate=turn, crop_scale=0.7)
    view = make(pixels, ASPECT, draws, 0, False)[:, 0]
    found = make.marks({"boxes": boxes, "labels": torch.zeros(4, 1, dtype=torch.long)}, ASPECT, draws, 0, False)
    for i in range(4):
        assert found["labels"][i, 0] == 0
        rows, columns = (view[i] > 0.5).nonzero().T
        shown = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        gap = (found["boxes"][i, 0] - shown).abs().max()
        assert gap < 2 + 0.02 * turn  # pixels of 48


def test_what_is_hardly_seen_is_not_looked_for():
    boxes = torch.tensor([[[0.0, 0.0, 0.02, 0.02], [0.0, 0.0, 1.0, 1.0]]])
    labels = torch.tensor([[3, 4]])
    found = maker(crop_scale=0.4).marks({"boxes": boxes, "labels": labels}, torch.ones(1), np.array([1]), 0, False)
    assert found["labels"].tolist()[0][0] == -1
    shown = found["boxes"][0, 1]
    assert shown.min() >= 0
    assert shown.max() <= SIZE
