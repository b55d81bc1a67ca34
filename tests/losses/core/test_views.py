"""The anchors of a batch of views: their order, their positives, their negatives."""

import math

import pytest
import torch

from nearfar.losses.core.views import Anchors


def anchors(b=4, v=3, ids=None, rows=None):
    generator = torch.Generator().manual_seed(0)
    views = [torch.randn(b, 5, generator=generator, dtype=torch.float64) for _ in range(v)]
    return views, Anchors.of(views, None if ids is None else torch.tensor(ids), rows)


def test_views_lie_sample_by_sample_in_unit_length():
    views, got = anchors()
    torch.testing.assert_close(got.every[2, 1], views[1][2] / views[1][2].norm())
    torch.testing.assert_close(got.flat[2 * 3 + 1], got.every[2, 1])


def test_positives_are_the_other_views_in_order():
    _, got = anchors(rows=slice(1, 3))
    u = got.every[2]
    torch.testing.assert_close(got.positives()[1, 1], torch.stack([u[1] @ u[0], u[1] @ u[2]]))


@pytest.mark.parametrize("ids", [None, [7, 3, 7, 5]])
@pytest.mark.parametrize("rows", [None, slice(1, 3), slice(2, 2)])
@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_negatives_are_the_views_of_samples_of_other_ids_by_loops(ids, rows, implementation):
    _, got = anchors(ids=ids, rows=rows)
    lse, count = got.negatives_lse(2.0, implementation), got.negatives()
    own = range(4)[rows or slice(None)]
    assert lse.shape == (len(own), 3)
    for at, i in enumerate(own):
        others = [j for j in range(4) if (ids or range(4))[j] != (ids or range(4))[i]]
        assert count[at].item() == 3 * len(others)
        for w in range(3):
            total = sum(math.exp(2 * float(got.every[i, w] @ got.every[j, x])) for j in others for x in range(3))
            assert lse[at, w].item() == pytest.approx(math.log(total), rel=1e-13)
