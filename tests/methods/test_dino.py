"""DINO as a method: student and teacher, centre, schedules, its settings, and that it learns."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.contract import Latents, Requirements
from nearfar.methods import dino
from nearfar.methods.dino import DINO, DINOOptions
from nearfar.training import optimisers, schedule
from nearfar.training.step import training_step
from tests.methods.toys import batch_of, normed, views_of


def method_of(**options):
    torch.manual_seed(0)
    given = {
        "prototypes": 5, "projector_hidden": 16, "projector_out": 8, "temperature": 0.2, "momentum": 0.9,
        "teacher_temperature": 0.1, "teacher_temperature_start": 0.05,
    }  # fmt: skip
    return DINO(normed(), DINOOptions(**{**given, **options}))


def scores_by_hand(prototypes, z):
    return F.normalize(z, dim=-1) @ F.normalize(prototypes.weight, dim=-1).T


def by_hand(method, z, temperature):
    """Equation 3 over pairs of different views."""
    students = scores_by_hand(method.prototypes, z["student"])
    teachers = scores_by_hand(method.teacher_prototypes, z["teacher"])
    terms = [
        -(F.softmax((teachers[t] - method.center) / temperature, 1) * F.log_softmax(students[s] / 0.2, 1)).sum(1).mean()
        for t in range(len(teachers))
        for s in range(len(students))
        if s != t
    ]
    return sum(terms) / len(terms)


def disturbed(module, seed=1):
    """The same network with other weights."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
    return module


# Student and teacher.


def test_the_teacher_starts_as_the_student():
    method = method_of()
    for network, teacher in pairs_of(method):
        assert all(torch.equal(a, b) for a, b in zip(network.parameters(), teacher.parameters(), strict=True))
        assert not any(parameter.requires_grad for parameter in teacher.parameters())


def test_the_student_sees_all_views_and_the_teacher_the_wide_ones():
    method = method_of(small_views=2)
    views = views_of(*torch.randn(2, 7, 6), *torch.randn(2, 7, 3))
    assert method.requires == Requirements(wide=2, small=2)
    assert method.embed(views)["student"].shape == (4, 7, 8)
    assert method.targets(views)["teacher"].shape == (2, 7, 8)
    assert method.encoder.seen == [(14, 6), (14, 3)]
    assert method.teacher_encoder.seen == [(14, 6)]


def test_latents_are_bottlenecks_and_not_scores():
    method = method_of().eval()
    disturbed(method.teacher_projector)
    x = torch.randn(2, 7, 6)
    student, teacher = method.embed(views_of(*x))["student"], method.targets(views_of(*x))["teacher"]
    torch.testing.assert_close(student[1], method.projector(method.encoder(x[1])))
    torch.testing.assert_close(teacher[1], method.teacher_projector(method.teacher_encoder(x[1])))


def test_no_gradient_reaches_the_teacher():
    method = method_of(small_views=1)
    views = views_of(*torch.randn(2, 7, 6), torch.randn(7, 3))
    training_step(method, views, batch_of(7))
    without = {name.split(".")[0] for name, parameter in method.named_parameters() if parameter.grad is None}
    assert without == {"teacher_encoder", "teacher_projector", "teacher_prototypes"}


def pairs_of(method):
    return [
        (method.encoder, method.teacher_encoder),
        (method.projector, method.teacher_projector),
        (method.prototypes, method.teacher_prototypes),
    ]


def test_the_teacher_follows_by_a_momentum_that_rises_to_one():
    method = method_of()
    expected = {id(teacher): [p.clone() for p in teacher.parameters()] for _, teacher in pairs_of(method)}
    z = Latents(student=torch.randn(2, 7, 8), teacher=torch.randn(2, 7, 8))
    for step, progress in enumerate((0.0, 0.5, 1.0)):
        m = 1 - 0.1 * (math.cos(math.pi * progress) + 1) / 2
        for network, teacher in pairs_of(method):
            disturbed(network, seed=step)
            expected[id(teacher)] = [
                m * old + (1 - m) * new for old, new in zip(expected[id(teacher)], network.parameters(), strict=True)
            ]
        method.after_step(z, batch_of(7, progress=progress))
    for _, teacher in pairs_of(method):
        for found, wanted in zip(teacher.parameters(), expected[id(teacher)], strict=True):
            torch.testing.assert_close(found, wanted)


# The loss.


@pytest.mark.parametrize("small", [0, 2])
def test_the_student_predicts_the_centred_and_sharpened_teacher(small):
    method = method_of(small_views=small)
    disturbed(method.teacher_prototypes)
    method.center.copy_(torch.randn(5))
    z = Latents(student=torch.randn(2 + small, 9, 8), teacher=torch.randn(2, 9, 8))
    torch.testing.assert_close(method.loss(z, batch_of(9)).total, by_hand(method, z, temperature=0.05))


def test_in_chunks_the_loss_and_its_gradients_are_the_same(monkeypatch):
    method = method_of(small_views=1)
    found = []
    for entries in (dino._ENTRIES, 3 * 5 * 4):  # all at once, then 4 of 9 samples at a time
        monkeypatch.setattr(dino, "_ENTRIES", entries)
        torch.manual_seed(1)
        student = torch.randn(3, 9, 8, requires_grad=True)
        method.zero_grad()
        total = method.loss(Latents(student=student, teacher=torch.randn(2, 9, 8)), batch_of(9)).total
        total.backward()
        found.append((total.detach(), student.grad, method.prototypes.weight.grad))
    torch.testing.assert_close(found[1], found[0])


def test_the_centre_follows_the_teachers_mean_after_the_step():
    method = method_of(center_momentum=0.8)
    steps = torch.randn(2, 2, 7, 8)
    expected = torch.zeros(5)
    for teacher in steps:
        disturbed(method.prototypes)  # so that the teacher's last layer moves too: the step's own is what counts
        mean = scores_by_hand(method.teacher_prototypes, teacher).mean((0, 1))
        expected = 0.8 * expected + 0.2 * mean
        method.after_step(Latents(student=torch.randn(2, 7, 8), teacher=teacher), batch_of(7))
    torch.testing.assert_close(method.center, expected)


# Schedules.


@pytest.mark.parametrize(("progress", "expected"), [(0.0, 0.05), (0.15, 0.075), (0.3, 0.1), (1.0, 0.1)])
def test_the_teachers_temperature_rises_in_a_line(progress, expected):
    method = method_of()
    assert method.teacher_temperature(progress) == pytest.approx(expected)
    z = Latents(student=torch.randn(2, 9, 8), teacher=torch.randn(2, 9, 8))
    found = method.loss(z, batch_of(9, progress=progress)).total
    torch.testing.assert_close(found, by_hand(method, z, temperature=expected))


def test_the_last_layer_stays_as_it_is_at_first():
    method = method_of()
    optimizer = optimisers.build(method, name="sgd", lr=1.0, weight_decay=0.1)
    moved = []
    for progress in (0.0, 0.5):
        before = method.prototypes.weight.detach().clone()
        schedule.set_lr(optimizer, 1.0, progress)
        optimizer.zero_grad()
        training_step(method, views_of(*torch.randn(2, 7, 6)), batch_of(7, progress=progress))
        optimizer.step()
        moved.append(not torch.equal(before, method.prototypes.weight))
    assert moved == [False, True]


# Settings.
