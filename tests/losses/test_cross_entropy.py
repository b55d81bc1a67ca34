"""Contrastive cross-entropy over an explicit positive and explicit negatives."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import ConfigError, DataError
from nearfar.losses import contrastive_cross_entropy, hardest_negative

VALID = torch.tensor([[True, False, True], [False, False, False], [True, True, True], [True, True, False]])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def triples(b=4, k=3, d=5):
    return normal(b, d), normal(b, d, seed=1), normal(b, k, d, seed=2)


def by_loops(anchors, positives, negatives, temperature, valid=None):
    cosine = lambda x, y: float(x @ y / (x.norm() * y.norm()))  # noqa: E731
    losses = []
    for i in range(len(anchors)):
        own = math.exp(cosine(anchors[i], positives[i]) / temperature)
        others = [
            math.exp(cosine(anchors[i], n) / temperature)
            for k, n in enumerate(negatives[i])
            if valid is None or valid[i, k]
        ]
        losses.append(-math.log(own / (own + sum(others))))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("valid", [None, VALID], ids=["plain", "valid"])
def test_value_by_loops(valid):
    given = triples()
    got = contrastive_cross_entropy(*given, temperature=0.3, valid=valid)
    assert got.item() == pytest.approx(by_loops(*given, 0.3, valid), rel=1e-12)


def test_the_positive_stands_in_the_denominator():
    """Without it the loss could fall below 0."""
    anchors, _, negatives = triples()
    assert contrastive_cross_entropy(anchors, anchors, negatives, reduction="none").gt(0).all()


def test_only_an_anchors_own_negatives_matter():
    anchors, positives, negatives = triples()
    each = contrastive_cross_entropy(anchors, positives, negatives, reduction="none")
    negatives[2] = 1.0
    changed = contrastive_cross_entropy(anchors, positives, negatives, reduction="none")
    assert (each != changed).tolist() == [False, False, True, False]


def test_the_nearest_negative_alone_is_hard_selection():
    z = normal(3, 4)
    u = F.normalize(z)
    nearest = (u @ u.T - 3 * torch.eye(3)).argmax(1)
    got = contrastive_cross_entropy(z, z, z[nearest, None])
    torch.testing.assert_close(got, hardest_negative(z, z))


def test_coinciding_embeddings_give_log_of_the_candidates():
    ones = torch.ones(2, 3)
    assert contrastive_cross_entropy(ones, ones, torch.ones(2, 7, 3)).item() == pytest.approx(math.log(8))


def test_without_negatives_the_loss_and_its_gradient_are_0():
    anchors, positives, _ = triples()
    for negatives, valid in ((torch.zeros(4, 0, 5).double(), None), (normal(4, 2, 5), torch.zeros(4, 2).bool())):
        loss = contrastive_cross_entropy(anchors.requires_grad_(), positives, negatives, valid=valid)
        (gradient,) = torch.autograd.grad(loss, anchors)
        assert loss.item() == pytest.approx(0, abs=1e-15)
        assert gradient.abs().max() < 1e-14


def test_the_order_of_negatives_and_the_length_of_embeddings_do_not_matter():
    anchors, positives, negatives = triples()
    expected = contrastive_cross_entropy(anchors, positives, negatives)
    torch.testing.assert_close(contrastive_cross_entropy(anchors * 9, positives, negatives.flip(1)), expected)


@pytest.mark.parametrize(
    ("negatives", "options", "error", "message"),
    [
        ((2, 4), {}, DataError, r"negatives must be \[3, K, 4\], K of each anchor, got shape \[2, 4\]"),
        ((2, 2, 4), {}, DataError, r"got shape \[2, 2, 4\]"),
        ((3, 2, 4), {"valid": torch.ones(3, 2)}, ConfigError, "valid must be a tensor of booleans"),
        ((3, 2, 4), {"valid": torch.ones(3, 3).bool()}, DataError, r"valid must be \[3, 2\], got shape \[3, 3\]"),
    ],
)
def test_mistakes_are_named(negatives, options, error, message):
    with pytest.raises(error, match=message):
        contrastive_cross_entropy(torch.ones(3, 4), torch.ones(3, 4), torch.ones(negatives), **options)
