"""Labels of the training part tell how good vectors are."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from nearfar.evaluation import cross_validation
from nearfar.evaluation.cross_validation import told_by_neighbours


def by_hand(vectors, labels, groups):
    right = []
    unit = [[x / math.sqrt(sum(y * y for y in row)) for x in row] for row in vectors.double().tolist()]
    for i, one in enumerate(unit):
        others = [j for j in range(len(unit)) if j != i and (groups is None or groups[j] != groups[i])]
        near = sorted(others, key=lambda j: -sum(a * b for a, b in zip(one, unit[j], strict=True)))[:20]
        votes = {}
        for j in near:
            votes[labels[j]] = votes.get(labels[j], 0) + math.exp(
                sum(a * b for a, b in zip(one, unit[j], strict=True)) / 0.1
            )
        right.append(float(max(votes, key=votes.__getitem__) == labels[i]))
    return right


@pytest.mark.parametrize("grouped", ["no", "each", "some", "one"])
def test_neighbours_of_a_samples_own_group_do_not_tell_its_class(grouped, monkeypatch):
    torch.manual_seed(0)
    vectors = torch.randn(90, 32)
    vectors[45:] = vectors[:45] + 0.01 * torch.randn(45, 32)  # each sample has a near copy
    labels = np.arange(90) % 45 % 3
    groups = {"no": None, "each": np.arange(90), "some": np.arange(90) % 45, "one": np.zeros(90, dtype=int)}[grouped]
    monkeypatch.setattr(cross_validation, "embed_source", lambda *_, **__: (vectors, np.arange(90)))
    found = told_by_neighbours(None, SimpleNamespace(labels=labels, groups=groups), whiten=False)
    expected = by_hand(vectors, labels.tolist(), None if grouped == "one" else groups)
    assert found.tolist() == expected
    assert (found.mean() > 0.9) == (grouped != "some")
