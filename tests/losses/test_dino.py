"""DINO: loops, closed forms, blocks, the centre, the warm-up."""

import importlib
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.losses import DINOLoss, dino, dino_center

FILE = importlib.import_module("nearfar.losses.dino")  # the function of this name hides it


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def outputs(b, k, teachers=2, students=4, seed=0, dtype=torch.float64):
    t, s = 0.3 * normal(teachers, b, k, seed=seed), 0.3 * normal(students, b, k, seed=seed + 1000)
    return list(t.to(dtype)), [z.to(dtype).requires_grad_() for z in s]


def softmax(numbers):
    largest = max(numbers)
    weights = [math.exp(x - largest) for x in numbers]
    return [w / sum(weights) for w in weights]


def by_loops(teachers, students, center, tt=0.04, ts=0.1):
    """Cross-entropies of teachers and students of different views, one entry after the other."""
    b, k = teachers[0].shape
    terms = []
    for v, t in enumerate(teachers):
        for w, s in enumerate(students):
            if v == w:
                continue
            for i in range(b):
                p = softmax([(t[i, j].item() - center[j].item()) / tt for j in range(k)])
                q = softmax([s[i, j].item() / ts for j in range(k)])
                terms.append(-sum(p[j] * math.log(q[j]) for j in range(k)))
    return sum(terms) / len(terms)


@pytest.fixture(params=["one block", "blocks of 2 samples"])
def blocks(request, monkeypatch):
    if request.param != "one block":
        monkeypatch.setattr(FILE, "_ENTRIES", 2 * 4 * (2 + 4))


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize(("teachers", "students"), [(2, 4), (2, 2), (1, 3), (3, 2), (1, 2)])
def test_value_by_loops(teachers, students):
    t, s = outputs(5, 4, teachers, students)
    center = 0.1 * normal(4, seed=5)
    assert dino(t, s, center=center).item() == pytest.approx(by_loops(t, s, center), rel=1e-13)
    got = dino(t, s, center=center, teacher_temperature=0.5, student_temperature=0.2).item()
    assert got == pytest.approx(by_loops(t, s, center, 0.5, 0.2), rel=1e-13)


@pytest.mark.parametrize("k", [2, 9])
def test_uniform_outputs_cost_log_of_their_number(k):
    z = torch.full((5, k), 0.7, dtype=torch.float64)
    assert dino([z, z], [z, z, z], center=torch.zeros(k)).item() == pytest.approx(math.log(k), rel=1e-14)


def test_students_that_match_sharp_teachers_cost_nothing():
    z = torch.eye(4).double()
    assert dino([z, z], [z, z], center=torch.zeros(4), student_temperature=0.01).item() == pytest.approx(0, abs=1e-8)


def test_a_student_that_matches_the_teacher_pays_the_teachers_entropy():
    z = normal(5, 4)
    p = (z / 0.1).softmax(1)
    loss = dino([z, z], [z, z], center=torch.zeros(4), teacher_temperature=0.1, student_temperature=0.1)
    torch.testing.assert_close(loss, torch.special.entr(p).sum(1).mean())


def test_a_view_is_not_compared_with_itself():
    t, s = outputs(5, 4, 2, 2)
    own = dino(t, s, center=torch.zeros(4))
    t[0], s[0] = -t[0], s[0]
    changed = dino(t, s, center=torch.zeros(4), reduction="none")
    alone = dino([t[1]], [torch.zeros_like(s[1]), s[0]], center=torch.zeros(4))
    other = dino([t[0]], [torch.zeros_like(s[0]), s[1]], center=torch.zeros(4))
    torch.testing.assert_close(changed.mean(), (alone + other) / 2)
    assert own.item() != pytest.approx(changed.mean().item(), rel=1e-3)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("teachers", [1, 2, 3])
def test_gradcheck_of_first_and_second_order(teachers):
    t, s = outputs(5, 4, teachers, 3)
    assert torch.autograd.gradcheck(lambda *s: dino(t, s, center=torch.zeros(4)), s)
    assert torch.autograd.gradgradcheck(lambda *s: dino(t, s, center=torch.zeros(4)), s)


@pytest.mark.usefixtures("blocks")
def test_a_student_view_may_be_without_gradient():
    t, s = outputs(5, 4)
    expected = torch.autograd.grad(dino(t, s, center=torch.zeros(4)), s)
    s[1] = s[1].detach()
    some = [s[0], *s[2:]]
    got = torch.autograd.grad(dino(t, s, center=torch.zeros(4)), some)
    torch.testing.assert_close(got, (expected[0], *expected[2:]))


@pytest.mark.usefixtures("blocks")
def test_teachers_and_the_centre_get_no_gradient():
    t, s = outputs(5, 4)
    t = [z.requires_grad_() for z in t]
    center = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    dino(t, s, center=center).backward()
    assert center.grad is None
    assert all(z.grad is None for z in t)
    assert all(z.grad.abs().max() > 0 for z in s)


@pytest.mark.usefixtures("blocks")
def test_a_centre_that_moves_before_the_backward_pass_does_not_change_the_gradient():
    t, s = outputs(5, 4)
    center = 0.1 * normal(4, seed=5)
    expected = torch.autograd.grad(dino(t, s, center=center.clone()), s)
    loss = dino(t, s, center=center)
    center += torch.tensor([5.0, 0.0, -5.0, 1.0])
    torch.testing.assert_close(torch.autograd.grad(loss, s), expected)


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(-50, 50), seed=st.integers(0, 99))
def test_what_all_outputs_gain_does_not_matter(shift, seed):
    t, s = outputs(5, 4, seed=seed)
    center = 0.1 * normal(4, seed=seed + 5)
    moved = dino([z + shift for z in t], [z - shift for z in s], center=center + shift / 2)
    torch.testing.assert_close(moved, dino(t, s, center=center), rtol=1e-9, atol=1e-11)


def test_probabilities_are_held_for_a_block_of_samples_only(peak_bytes, monkeypatch):
    monkeypatch.setattr(FILE, "_ENTRIES", 2**16)
    k = 128

    def peaks(b, views):
        t, s = outputs(b, k, students=views, dtype=torch.float32)
        given = (2 + views) * b * k * 4  # the blocks are views of what is given, which is counted with them
        before_backward = peak_bytes(lambda: dino(t, s, center=torch.zeros(k)))
        whole = peak_bytes(lambda: dino(t, s, center=torch.zeros(k)).backward())
        return before_backward - given, whole - given

    forward, whole = peaks(1024, 8)
    assert forward < 1024 * k * 4  # not one tensor [B, K]
    assert peaks(512, 8)[0] == pytest.approx(forward, rel=0.1)
    assert whole < 3 * forward + 8 * 1024 * k * 4  # the gradients of the students themselves


def test_the_centre_is_a_moving_mean_by_loops():
    t = [normal(3, 4), normal(3, 4, seed=1)]
    center = normal(4, seed=2)
    expected = [0.9 * center[j].item() + 0.1 * sum(z[i, j].item() for z in t for i in range(3)) / 6 for j in range(4)]
    assert dino_center(center, t).tolist() == pytest.approx(expected, abs=1e-15)
    assert dino_center(center, t, momentum=1).equal(center)
    assert dino_center(center.view(1, 1, 4), t, momentum=0).shape == (1, 1, 4)


def test_the_module_uses_its_centre_and_moves_it_after_the_loss():
    t, s = outputs(5, 4, dtype=torch.float32)
    module = DINOLoss(4, teacher_temp=0.07, student_temp=0.2, center_momentum=0.5)
    center = torch.zeros(4)
    for _ in range(3):
        expected = dino(t, s, center=center, teacher_temperature=0.07, student_temperature=0.2)
        assert module(t, s).equal(expected)
        center = dino_center(center, t, momentum=0.5)
        assert module.center.view(4).equal(center)
    assert module.state_dict()["center"].shape == (1, 1, 4)


def test_the_modules_gradient_is_that_of_the_centre_before_the_step(monkeypatch):
    monkeypatch.setattr(FILE, "_ENTRIES", 1)
    t, s = outputs(5, 4, dtype=torch.float32)
    expected = torch.autograd.grad(dino(t, s, center=torch.zeros(4)), s)
    torch.testing.assert_close(torch.autograd.grad(DINOLoss(4, center_momentum=0.0)(t, s), s), expected)


def test_the_teachers_temperature_warms_up_in_a_line():
    module = DINOLoss(4, warmup_teacher_temp=0.02, teacher_temp=0.06, warmup_teacher_temp_epochs=5)
    found = [module.teacher_temp_at(epoch) for epoch in (0, 1, 2, 3, 4, 5, 100, None)]
    assert found == pytest.approx([0.02, 0.03, 0.04, 0.05, 0.06, 0.06, 0.06, 0.06])
    assert DINOLoss(4, warmup_teacher_temp_epochs=0, teacher_temp=0.06).teacher_temp_at(0) == 0.06
    assert DINOLoss(4, 0.02, 0.06, warmup_teacher_temp_epochs=1).teacher_temp_at(0) == 0.02


def test_the_module_takes_the_temperature_of_the_epoch_or_that_which_is_given():
    t, s = outputs(5, 4, dtype=torch.float32)

    def loss(**when):
        return DINOLoss(4, warmup_teacher_temp=0.02, teacher_temp=0.06, warmup_teacher_temp_epochs=5)(t, s, **when)

    def at(temperature):
        return dino(t, s, center=torch.zeros(4), teacher_temperature=temperature)

    torch.testing.assert_close(loss(epoch=2), at(0.04))
    torch.testing.assert_close(loss(), at(0.06))
    torch.testing.assert_close(loss(epoch=2, teacher_temp=0.3), at(0.3))
