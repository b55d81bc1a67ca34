"""ArcFace and CosFace: known values, loops, the angle beyond pi, small angles."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import arc_face, cos_face

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, weight, labels, scale, moved):
    """Cross-entropy, one sample after the other, the own cosine moved."""
    u, w, losses = F.normalize(z), F.normalize(weight), []
    for x, label in zip(u, labels.tolist(), strict=True):
        cosines = [float(x @ v) for v in w]
        cosines[label] = moved(cosines[label])
        logits = torch.tensor([scale * c for c in cosines], dtype=torch.float64)
        losses.append((logits.logsumexp(0) - logits[label]).item())
    return losses


@TILED
@pytest.mark.parametrize("name", ["arcface_s64_m0.4992", "arcface_s16_m0.5000"])
def test_published_values(name, implementation, case):
    known = case(name)
    found = arc_face(
        known["inputs"]["angles_deg"], known["inputs"]["weights"], labels=known["inputs"]["labels"],
        scale=known["params"]["scale"], margin=known["params"]["margin_rad"], implementation=implementation,
    )  # fmt: skip
    assert found.item() == pytest.approx(known["value"], abs=1e-13)


@TILED
@pytest.mark.parametrize("margin", [0.0, 0.5, 2.5])
def test_arc_face_by_loops_on_both_sides_of_pi(margin, implementation):
    z, w, labels = normal(40, 3), normal(5, 3, seed=1), torch.arange(40) % 5
    beyond = []

    def moved(cosine):
        angle = math.acos(cosine) + margin
        beyond.append(angle > math.pi)
        return cosine - margin * math.sin(margin) if angle > math.pi else math.cos(angle)

    expected = by_loops(z, w, labels, 10.0, moved)
    each = arc_face(z, w, labels=labels, scale=10, margin=margin, reduction="none", implementation=implementation)
    assert each.tolist() == pytest.approx(expected, abs=1e-9)
    assert any(beyond) == (margin > 0)


@TILED
@pytest.mark.parametrize("margin", [0.0, 0.35])
def test_cos_face_by_loops(margin, implementation):
    z, w, labels = normal(20, 3), normal(5, 3, seed=1), torch.arange(20) % 5
    expected = by_loops(z, w, labels, 30.0, lambda cosine: cosine - margin)
    each = cos_face(z, w, labels=labels, scale=30, margin=margin, reduction="none", implementation=implementation)
    assert each.tolist() == pytest.approx(expected, abs=1e-11)


@pytest.mark.parametrize("loss", [arc_face, cos_face])
def test_without_margin_it_is_the_softmax_of_scaled_cosines(loss):
    z, w, labels = normal(20, 3), normal(5, 3, seed=1), torch.arange(20) % 5
    expected = F.cross_entropy(8 * F.normalize(z) @ F.normalize(w).T, labels)
    torch.testing.assert_close(loss(z, w, labels=labels, scale=8, margin=0.0), expected)


@pytest.mark.parametrize("loss", [arc_face, cos_face])
def test_a_single_class_leaves_nothing_to_tell_apart(loss):
    z = normal(3, 2).requires_grad_()
    value = loss(z, normal(1, 2), labels=torch.zeros(3, dtype=torch.long))
    value.backward()
    assert value.item() == 0
    assert z.grad.eq(0).all()


def test_a_small_angle_keeps_its_digits_and_its_gradient_in_float32():
    """The root of 1 - cos^2 is 0 for an angle of 1e-4 in float32, and its gradient then infinite."""
    w = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    angle = torch.tensor(1e-4, requires_grad=True)
    z = torch.stack([angle.cos(), angle.sin()])[None]
    loss = arc_face(z, w, labels=torch.tensor([0]), scale=1.0, margin=0.5)
    loss.backward()
    wide = torch.tensor(1e-4, dtype=torch.float64, requires_grad=True)
    exact = F.softplus(wide.sin() - (wide + 0.5).cos())
    exact.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert angle.grad.item() == pytest.approx(wide.grad.item(), rel=1e-3)
