"""What is drawn for a view: a row for each sample, operations independent of each other."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from nearfar.modalities.image.options import ImageOptions
from nearfar.modalities.image.views.drawing import draw

HALF = ImageOptions(
    crop_scale=0.2, flip=0.5, flip_vertical=0.5, blur=0.5, rotate=10.0, solarise=0.5, cutout=0.5, mask=0.5
)


def drawn(draws, view=0, options=HALF, seed=0, small=False):
    aspect = torch.ones(len(draws))
    return draw(options, aspect, np.array(draws), seed=seed, view=view, size=224, small=small)


def test_a_row_belongs_to_its_draw_alone():
    whole, some = drawn(range(50)), drawn([40, 7])
    for name, value in vars(some).items():
        if value is not None:
            assert torch.equal(value, getattr(whole, name)[[40, 7]]), name


@pytest.mark.parametrize("other", [{"view": 1}, {"seed": 1}, {"draws": range(500, 1000)}], ids=["view", "seed", "draw"])
def test_another_key_draws_everything_anew(other):
    first = {"draws": range(500), "view": 0, "seed": 0}
    for name, value in vars(drawn(**first)).items():
        if value is not None:
            assert not torch.equal(value, getattr(drawn(**{**first, **other}), name)), name


def test_what_is_done_to_a_view_is_drawn_independently():
    found = drawn(range(4000))
    done = {
        "flipped": found.flipped,
        "inverted": found.inverted,
        "blurred": found.sigmas > 0,
        "solarised": found.solarised,
        "cut": found.cut,
        "masked": found.masked,
        "left": found.boxes[:, 0] > found.boxes[:, 0].median(),
        "large": found.boxes[:, 2] > found.boxes[:, 2].median(),
        "cut left": found.cutouts[:, 0] > found.cutouts[:, 0].median(),
        "masked left": found.masks[:, 0] > found.masks[:, 0].median(),
    }
    for (one, a), (other, b) in itertools.combinations(done.items(), 2):
        if {one, other} != {"left", "large"}:  # a large box starts further left
            assert abs((a == b).float().mean().item() - 0.5) < 4 * 0.5 / 4000**0.5, (one, other)


def test_an_operation_that_is_off_draws_nothing():
    found = drawn(range(4), options=ImageOptions())
    for name in ("inverted", "sigmas", "radians", "solarised", "cut", "cutouts", "masked", "masks", "pixels"):
        assert getattr(found, name) is None


def test_widths_of_blurs_are_those_of_simclr_at_224_px():
    sigmas = drawn(range(4000)).sigmas
    sigmas = sigmas[sigmas > 0]
    quantiles = np.linspace(0.05, 0.95, 19)
    assert np.abs(np.quantile(sigmas.numpy(), quantiles) - (0.1 + 1.9 * quantiles)).max() < 0.06


def test_some_rows_are_those_of_the_whole():
    found = drawn(range(10))
    part = found.part(slice(3, 6))
    for name, value in vars(part).items():
        whole = getattr(found, name)
        assert value is None if whole is None else torch.equal(value, whole[3:6]), name


def test_both_views_of_a_sample_keep_its_colours_or_none_does():
    options = replace(HALF, keep_colours=0.5)
    kept = [(drawn(range(200), view=view, options=options).colours[:, 5] == 1).tolist() for view in (0, 1)]
    assert kept[0] == kept[1]
    assert 70 < sum(kept[0]) < 130
