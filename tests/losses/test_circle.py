"""Circle: known value, loops, weights that gradients do not pass, anchors that are left out."""

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import circle

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])
LABELS = torch.tensor([0, 0, 1, 1, 1, 2, 0])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z, labels, margin, gamma):
    """The loss of each anchor that has a positive and a negative, with gradient."""
    u, losses = F.normalize(z), []
    for i in range(len(z)):
        logits = {True: [], False: []}
        for j in range(len(z)):
            if j == i:
                continue
            s, same = u[i] @ u[j], bool(labels[i] == labels[j])
            weight = max(0.0, (1 + margin - s if same else s + margin).item())
            logits[same].append(gamma * weight * ((1 - margin) - s if same else s - margin))
        if logits[True] and logits[False]:
            losses.append((1 + torch.stack(logits[False]).exp().sum() * torch.stack(logits[True]).exp().sum()).log())
    return torch.stack(losses)


@TILED
def test_published_value(implementation, case):
    known = case("circle_m0.25_g256")
    z, labels = known["inputs"]["angles_deg"], known["inputs"]["labels"]
    assert circle(z, labels=labels, implementation=implementation).item() == pytest.approx(known["value"], abs=1e-11)


@TILED
@pytest.mark.parametrize(("margin", "gamma"), [(0.25, 20.0), (0.4, 8.0), (0.0, 1.0)])
def test_value_and_gradient_by_loops(margin, gamma, implementation):
    z = normal(7, 3).requires_grad_()
    expected = by_loops(z, LABELS, margin, gamma)
    options = {"margin": margin, "gamma": gamma, "implementation": implementation}
    for reduction, value in (("mean_active", expected.mean()), ("mean", expected.sum() / 7), ("sum", expected.sum())):
        found = circle(z, labels=LABELS, reduction=reduction, **options)
        torch.testing.assert_close(found, value)
        gradients = [torch.autograd.grad(x, z, retain_graph=True)[0] for x in (found, value)]
        torch.testing.assert_close(*gradients)


def test_pitfall_3_an_anchor_without_a_positive_is_left_out():
    each = circle(normal(7, 3), labels=LABELS, reduction="none")
    assert each[5] == 0
    torch.testing.assert_close(circle(normal(7, 3), labels=LABELS), each.sum() / 6)


def test_given_pairs_are_the_pairs_of_labels():
    z = normal(7, 3).requires_grad_()
    same = (LABELS[:, None] == LABELS) & ~torch.eye(7, dtype=torch.bool)
    pairs = (*same.nonzero().T, *(LABELS[:, None] != LABELS).nonzero().T)
    for reduction in ("mean_active", "mean", "none"):
        by_pairs, by_labels = circle(z, pairs=pairs, reduction=reduction), circle(z, labels=LABELS, reduction=reduction)
        torch.testing.assert_close(by_pairs, by_labels)
        gradients = [torch.autograd.grad(x.sum(), z)[0] for x in (by_pairs, by_labels)]
        torch.testing.assert_close(*gradients)


def test_pitfall_7_one_positive_and_one_negative_pair_have_their_loss():
    z = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    index = [torch.tensor([k]) for k in (0, 1, 0, 2)]
    # s_p = 0 and s_n = 1, each as far as can be from where it should be.
    assert circle(z, pairs=index, margin=0.25, gamma=4.0).item() == pytest.approx(4 * 1.25 * 0.75 * 2, abs=1e-3)
