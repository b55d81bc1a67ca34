"""NT-Xent over labelled pairs: known values, loops, references, the worst pair, memory without pairs of pairs."""

import math

import pytest
import torch

from nearfar.losses import labelled_nt_xent, nt_xent

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])
AVERAGES = pytest.mark.parametrize("average", ["pairs", "anchors"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, labels, temperature, average, references=None, reference_labels=None):
    u = torch.nn.functional.normalize(z.detach())
    columns = u if references is None else torch.nn.functional.normalize(references)
    column_labels = labels if references is None else reference_labels
    anchors = []
    for i in range(len(u)):
        t = {j: float(u[i] @ columns[j]) / temperature for j in range(len(columns)) if references is not None or j != i}
        equal = {j: column_labels[j] == labels[i] != -1 for j in t}
        negatives = sum(math.exp(t[j]) for j in t if not equal[j])
        pairs = [math.log(math.exp(t[j]) + negatives) - t[j] for j in t if equal[j]]
        if pairs:
            anchors.append(pairs)
    if average == "anchors":
        return sum(sum(pairs) / len(pairs) for pairs in anchors) / len(anchors)
    every = [loss for pairs in anchors for loss in pairs]
    return sum(every) / len(every)


@TILED
@pytest.mark.parametrize(("name", "average"), [("meanpair", "pairs"), ("peranchor", "anchors")])
def test_known_value(name, average, implementation, case):
    known = case(f"ntxent_labels_pml_{name}")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    got = labelled_nt_xent(z, labels=labels, temperature=0.1, average=average, implementation=implementation)
    assert got.item() == pytest.approx(known["value"], abs=1e-13)


@TILED
@AVERAGES
def test_value_by_loops(average, implementation):
    z, labels = normal(10, 4), torch.tensor([0, 0, 1, 2, 1, 0, -1, -1, 0, 5])
    options = {"temperature": 0.3, "average": average}
    got = labelled_nt_xent(z, labels=labels, implementation=implementation, **options)
    assert got.item() == pytest.approx(by_loops(z, labels.tolist(), **options), rel=1e-12)


@TILED
@AVERAGES
def test_references_by_loops(average, implementation):
    z, labels = normal(5, 4), torch.tensor([0, 1, -1, 2, 0])
    others, other_labels = normal(9, 4, seed=1), torch.tensor([1, 0, 0, -1, 3, 1, 1, 0, 4])
    options = {"temperature": 0.3, "average": average}
    got = labelled_nt_xent(
        z, labels=labels, reference=others, reference_labels=other_labels, implementation=implementation, **options
    )
    expected = by_loops(z, labels.tolist(), references=others, reference_labels=other_labels.tolist(), **options)
    assert got.item() == pytest.approx(expected, rel=1e-12)


@AVERAGES
def test_samples_as_classes_of_two_views_are_nt_xent(average):
    z1, z2 = normal(6, 4), normal(6, 4, seed=1)
    got = labelled_nt_xent(
        torch.cat([z1, z2]), labels=torch.arange(6).repeat(2), temperature=0.1, average=average
    )  # fmt: skip
    torch.testing.assert_close(got, nt_xent(z1, z2))


@AVERAGES
def test_coinciding_embeddings_give_log_of_one_more_than_the_negatives(average):
    got = labelled_nt_xent(torch.ones(8, 3), labels=torch.arange(8) // 4, average=average)
    assert got.item() == pytest.approx(math.log(5))


@TILED
def test_the_worst_pair_keeps_its_loss_and_gradient(implementation):
    """log(p + tiny) would hold this loss at 87 in float32, and give its pairs the gradient 0."""
    z = torch.tensor([[1.0, 0.0], [-1.0, 1e-3], [1.0, 1e-3], [-1.0, -1e-3]], requires_grad=True)
    labels = torch.tensor([0, 0, 1, 1])
    loss = labelled_nt_xent(z, labels=labels, temperature=0.01, implementation=implementation)
    loss.backward()
    exact = by_loops(z.detach().double(), labels.tolist(), 0.01, "pairs")
    assert exact > 190
    assert loss.item() == pytest.approx(exact, rel=1e-6)
    assert z.grad.abs().max() > 1e-2


def test_memory_does_not_grow_with_pairs_of_pairs(peak_bytes):
    """256 samples in two classes: pairs x negatives would be 32,512 x 128 numbers, 17 MB."""
    z = normal(256, 8).float().requires_grad_()
    peak = peak_bytes(lambda: labelled_nt_xent(z, labels=torch.arange(256) % 2, implementation="tiled").backward())
    assert peak < 3e6


@AVERAGES
@TILED
@pytest.mark.parametrize("labels", [torch.zeros(4, dtype=torch.long), torch.arange(4), torch.full((4,), -1)])
def test_without_positives_or_without_negatives_the_loss_and_its_gradient_are_0(labels, average, implementation):
    z = normal(4, 3).requires_grad_()
    loss = labelled_nt_xent(z, labels=labels, average=average, implementation=implementation)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == 0
    assert gradient.eq(0).all()


@TILED
@AVERAGES
def test_with_an_offset_the_anchors_own_place_among_the_references_is_no_pair(average, implementation):
    z, others, labels = normal(5, 4), normal(3, 4, seed=1), torch.tensor([0, 0, 1, 1, 2, 0, 1, 1])
    options = {"average": average, "temperature": 0.2, "implementation": implementation}
    found = labelled_nt_xent(
        z, labels=labels[3:], reference=torch.cat([others, z]), reference_labels=labels, offset=3, **options
    )
    shares = [
        labelled_nt_xent(
            z,
            labels=labels[3:],
            reference=torch.cat([others, z]),
            reference_labels=labels,
            offset=3,
            rows=rows,
            **options,
        )
        for rows in (slice(0, 2), slice(2, 5))
    ]
    every = labelled_nt_xent(
        torch.cat([others, z]), labels=labels, rows=slice(3, 8), **{**options, "reduction": "none"}
    )
    counts = torch.tensor([int((labels == k).sum()) - 1 for k in labels[3:]])
    divisor = counts.sum() if average == "pairs" else (counts > 0).sum()
    torch.testing.assert_close(found, every.sum() / divisor)
    torch.testing.assert_close(sum(shares), found)
