"""Margin contrastive: known values, loops, reductions, distance 0."""

import itertools

import pytest
import torch

from nearfar.losses import contrastive, labelled_contrastive

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance_of(x, y, distance, normalize):
    if normalize or distance == "cosine":
        x, y = x / x.norm(), y / y.norm()
    d = float((x - y).norm())
    return {"euclidean": d, "squared_euclidean": d * d, "cosine": 1 - float(x @ y)}[distance]


def by_loops(z, labels, *, margin, positive_margin=0.0, squared=True, distance="euclidean", normalize=True):
    """Terms of all ordered pairs: those of positives, and those of negatives."""
    terms = {True: [], False: []}
    for i, j in itertools.permutations(range(len(z)), 2):
        d, same = distance_of(z[i], z[j], distance, normalize), bool(labels[i] == labels[j])
        over = max(0.0, d - positive_margin if same else margin - d)
        terms[same].append(over**2 / 2 if squared else over)
    return terms[True], terms[False]


def mean(values):
    return sum(values) / max(1, len(values))


def test_published_value_of_hadsell(case):
    known = case("contrastive_hadsell_m1")
    x, y, similar = (known["inputs"][k] for k in ("x", "y", "label"))
    loss = contrastive(x, y, similar=similar, margin=known["params"]["margin"], normalize=False)
    assert loss.item() == pytest.approx(known["value"], abs=1e-15)


@TILED
def test_published_value_of_active_pairs_of_labels(implementation, case):
    known = case("contrastive_pml_nm0.9")
    loss = labelled_contrastive(
        known["inputs"]["angles_deg"], labels=known["inputs"]["labels"], margin=0.9, squared=False,
        reduction="mean_active", implementation=implementation,
    )  # fmt: skip
    assert loss.item() == pytest.approx(known["value"], abs=1e-14)


@TILED
@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("squared", [True, False])
def test_labels_by_loops(distance, normalize, squared, implementation):
    z, labels = normal(9, 3), torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 0])
    options = {"margin": 0.9, "positive_margin": 0.1, "squared": squared, "distance": distance, "normalize": normalize}
    pulls, pushes = by_loops(z, labels, **options)
    active = [[term for term in terms if term > 0] for terms in (pulls, pushes)]
    expected = {
        "mean": mean(pulls) + mean(pushes),
        "mean_active": mean(active[0]) + mean(active[1]),
        "sum": sum(pulls) + sum(pushes),
    }
    for reduction, value in expected.items():
        found = labelled_contrastive(z, labels=labels, reduction=reduction, implementation=implementation, **options)
        assert found.item() == pytest.approx(value, abs=1e-12)


def test_given_pairs_are_the_pairs_of_labels():
    z, labels = normal(7, 3), torch.tensor([0, 0, 1, 1, 1, 2, 0])
    i, j = torch.tensor(list(itertools.permutations(range(7), 2))).T
    same = labels[i] == labels[j]
    pairs = (i[same], j[same], i[~same], j[~same])
    for reduction in ("mean", "mean_active", "sum"):
        by_pairs = labelled_contrastive(z, pairs=pairs, reduction=reduction)
        torch.testing.assert_close(by_pairs, labelled_contrastive(z, labels=labels, reduction=reduction))
    total = contrastive(z[i], z[j], similar=same, reduction="sum")
    torch.testing.assert_close(total, labelled_contrastive(z, labels=labels, reduction="sum"))


def test_pitfall_7_one_positive_and_one_negative_pair_have_their_loss():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    index = [torch.tensor([k]) for k in (0, 1, 0, 2)]
    loss = labelled_contrastive(z, pairs=index, margin=1.0, squared=False)
    assert loss.item() == pytest.approx(2**0.5 + 1.0)


def test_pitfall_4_the_means_differ_by_the_pairs_that_have_no_loss():
    z1, z2 = torch.tensor([[1.0, 0.0]] * 4), torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    similar = torch.tensor([1, 1, 1, 1])
    assert contrastive(z1, z2, similar=similar).item() == pytest.approx(1 / 4)
    assert contrastive(z1, z2, similar=similar, reduction="mean_active").item() == pytest.approx(1)


def test_pitfall_13_the_sum_is_the_mean_times_the_pairs():
    z1, z2, similar = normal(6, 3), normal(6, 3, seed=1), torch.tensor([1, 0, 1, 0, 0, 1])
    each = contrastive(z1, z2, similar=similar, reduction="none")
    assert each.shape == (6,)
    torch.testing.assert_close(contrastive(z1, z2, similar=similar, reduction="sum"), each.sum())
    torch.testing.assert_close(contrastive(z1, z2, similar=similar) * 6, each.sum())


@pytest.mark.parametrize("squared", [True, False])
@pytest.mark.parametrize("similar", [0, 1])
def test_distance_0_has_a_finite_loss_and_gradient_0(squared, similar):
    z = normal(3, 4).requires_grad_()
    loss = contrastive(z, z.detach(), similar=torch.full((3,), similar), squared=squared)
    loss.backward()
    assert loss.item() == pytest.approx((0.5 if squared else 1.0) * (1 - similar))
    assert z.grad.eq(0).all()


@TILED
@pytest.mark.parametrize("length", [1.0, 1000.0])
def test_near_pairs_keep_their_distance_in_float32(length, implementation):
    """|x|^2 + |y|^2 - 2 x.y alone would lose all digits of a distance of 1e-4 of the length."""
    x = normal(1, 16).float() * length
    z = torch.cat([x, x + 1e-4 * length * normal(1, 16, seed=1).float()]).requires_grad_()
    loss = labelled_contrastive(
        z, labels=torch.tensor([0, 0]), squared=False, normalize=False, implementation=implementation
    )
    loss.backward()
    apart = (z[0] - z[1]).detach()
    assert loss.item() == pytest.approx(apart.norm().item(), rel=1e-5)
    torch.testing.assert_close(z.grad[0], apart / apart.norm(), rtol=0, atol=5e-3)


def test_reference_columns_take_index_pairs():
    z, reference = normal(3, 4), normal(5, 4, seed=1)
    index = [torch.tensor(k) for k in ([0, 2], [4, 3], [1], [0])]
    found = labelled_contrastive(z, reference=reference, pairs=index)
    unit = [torch.nn.functional.normalize(x) for x in (z, reference)]
    d = [(unit[0][i] - unit[1][j]).norm() for i, j in ((0, 4), (2, 3), (1, 0))]
    assert found.item() == pytest.approx(((d[0] ** 2 + d[1] ** 2) / 4 + (1 - d[2]).relu() ** 2 / 2).item())


def test_no_pairs_give_0():
    z, none = normal(3, 4).requires_grad_(), torch.zeros(0, dtype=torch.long)
    loss = labelled_contrastive(z, pairs=(none, none, none, none))
    loss.backward()
    assert loss.item() == 0
    assert z.grad.eq(0).all()


LONG = torch.ones(3, dtype=torch.long)
