"""DCL and DCLW: known values, loops, weights, calls as lightly's users make them."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import DCLLoss, DCLWLoss, dcl, dclw
from nearfar.losses.decoupled import mises_fisher_weights

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_loops(z1, z2, temperature, weights=None, ids=None):
    """Both views of each sample against the views of all others, pair by pair."""
    u = [F.normalize(z.detach()) for z in (z1, z2)]
    b, total = len(z1), 0.0
    for view in (0, 1):
        for i in range(b):
            others = [j for j in range(b) if (j != i if ids is None else ids[j] != ids[i])]
            negatives = sum(math.exp(float(u[view][i] @ u[w][j]) / temperature) for j in others for w in (0, 1))
            weight = 1.0 if weights is None else float(weights[view][i])
            total += math.log(negatives) - weight * float(u[view][i] @ u[1 - view][i]) / temperature
    return total / (2 * b)


@TILED
@pytest.mark.parametrize(("name", "loss"), [("dcl_decoupled_t0.1", dcl), ("dclw_decoupled_t0.1_sigma0.5", dclw)])
def test_known_value(name, loss, implementation, case):
    known = case(name)
    z1, z2 = known["inputs"]["z1"], known["inputs"]["z2"]
    assert loss(z1, z2, implementation=implementation).item() == pytest.approx(known["value"], abs=1e-13)


@pytest.mark.parametrize(
    ("name", "module"), [("dcl_decoupled_t0.1", DCLLoss), ("dclw_decoupled_t0.1_sigma0.5", DCLWLoss)]
)
def test_the_modules_have_the_known_values_with_their_defaults(name, module, case):
    known = case(name)
    assert module()(known["inputs"]["z1"], known["inputs"]["z2"]).item() == pytest.approx(known["value"], abs=1e-13)


@TILED
def test_weights_and_ids_by_loops(implementation):
    z1, z2, weights, ids = normal(6, 4), normal(6, 4, seed=1), normal(2, 6, seed=2), torch.tensor([0, 1, 0, 2, 3, 1])
    options = {"temperature": 0.4, "implementation": implementation}
    got = dcl(z1, z2, weights=weights, ids=ids, **options)
    assert got.item() == pytest.approx(by_loops(z1, z2, 0.4, weights, ids.tolist()), rel=1e-12)
    got = dcl(z1, z2, weights=weights[0], **options)
    assert got.item() == pytest.approx(by_loops(z1, z2, 0.4, weights[[0, 0]]), rel=1e-12)


@TILED
def test_coinciding_views_give_the_closed_form(implementation):
    z = torch.ones(5, 3).double()
    expected = math.log(8)
    assert dcl(z, z, implementation=implementation).item() == pytest.approx(expected)
    assert dclw(z, z, implementation=implementation).item() == pytest.approx(expected)


def test_the_positive_is_not_in_the_denominator():
    """The gradient with respect to the positive similarity is -1 / t, however near the positive is."""
    weights = torch.ones(4, dtype=torch.float64, requires_grad=True)
    z1, z2 = normal(4, 3), normal(4, 3, seed=1)
    dcl(z1, z2, weights=weights, reduction="sum").backward()
    torch.testing.assert_close(weights.grad, -2 * F.cosine_similarity(z1, z2) / 0.1)


def test_weights_have_mean_1_and_are_less_for_near_positives():
    z1 = normal(6, 4)
    z2 = torch.cat([z1[:1], -z1[1:2], normal(4, 4, seed=1)])
    weights = mises_fisher_weights(z1, z2)
    assert weights.mean().item() == pytest.approx(1)
    assert weights.argmin() == 0
    assert weights.argmax() == 1
    assert not mises_fisher_weights(z1.requires_grad_(), z2).requires_grad


@TILED
def test_the_gradient_of_dclw_is_that_at_constant_weights(implementation):
    z1, z2 = normal(5, 3).requires_grad_(), normal(5, 3, seed=1).requires_grad_()
    weights = mises_fisher_weights(z1, z2)
    got = torch.autograd.grad(dclw(z1, z2, implementation=implementation), (z1, z2))
    expected = torch.autograd.grad(dcl(z1, z2, weights=weights), (z1, z2))
    torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-12)
    run = lambda z1, z2: dcl(z1, z2, weights=weights, temperature=0.4, implementation=implementation)  # noqa: E731
    assert torch.autograd.gradcheck(run, (z1, z2))


@TILED
def test_a_sample_without_negatives_counts_as_0(implementation):
    z1, z2 = normal(3, 4).requires_grad_(), normal(3, 4, seed=1)
    loss = dcl(z1, z2, ids=torch.zeros(3, dtype=torch.long), implementation=implementation)
    (gradient,) = torch.autograd.grad(loss, z1)
    assert loss.item() == 0
    assert gradient.eq(0).all()


def test_a_weight_function_is_given_unit_views_as_anchor_and_positive():
    z1, z2 = normal(5, 4), normal(5, 4, seed=1)
    loss = DCLLoss(0.2, weight_fn=lambda anchors, others: (anchors[:, 0] - 2 * others[:, 1]).exp())
    u1, u2 = F.normalize(z1), F.normalize(z2)
    weights = torch.stack([(u1[:, 0] - 2 * u2[:, 1]).exp(), (u2[:, 0] - 2 * u1[:, 1]).exp()])
    assert loss(z1, z2).item() == pytest.approx(by_loops(z1, z2, 0.2, weights), rel=1e-12)
