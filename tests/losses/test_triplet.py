"""Triplet: known values, loops over all triplets, what counts in which mean, soft margins."""

import itertools
import math

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import labelled_triplet, triplet

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])
LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 0])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distances_of(z, distance="euclidean", normalize=True):
    z = torch.nn.functional.normalize(z) if normalize or distance == "cosine" else z
    d = (z[:, None] - z).norm(dim=2)
    return {"euclidean": d, "squared_euclidean": d**2, "cosine": 1 - z @ z.T}[distance]


def hinge(gap, margin):
    return math.log1p(math.exp(gap)) if margin is None else max(0.0, gap + margin)


def by_loops(z, labels, mining, margin, **how):
    """The loss of each triplet of a mining, one after the other."""
    d, n = distances_of(z, **how).tolist(), len(z)
    losses = []
    for a in range(n):
        positives = [j for j in range(n) if labels[j] == labels[a] and j != a]
        negatives = [j for j in range(n) if labels[j] != labels[a]]
        if not positives or not negatives:
            continue
        if mining == "all":
            chosen = itertools.product(positives, negatives)
        elif mining == "hard":
            chosen = [(max(positives, key=lambda j: d[a][j]), min(negatives, key=lambda j: d[a][j]))]
        else:
            chosen = []
            for p in positives:
                farther = [j for j in negatives if d[a][j] > d[a][p]]
                chosen.append(
                    (p, min(farther, key=lambda j: d[a][j]) if farther else max(negatives, key=lambda j: d[a][j]))
                )
        losses += [hinge(d[a][p] - d[a][n], margin) for p, n in chosen]
    return losses


@TILED
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("triplet_all_avg_nonzero_m0.2", {"reduction": "mean_active"}),
        ("triplet_all_mean_m0.2", {}),
        ("triplet_batch_hard_m0.2", {"mining": "hard"}),
        ("triplet_batch_hard_soft_m0.2", {"mining": "hard", "margin": None}),
        ("triplet_semi_hard_m0.2", {"mining": "semi_hard"}),
    ],
)
def test_published_values(name, options, implementation, case):
    known = case(name)
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    options = {"margin": known["params"]["margin"]} | options
    loss = labelled_triplet(z, labels=labels, implementation=implementation, **options)
    assert loss.item() == pytest.approx(known["value"], abs=1e-14)


@pytest.mark.parametrize("soft", [False, True])
def test_published_mined_triplets_have_the_loss_of_the_hardest(soft, case):
    known = case("triplet_batch_hard_soft_m0.2" if soft else "triplet_batch_hard_m0.2")
    z, mined = known["inputs"]["angles_deg"], torch.tensor(known["mined_triplets"])
    margin = None if soft else 0.2
    assert labelled_triplet(z, triplets=mined.T, margin=margin).item() == pytest.approx(known["value"], abs=1e-14)
    assert triplet(*(z[k] for k in mined.T), margin=margin).item() == pytest.approx(known["value"], abs=1e-14)


@TILED
@pytest.mark.parametrize(
    ("mining", "margin"),
    [*itertools.product(["all", "hard", "semi_hard"], [0.0, 0.2, 5.0]), ("hard", None), ("semi_hard", None)],
)
@pytest.mark.parametrize(
    "how",
    [{}, {"distance": "cosine"}, {"distance": "squared_euclidean"}, {"normalize": False}],
    ids=["unit", "cosine", "squared", "raw"],
)
def test_labels_by_loops(mining, margin, how, implementation):
    z = normal(9, 3)
    losses = by_loops(z, LABELS, mining, margin, **how)
    active = [loss for loss in losses if loss > 0]
    expected = {
        "mean": sum(losses) / len(losses),
        "mean_active": sum(active) / max(1, len(active)),
        "sum": sum(losses),
    }
    for reduction, value in expected.items():
        found = labelled_triplet(
            z, labels=LABELS, mining=mining, margin=margin, reduction=reduction, implementation=implementation, **how
        )
        assert found.item() == pytest.approx(value, abs=1e-12)


def test_all_triplets_of_a_batch_too_large_for_loops_equal_a_cube():
    z, labels = normal(80, 6).requires_grad_(), torch.arange(80) % 11
    u, self_ = torch.nn.functional.normalize(z), torch.eye(80, dtype=torch.bool)
    d = (u[:, None] - u).square().sum(2).masked_fill(self_, 1.0).sqrt()
    same = labels[:, None] == labels
    exists = (same & ~self_)[:, :, None] & ~same[:, None, :]
    cube = ((d[:, :, None] - d[:, None, :] + 0.1).relu() * exists).sum() / exists.sum()
    found = labelled_triplet(z, labels=labels, margin=0.1, implementation="tiled")
    torch.testing.assert_close(found, cube)
    torch.testing.assert_close(torch.autograd.grad(found, z), torch.autograd.grad(cube, z), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("mining", ["all", "hard", "semi_hard"])
def test_embeddings_far_from_the_origin_keep_their_digits_in_float32(mining):
    z, labels = (1000 + normal(60, 8)).float(), torch.arange(60) % 7
    options = {"labels": labels, "mining": mining, "normalize": False, "reduction": "sum"}
    exact = labelled_triplet(z.double(), **options)
    assert labelled_triplet(z, **options).item() == pytest.approx(exact.item(), rel=1e-5)


def test_sums_of_many_distances_keep_their_digits_in_float32():
    z, labels = normal(800, 8), torch.arange(800) % 2
    exact = labelled_triplet(z, labels=labels, margin=0.01)
    assert labelled_triplet(z.float(), labels=labels, margin=0.01).item() == pytest.approx(exact.item(), rel=1e-5)


def test_coinciding_embeddings_cost_the_margin():
    ones = torch.ones(6, 3)
    for mining in ("all", "hard", "semi_hard"):
        loss = labelled_triplet(ones, labels=torch.tensor([0, 0, 0, 1, 1, 2]), mining=mining, margin=0.3)
        assert loss.item() == pytest.approx(0.3)
    assert triplet(ones, ones, ones, margin=0.3).item() == pytest.approx(0.3)
    assert triplet(ones, ones, ones, margin=None).item() == pytest.approx(math.log(2))


@TILED
@pytest.mark.parametrize(("mining", "margin"), [("all", 0.2), ("hard", 0.2), ("hard", None), ("semi_hard", None)])
def test_pitfall_3_anchors_without_a_positive_are_no_triplets(mining, margin, implementation):
    """The mean does not fall as singletons join, farther from all than any negative, nor does the soft margin push."""
    z = torch.tensor([[1.0, 0.1], [1.0, -0.2], [0.9, 0.6], [0.8, 0.7]], dtype=torch.float64)
    labels = torch.tensor([0, 0, 1, 1])
    more = torch.cat([z, torch.tensor([[-1.0, 0.0], [-1.0, 0.1]], dtype=torch.float64)])
    more_labels = torch.cat([labels, torch.tensor([2, 3])])
    options = {"mining": mining, "margin": margin, "implementation": implementation, "reduction": "sum"}
    with_singletons = labelled_triplet(more, labels=more_labels, **options)
    if mining != "semi_hard":
        torch.testing.assert_close(with_singletons, labelled_triplet(z, labels=labels, **options))
    found = labelled_triplet(more, labels=more_labels, **(options | {"reduction": "mean"}))
    losses = by_loops(more, more_labels, mining, margin)
    assert found.item() == pytest.approx(sum(losses) / len(losses), abs=1e-12)


def test_pitfall_4_the_mean_over_active_triplets_keeps_the_gradient_as_others_are_solved():
    labels = torch.tensor([0, 0, 1])
    near = torch.tensor([[1.0, 0.0], [1.0, 0.3], [1.0, 0.2]])
    sizes = {}
    for solved in (0, 50):
        away = torch.tensor([[-1.0, 0.0]]).expand(2 * solved, 2) + torch.arange(2 * solved)[:, None] * 1e-9
        z = torch.cat([near, away]).requires_grad_()
        names = torch.cat([labels, 10 + torch.arange(2 * solved)])
        for reduction in ("mean", "mean_active"):
            (gradient,) = torch.autograd.grad(labelled_triplet(z, labels=names, reduction=reduction), z)
            sizes[reduction, solved] = gradient[0].norm().item()
    assert sizes["mean_active", 50] == pytest.approx(sizes["mean_active", 0], rel=1e-5)
    assert sizes["mean", 50] < sizes["mean", 0] / 50


def test_pitfall_13_the_sum_is_the_mean_times_the_triplets():
    z = normal(9, 3)
    number = len(by_loops(z, LABELS, "all", 0.2))
    total = labelled_triplet(z, labels=LABELS, reduction="sum")
    torch.testing.assert_close(labelled_triplet(z, labels=LABELS) * number, total)


def test_hard_losses_of_each_anchor():
    z = normal(9, 3)
    each = labelled_triplet(z, labels=LABELS, mining="hard", reduction="none")
    assert each.shape == (9,)
    assert each[7] == 0
    assert each[[0, 1, 2, 3, 4, 5, 6, 8]].tolist() == pytest.approx(by_loops(z, LABELS, "hard", 0.2))


@pytest.mark.parametrize("margin", [0.2, None])
def test_gradcheck_of_given_and_of_index_triplets(margin):
    z = [normal(5, 3, seed=k).requires_grad_() for k in range(3)]
    index = torch.tensor([[0, 1, 2], [0, 3, 4], [3, 0, 1]]).T
    assert torch.autograd.gradcheck(lambda *z: triplet(*z, margin=margin), z)
    for distance in ("euclidean", "cosine"):
        run = lambda z, r: labelled_triplet(z, triplets=index, reference=r, margin=margin, distance=distance)  # noqa: E731, B023
        assert torch.autograd.gradcheck(run, z[:2])


def test_work_does_not_grow_with_the_cube_of_the_batch(monkeypatch):
    """512 anchors of 8 classes have 14 million triplets; one search for each pair finds all their hinges."""
    z, labels = normal(512, 4).float(), torch.arange(512) % 8
    searched, numbers = torch.searchsorted, []

    def counted(ordered, values, **options):
        numbers.append(values.numel())
        return searched(ordered, values, **options)

    monkeypatch.setattr(torch, "searchsorted", counted)
    labelled_triplet(z, labels=labels)
    assert sum(numbers) == 512 * 512


LONG = torch.ones(3, dtype=torch.long)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"labels": LONG, "margin": None}, ConfigError, "mining 'all' has no soft margin"),
        ({"labels": LONG, "reduction": "none"}, ConfigError, "a number with mining 'all'"),
    ],
)
def test_mistakes_are_named(options, error, message):
    with pytest.raises(error, match=message):
        labelled_triplet(torch.ones(3, 2), **options)


def test_given_triplets_of_other_shapes_are_named():
    with pytest.raises(DataError, match=r"anchors \[3, 2\], positives \[3, 2\], negatives \[2, 2\]"):
        triplet(torch.ones(3, 2), torch.ones(3, 2), torch.ones(2, 2))
