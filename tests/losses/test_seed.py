"""SEED against the formula of the paper written as a loop, and its closed forms."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from nearfar.losses import info_nce, seed_distill


def by_hand(student, teacher, temperature, teacher_temperature):
    s, t = normalize(student.double(), dim=-1), normalize(teacher.double(), dim=-1)
    total = 0.0
    for i in range(len(s)):
        wanted = [math.exp(t[i] @ other / teacher_temperature) for other in t]
        found = [math.exp(s[i] @ other / temperature) for other in t]
        for p, q in zip(wanted, found, strict=True):
            total -= p / sum(wanted) * math.log(q / sum(found))
    return total / len(s)


@pytest.mark.parametrize("temperatures", [(0.2, 0.07), (1.0, 0.5)])
def test_equals_the_formula_of_the_paper(temperatures):
    student, teacher = torch.randn(2, 5, 7, dtype=torch.float64)
    found = seed_distill(student, teacher, temperature=temperatures[0], teacher_temperature=temperatures[1])
    assert found.item() == pytest.approx(by_hand(student, teacher, *temperatures), rel=1e-9)


def test_equal_embeddings_cost_the_log_of_their_number():
    assert seed_distill(torch.ones(6, 3), torch.ones(6, 3)).item() == pytest.approx(math.log(6))


def test_a_sharp_teacher_asks_for_its_own_vector():
    student, teacher = torch.randn(2, 8, 16, dtype=torch.float64)
    found = seed_distill(student, teacher, temperature=0.3, teacher_temperature=1e-3)
    torch.testing.assert_close(found, info_nce(student, teacher, temperature=0.3))


def test_no_gradient_reaches_the_teacher():
    student, teacher = (torch.randn(4, 3, requires_grad=True) for _ in range(2))
    seed_distill(student, teacher).backward()
    assert teacher.grad is None
    assert student.grad.abs().sum() > 0
