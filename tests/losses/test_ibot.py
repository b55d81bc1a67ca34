"""iBOT's patches: each image counts alike, and so does each of its masked patches."""

import importlib
import math

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import ibot_patch
from tests.losses.table import normal

MASK = torch.tensor([[True, False, True, True], [False] * 4, [False, False, False, True]])


def by_loops(teacher, student, center):
    image = [0, 0, 0, 2]
    counts = {0: 3, 2: 1}
    total = 0.0
    for i, (t, s) in enumerate(zip(teacher, student, strict=True)):
        q, log_p = ((t - center) / 0.04).softmax(0), (s / 0.1).log_softmax(0)
        total -= float((q * log_p).sum()) / counts[image[i]]
    return total / 3


@pytest.mark.parametrize("entries", [2**20, 10], ids=["one block", "blocks of a patch"])
def test_value_by_loops_and_gradient(entries, monkeypatch):
    monkeypatch.setattr(importlib.import_module("nearfar.losses.dino"), "_ENTRIES", entries)
    teacher, student, center = normal(4, 5), normal(4, 5, seed=1).requires_grad_(), normal(5, seed=2)
    found = ibot_patch(teacher, student, mask=MASK, center=center)
    assert found.item() == pytest.approx(by_loops(teacher, student.detach(), center), rel=1e-12)
    assert torch.autograd.gradcheck(lambda s: ibot_patch(teacher, s, mask=MASK, center=center), student)
    assert torch.autograd.gradgradcheck(lambda s: ibot_patch(teacher, s, mask=MASK, center=center), student)


def test_uniform_students_cost_log_k_where_each_image_has_a_masked_patch():
    mask = torch.ones(2, 2, 1, dtype=torch.bool)
    loss = ibot_patch(normal(4, 7), torch.zeros(4, 7).double(), mask=mask, center=torch.zeros(7))
    assert loss.item() == pytest.approx(math.log(7))


def test_mistakes_are_named():
    z, center = torch.ones(4, 5), torch.zeros(5)
    with pytest.raises(ConfigError, match="tensor of booleans"):
        ibot_patch(z, z, mask=MASK.int(), center=center)
    with pytest.raises(DataError, match="once for each of the 4 patches, got 12 times"):
        ibot_patch(z, z, mask=torch.ones(3, 4, dtype=torch.bool), center=center)
    with pytest.raises(DataError, match=r"center must be \[5\]"):
        ibot_patch(z, z, mask=MASK, center=center[:3])
