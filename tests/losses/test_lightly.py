"""Modules against those of the same names in lightly: same arguments, same defaults, same values."""

import inspect

import pytest
import torch

from nearfar import losses

SHARED = [
    "BarlowTwinsLoss", "DINOLoss", "KoLeoLoss", "NegativeCosineSimilarity", "SwaVLoss", "VICRegLoss",
]  # fmt: skip


@pytest.fixture(scope="module")
def lightly():
    return pytest.importorskip("lightly.loss", reason="lightly is not installed: no values to compare with")


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def outputs(*, wide=2, small=3, b=16, k=5, size=0.3):
    return [size * normal(b, k, seed=s) for s in range(wide)], [size * normal(b, k, seed=9 + s) for s in range(small)]


def value_and_gradients(module, *inputs):
    leaves = [z.clone().requires_grad_() for z in inputs]
    loss = module(*leaves)
    return loss.squeeze(), torch.autograd.grad(loss, leaves)


@pytest.mark.parametrize("name", SHARED)
def test_arguments_and_defaults_are_lightlys(name, lightly):
    ours, theirs = (inspect.signature(getattr(package, name)).parameters for package in (losses, lightly))
    assert {key: p.default for key, p in ours.items()} == {key: p.default for key, p in theirs.items()}
    assert list(ours) == list(theirs)
    ours, theirs = (inspect.signature(getattr(package, name).forward).parameters for package in (losses, lightly))
    assert list(ours) == list(theirs)


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("BarlowTwinsLoss", {}, 2),
        ("BarlowTwinsLoss", {"lambda_param": 0.3}, 2),
        ("NegativeCosineSimilarity", {}, 2),
        ("VICRegLoss", {}, 2),
        ("VICRegLoss", {"lambda_param": 2.0, "mu_param": 9.0, "nu_param": 4.0, "eps": 0.1}, 2),
    ],
)
def test_values_and_gradients_are_lightlys(name, settings, count, lightly):
    inputs = [0.7 * normal(16, 8, seed=s) for s in range(count)]
    ours, theirs = (value_and_gradients(getattr(p, name)(**settings), *inputs) for p in (losses, lightly))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_vicreg_of_more_dimensions_is_lightlys(lightly):
    inputs = 0.7 * normal(6, 2, 3, 4), 0.7 * normal(6, 2, 3, 4, seed=1)
    ours, theirs = (value_and_gradients(p.VICRegLoss(), *inputs) for p in (losses, lightly))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("settings", [{}, {"p": 3.0, "eps": 1e-6}])
def test_koleo_is_lightlys_but_for_eps_in_each_coordinate(settings, lightly):
    ours, theirs = (value_and_gradients(p.KoLeoLoss(**settings), normal(16, 8)) for p in (losses, lightly))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"temperature": 0.3, "sinkhorn_iterations": 5, "sinkhorn_epsilon": 0.2}])
@pytest.mark.parametrize("queued", [False, True])
def test_swav_is_lightlys(settings, queued, lightly):
    (high, low), (queue, _) = outputs(), outputs(b=7, size=0.2)

    def run(package, *views):
        module = package.SwaVLoss(**settings)
        return value_and_gradients(lambda *z: module(z[:2], z[2:], queue if queued else None), *views)

    torch.testing.assert_close(run(losses, *high, *low), run(lightly, *high, *low), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("epoch", [0, 7, 29, 30, None])
def test_dino_and_its_centre_are_lightlys_over_steps(epoch, lightly):
    settings = {"output_dim": 5, "warmup_teacher_temp": 0.03, "teacher_temp": 0.06, "center_momentum": 0.8}
    ours, theirs = (p.DINOLoss(**settings).double() for p in (losses, lightly))
    wide, small = outputs()
    for _ in range(3):
        mine, expected = (
            value_and_gradients(lambda *z, module=module: module(wide, list(z), epoch=epoch), *wide, *small)
            for module in (ours, theirs)
        )
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)  # their temperatures are float32
        torch.testing.assert_close(ours.center, theirs.center)


def test_a_state_of_lightlys_dino_loads(lightly):
    theirs = lightly.DINOLoss(5)
    theirs([normal(4, 5).float()] * 2, [normal(4, 5, seed=s).float() for s in (1, 2)])
    ours = losses.DINOLoss(5)
    ours.load_state_dict(theirs.state_dict())
    assert ours.center.equal(theirs.center)
