from dataclasses import replace

import numpy as np
import pytest
import torch

from nearfar.evaluation import TaskData, Vectors, judge_systems
from nearfar.evaluation.copies import beyond_chance, equal_rows, near_copies
from nearfar.evaluation.task import RAW


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def purity(groups, truth):
    """Whether no group holds samples of two bursts."""
    return len({(g, t) for g, t in zip(groups.tolist(), truth.tolist(), strict=True)}) == len(set(groups.tolist()))


@pytest.mark.parametrize("burst", [2, 5, 10])
def test_bursts_are_found_and_kept_apart(burst):
    """Classes of 100 samples, each shot `burst` times with a twentieth of the spread."""
    shots = 1000 // burst
    base = random(shots, 16) + 2 * random(10, 16, seed=1)[torch.arange(shots) % 10]
    x = base.repeat_interleave(burst, 0) + 0.05 * random(1000, 16, seed=2)
    found = near_copies(x, classes=10)
    assert found.count == 1000
    assert purity(found.groups, np.arange(1000) // burst)


@pytest.mark.parametrize(("dims", "count"), [(3, 500), (10, 1000), (30, 2000)])
def test_samples_without_copies_have_almost_none(dims, count):
    assert near_copies(random(count, dims), classes=5).count <= 0.02 * count


def test_a_tight_class_is_not_taken_for_copies():
    labels = torch.arange(10).repeat_interleave(50)
    assert near_copies(random(10, 32)[labels] + 0.05 * random(500, 32, seed=1), classes=10).count <= 10


def test_equal_vectors_and_equal_ids_are_copies_whatever_their_number():
    x = random(200, 8)
    x[:150] = x[0]
    groups = near_copies(x).groups
    assert len(set(groups[:150])) == 1
    assert len(set(groups[150:])) == 50
    ids, others = np.arange(6), np.arange(6)
    ids[3], others[4] = 1, 3
    assert near_copies(random(6, 2), ids, others).groups.tolist() == [0, 1, 2, 1, 1, 3]


def test_a_constant_embedding_is_one_group():
    assert set(near_copies(torch.ones(100, 4)).groups) == {0}


def test_neighbours_in_another_part_are_judged_the_same_way():
    bank = random(500, 8)
    queries = torch.cat([bank[:5] + 0.01 * random(5, 8, seed=1), random(50, 8, seed=2)])
    unit = [x / x.norm(dim=1, keepdim=True) for x in (bank, queries)]
    near = beyond_chance((unit[1] @ unit[0].T).topk(50).values).any(dim=1)
    assert near[:5].all()
    assert int(near[5:].sum()) <= 3


def test_equal_rows_are_found_to_the_bit():
    x = random(4, 3)
    assert equal_rows(x, torch.stack([x[2], x[2] + 1e-6, x[0]])).tolist() == [True, False, True]


def test_copies_in_the_test_part_are_counted_and_said():
    train, test = random(400, 8), random(100, 8, seed=1)
    test[:10] = train[:10]
    test[10:40] = train[10:40] + 0.001 * random(30, 8, seed=2)
    labels = TaskData(torch.arange(400) % 4, torch.arange(100) % 4, list("abcd"), draws=2)
    systems = {RAW: Vectors(train, test), "trained": Vectors(2 * train, 2 * test)}
    same, near = judge_systems(systems, labels, []).notes
    assert same == "10 of 100 (10.0 %) test samples are the same as a training sample."
    assert near.startswith("30 of 100 (30.0 %) test samples are so near")
    assert judge_systems({RAW: Vectors(train, random(100, 8, seed=3))}, replace(labels, notes=[]), []).notes == []
