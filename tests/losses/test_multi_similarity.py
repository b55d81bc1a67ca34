"""Multi-similarity: known value, loops, all anchors in the mean, index pairs."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import multi_similarity

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])
LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 0])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, labels, alpha, beta, base):
    u, losses = F.normalize(z), []
    for i in range(len(z)):
        sums = {True: 0.0, False: 0.0}
        for j in range(len(z)):
            if j != i:
                same, s = bool(labels[i] == labels[j]), float(u[i] @ u[j]) - base
                sums[same] += math.exp(-alpha * s if same else beta * s)
        losses.append(math.log1p(sums[True]) / alpha + math.log1p(sums[False]) / beta)
    return losses


@TILED
def test_published_value(implementation, case):
    known = case("multi_similarity_a2_b50_l0.5")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    found = multi_similarity(z, labels=labels, **known["params"], implementation=implementation)
    assert found.item() == pytest.approx(known["value"], abs=1e-14)


@TILED
def test_value_by_loops(implementation):
    z = normal(7, 3)
    each = multi_similarity(
        z, labels=LABELS, alpha=3, beta=20, base=0.4, reduction="none", implementation=implementation
    )
    assert each.tolist() == pytest.approx(by_loops(z, LABELS, 3, 20, 0.4), abs=1e-12)


def test_pitfall_3_an_anchor_without_a_positive_stays_in_the_mean_with_its_negatives():
    z = normal(7, 3)
    expected = by_loops(z, LABELS, 2, 50, 0.5)
    assert expected[5] > 0
    assert multi_similarity(z, labels=LABELS).item() == pytest.approx(sum(expected) / 7, abs=1e-12)


def test_pitfall_4_mean_active_is_over_anchors_that_have_a_pair():
    z, labels = normal(3, 3), torch.tensor([0, 0, 1])
    none = torch.zeros(0, dtype=torch.long)
    pairs = (torch.tensor([0, 1]), torch.tensor([1, 0]), none, none)
    total = multi_similarity(z, pairs=pairs, reduction="sum")
    torch.testing.assert_close(multi_similarity(z, pairs=pairs), total / 3)
    torch.testing.assert_close(multi_similarity(z, pairs=pairs, reduction="mean_active"), total / 2)
    by_labels = [multi_similarity(z, labels=labels, reduction=word) for word in ("mean", "mean_active")]
    torch.testing.assert_close(*by_labels)


def test_given_pairs_are_the_pairs_of_labels():
    z = normal(7, 3).requires_grad_()
    same = (LABELS[:, None] == LABELS) & ~torch.eye(7, dtype=torch.bool)
    pairs = (*same.nonzero().T, *(LABELS[:, None] != LABELS).nonzero().T)
    found = [multi_similarity(z, pairs=pairs), multi_similarity(z, labels=LABELS)]
    torch.testing.assert_close(*found)
    torch.testing.assert_close(*(torch.autograd.grad(x, z)[0] for x in found))


def test_pitfall_7_one_positive_and_one_negative_pair_have_their_loss():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    index = [torch.tensor([k]) for k in (0, 1, 0, 2)]
    expected = math.log1p(math.e) / 2 + math.log1p(math.exp(25)) / 50
    assert multi_similarity(z, pairs=index, reduction="sum").item() == pytest.approx(expected)


@TILED
def test_coinciding_embeddings_have_the_closed_form(implementation):
    found = multi_similarity(torch.ones(6, 2).double(), labels=torch.arange(6) % 2, implementation=implementation)
    expected = math.log1p(2 * math.exp(-1)) / 2 + math.log1p(3 * math.exp(25)) / 50
    assert found.item() == pytest.approx(expected)
