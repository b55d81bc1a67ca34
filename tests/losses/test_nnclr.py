"""NNCLR's loss: a loop over the paper's formula, who may be a neighbour, who gets gradients."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import DataError
from nearfar.losses import info_nce, nnclr

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])
IDS, QUEUE_IDS = torch.tensor([3, 1, 4, 1, 5]), torch.tensor([4, 9, 1, 3, 3, 8, 5])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(predictions, projections, queue, temperature, ids=None, queue_ids=None):
    """Eq. 2 to 4, sample by sample: find the nearest, then a softmax over the predictions of the other view."""
    p, z = ([F.normalize(view) for view in views] for views in (predictions, projections))
    bank, b, total = F.normalize(queue), len(p[0]), 0.0
    for view in (0, 1):
        for i in range(b):
            neighbour = z[view][i]
            best = -math.inf
            for k in range(len(bank)):
                allowed = queue_ids is None or int(ids[i]) != int(queue_ids[k])
                if allowed and float(z[view][i] @ bank[k]) > best:
                    best, neighbour = float(z[view][i] @ bank[k]), bank[k]
            logit = [float(neighbour @ p[1 - view][k]) / temperature for k in range(b)]
            candidates = [k for k in range(b) if k == i or ids is None or int(ids[k]) != int(ids[i])]
            total += math.log(sum(math.exp(logit[k]) for k in candidates)) - logit[i]
    return total / (2 * b)


@pytest.fixture
def views():
    """Predictions and projections [2, 5, 4], and a queue [7, 4]."""
    return normal(2, 5, 4), normal(2, 5, 4, seed=1), normal(7, 4, seed=2)


@TILED
@pytest.mark.parametrize("named", [False, True])
def test_the_formula_by_loops(views, named, implementation):
    given = {"ids": IDS, "queue_ids": QUEUE_IDS} if named else {}
    got = nnclr(*views, temperature=0.3, implementation=implementation, **given)
    assert got.item() == pytest.approx(by_loops(*views, 0.3, **given), rel=1e-12)


def test_an_earlier_projection_of_the_same_sample_is_no_neighbour(views):
    predictions, projections, queue = views
    seen = torch.cat([queue, projections[0, :1]])  # the nearest of all to the first sample, at cosine 1
    ids = {"ids": torch.arange(5), "queue_ids": torch.tensor([10, 11, 12, 13, 14, 15, 16, 0])}
    one, other = (nnclr(predictions, projections, seen, reduction="none", **given)[0, 0] for given in (ids, {}))
    torch.testing.assert_close(one, nnclr(predictions, projections, queue, reduction="none")[0, 0])
    assert not torch.allclose(one, other)


@pytest.mark.parametrize("queue", [torch.zeros(0, 4).double(), normal(3, 4, seed=5)])
def test_a_sample_without_neighbours_is_its_own(views, queue):
    predictions, projections, _ = views
    got = nnclr(predictions, projections, queue, ids=torch.full((5,), 7), queue_ids=torch.full((len(queue),), 7))
    assert got.item() == 0  # nor has it negatives
    got = nnclr(predictions, projections, torch.zeros(0, 4).double())
    plain = [info_nce(projections[k], predictions[1 - k]) for k in (0, 1)]
    assert got.item() == pytest.approx(sum(plain).item() / 2, rel=1e-12)


def test_only_predictions_get_gradients(views):
    predictions, projections, queue = (z.requires_grad_() for z in views)
    nnclr(predictions, projections, queue).backward()
    assert projections.grad is None
    assert queue.grad is None
    assert (predictions.grad.abs().amax((1, 2)) > 0).all()


def test_inputs_are_left_as_they_were(views):
    before = [z.clone() for z in views]
    nnclr(*views, ids=IDS, queue_ids=QUEUE_IDS, rows=slice(1, 3))
    assert all(z.equal(copy) for z, copy in zip(views, before, strict=True))


def test_coinciding_predictions_give_log_of_the_batch(views):
    assert nnclr(torch.ones_like(views[0]), *views[1:]).item() == pytest.approx(math.log(5))


@pytest.mark.parametrize(
    ("shapes", "options", "error", "message"),
    [
        (((3, 3, 4), (2, 3, 4), (5, 4)), {}, DataError, "two views each, got 3 and 2"),
        (((2, 3, 4), (2, 2, 4), (5, 4)), {}, DataError, r"predictions\[0\] \[3, 4\].*projections\[0\] \[2, 4\]"),
        (((2, 3, 4), (2, 3, 4), (5, 3)), {}, DataError, r"queue must be projections \[K, 4\], one a row, got shape"),
        (((2, 3, 4), (2, 3, 4), (5, 4)), {"queue_ids": torch.arange(5)}, DataError, "say nothing without ids"),
    ],
)
def test_mistakes_are_named(shapes, options, error, message):
    with pytest.raises(error, match=message):
        nnclr(*(torch.ones(shape) for shape in shapes), **options)
