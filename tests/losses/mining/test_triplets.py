"""Miners of triplets: known sets, loops, blocks, references, and the losses that take what they find."""

import itertools

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import ConfigError, DataError
from nearfar.losses import labelled_triplet
from nearfar.losses.mining import hardest_triplets, margin_triplets

LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 2, 3, 0])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, columns, labels, column_labels, kind, margin, offset=None):
    u, v = F.normalize(z), F.normalize(columns)
    d = (u[:, None] - v).norm(dim=2)
    found = []
    for a, p, n in itertools.product(range(len(z)), range(len(columns)), range(len(columns))):
        itself = offset is not None and p == a + offset
        if itself or labels[a] != column_labels[p] or labels[a] == column_labels[n]:
            continue
        gap = float(d[a, n] - d[a, p])
        wanted = {"all": gap <= margin, "hard": gap <= 0, "semi_hard": 0 < gap <= margin, "easy": gap > margin}
        if wanted[kind]:
            found.append([a, p, n])
    return found


@pytest.mark.parametrize("kind", ["all", "hard", "semi_hard", "easy"])
def test_published_sets(kind, case):
    known = case("miner_triplet_margin_0.2")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    found = torch.stack(margin_triplets(z, labels=labels, kind=kind, margin=0.2)).T.tolist()
    assert found == known["triplets"][kind.replace("_", "")]
    assert kind != "hard" or len(found) == known["value"]


@pytest.mark.parametrize("kind", ["all", "hard", "semi_hard", "easy"])
@pytest.mark.parametrize("longest", [None, 1, 4])
def test_sets_by_loops_in_blocks_of_any_size(kind, longest):
    z = normal(9, 3)
    found = torch.stack(margin_triplets(z, labels=LABELS, kind=kind, margin=0.4, longest=longest)).T.tolist()
    assert found == by_loops(z, z, LABELS, LABELS, kind, 0.4, offset=0)
    assert found


@pytest.mark.parametrize("offset", [None, 2])
def test_positives_and_negatives_of_a_reference(offset):
    columns, names = normal(8, 3, seed=1), torch.tensor([0, 1, 0, 0, 1, 2, 1, 3])
    z, labels = (columns[2:6], names[2:6]) if offset else (normal(4, 3), torch.tensor([0, 1, 1, 2]))
    options = {"labels": labels, "reference": columns, "reference_labels": names, "offset": offset}
    found = torch.stack(margin_triplets(z, kind="all", margin=0.4, **options)).T.tolist()
    assert found == by_loops(z, columns, labels, names, "all", 0.4, offset)
    assert found


@pytest.mark.parametrize("how", [{}, {"distance": "cosine"}, {"normalize": False}], ids=["unit", "cosine", "raw"])
@pytest.mark.parametrize("reduction", ["sum", "mean_active"])
def test_the_loss_of_all_that_violate_the_margin_is_that_of_all_triplets(how, reduction):
    z = normal(9, 3).requires_grad_()
    mined = margin_triplets(z, labels=LABELS, kind="all", margin=0.3, **how)
    losses = [
        labelled_triplet(z, margin=0.3, reduction=reduction, **which, **how)
        for which in ({"triplets": mined}, {"labels": LABELS})
    ]
    torch.testing.assert_close(*losses)
    torch.testing.assert_close(*(torch.autograd.grad(loss, z)[0] for loss in losses))


@pytest.mark.parametrize("how", [{}, {"distance": "cosine"}, {"normalize": False}], ids=["unit", "cosine", "raw"])
def test_the_loss_of_the_hardest_is_batch_hard(how):
    z = normal(9, 3).requires_grad_()
    mined = hardest_triplets(z, labels=LABELS, **how)
    assert mined[0].tolist() == [0, 1, 2, 3, 4, 5, 6, 8]
    expected = labelled_triplet(z, labels=LABELS, mining="hard", **how)
    torch.testing.assert_close(labelled_triplet(z, triplets=mined, **how), expected)


def test_a_batch_without_triplets_gives_none():
    for labels in (torch.zeros(3, dtype=torch.long), torch.arange(3)):
        for mined in (margin_triplets(normal(3, 2), labels=labels), hardest_triplets(normal(3, 2), labels=labels)):
            assert [len(index) for index in mined] == [0, 0, 0]
            assert all(index.dtype == torch.long for index in mined)


def test_memory_grows_with_the_batch_and_not_with_its_square(peak_bytes, monkeypatch):
    """Points on a line of well separated pairs: few triplets are hard, whatever the batch."""
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 2**17)

    def peak(n):
        place = torch.arange(n) // 2 * 10.0 + torch.arange(n) % 2
        z = torch.stack([place, torch.zeros(n)], 1)
        labels = torch.arange(n) // 2
        return peak_bytes(lambda: margin_triplets(z, labels=labels, kind="hard", normalize=False))

    assert peak(2048) < 2048 * 2048 * 4 / 4
    assert peak(2048) - peak(1536) < 1.5 * (peak(1536) - peak(1024)) + 2e5


def test_mistakes_are_named():
    with pytest.raises(ConfigError, match="'all', 'hard', 'semi_hard', 'easy', got 'semihard'"):
        margin_triplets(normal(9, 3), labels=LABELS, kind="semihard")
    with pytest.raises(ConfigError, match="margin must be >= 0"):
        margin_triplets(normal(9, 3), labels=LABELS, margin=-1)
    with pytest.raises(DataError, match="labels must name each of the 9 samples"):
        hardest_triplets(normal(9, 3), labels=LABELS[:3])
