"""Modules against those of the same names in lightly: same arguments, same defaults, same values."""

import inspect

import pytest
import torch

from nearfar import losses

SHARED = [
    "BarlowTwinsLoss", "DINOLoss", "EMPSSLLoss", "IBOTPatchLoss", "KoLeoLoss", "LeJEPALoss", "MMCRLoss", "MSNLoss",
    "NegativeCosineSimilarity", "PMSNCustomLoss", "PMSNLoss", "SIGReg", "SwaVLoss", "TiCoLoss", "VICRegLoss",
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
    return loss.squeeze(), torch.autograd.grad(loss, leaves, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize("name", SHARED)
def test_arguments_and_defaults_are_lightlys(name, lightly):
    ours, theirs = (inspect.signature(getattr(package, name)).parameters for package in (losses, lightly))
    assert {key: p.default for key, p in ours.items()} == {key: p.default for key, p in theirs.items()}
    assert list(ours) == list(theirs)
    ours, theirs = (inspect.signature(getattr(package, name).forward).parameters for package in (losses, lightly))
    assert list(ours) == list(theirs)


@pytest.mark.parametrize("name", ["NTXentLoss", "DirectCLRLoss", "DCLLoss", "DCLWLoss"])
def test_arguments_of_losses_of_pairs_begin_with_lightlys(name, lightly):
    """Ours have more behind them, by keyword."""
    for part in (lambda package: getattr(package, name), lambda package: getattr(package, name).forward):
        ours, theirs = (inspect.signature(part(package)).parameters for package in (losses, lightly))
        assert list(ours)[: len(theirs)] == list(theirs)
        assert [ours[key].default for key in theirs] == [p.default for p in theirs.values()]


@pytest.mark.parametrize(
    ("name", "settings", "count"),
    [
        ("NTXentLoss", {}, 2),
        ("NTXentLoss", {"temperature": 0.1}, 2),
        ("DCLLoss", {}, 2),
        ("DCLLoss", {"temperature": 0.3}, 2),
        ("DCLWLoss", {}, 2),
        ("DCLWLoss", {"temperature": 0.3, "sigma": 0.9}, 2),
        ("BarlowTwinsLoss", {}, 2),
        ("BarlowTwinsLoss", {"lambda_param": 0.3}, 2),
        ("NegativeCosineSimilarity", {}, 2),
        ("DirectCLRLoss", {"loss_dim": 5}, 2),
        ("MSNLoss", {"temperature": 0.3}, 3),
        ("MSNLoss", {"sinkhorn_iterations": 0, "regularization_weight": 2.0}, 3),
        ("TiCoLoss", {}, 2),
        ("TiCoLoss", {"beta": 0.2, "rho": 3.0}, 2),
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


SWAV = [{}, {"sinkhorn_iterations": 0}, {"temperature": 0.3, "sinkhorn_iterations": 5, "sinkhorn_epsilon": 0.2}]


@pytest.mark.parametrize("settings", SWAV)
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


@pytest.mark.parametrize("lmda", [5e-3, 1.0])
def test_mmcr_is_lightlys(lmda, lightly):
    inputs = normal(4, 3, 6), normal(4, 3, 6, seed=1)
    ours, theirs = (value_and_gradients(p.MMCRLoss(lmda), *inputs) for p in (losses, lightly))
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-10)


def test_priors_of_pmsn_are_lightlys(lightly):
    inputs = normal(12, 5), normal(6, 5, seed=1), normal(7, 5, seed=2)
    for make in (lambda p: p.PMSNLoss(power_law_exponent=0.5), lambda p: p.PMSNCustomLoss(lambda mean: mean**2)):
        ours, theirs = (value_and_gradients(make(p), *inputs) for p in (losses, lightly))
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)  # their power law is float32


def test_emp_ssl_is_lightlys_with_the_sign_of_the_paper(lightly):
    from lightly.loss.emp_ssl_loss import tcr_loss

    views = [normal(8, 5, seed=k) for k in range(3)]
    ours, theirs = losses.EMPSSLLoss(inv_coef=2.0)(views), lightly.EMPSSLLoss(inv_coef=2.0)(views)
    torch.testing.assert_close(ours, theirs - 2 * tcr_loss(torch.stack(views), 0.2))


def test_patches_of_ibot_and_their_centre_are_lightlys_over_steps(lightly):
    ours, theirs = (p.IBOTPatchLoss(5, center_momentum=0.8).double() for p in (losses, lightly))
    mask = torch.zeros(2, 3, 4, dtype=torch.bool)
    mask[0, 0, :3] = mask[1, 2, 1] = True
    for step in range(3):
        teacher, student = normal(4, 5, seed=step), normal(4, 5, seed=step + 9)
        mine, expected = (value_and_gradients(lambda s, m=m, t=teacher: m(t, s, mask), student) for m in (ours, theirs))
        torch.testing.assert_close(mine, expected, rtol=1e-6, atol=1e-8)  # their temperature is float32
        torch.testing.assert_close(ours.center, theirs.center.value)


def test_lejepa_is_lightlys_with_its_draws(lightly):
    views = normal(3, 8, 6).float(), normal(2, 8, 6, seed=1).float()
    found = []
    for package in (losses, lightly):
        loss = package.LeJEPALoss(lambda_param=0.5, sigreg_num_vectors=64)
        torch.manual_seed(3)
        found.append(value_and_gradients(lambda x, y, loss=loss: loss(local_proj=x, global_proj=y), *views))
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("VICRegLoss", [(3, 4), (2, 4)]),
        ("VICRegLoss", [(1, 4), (1, 4)]),
        ("TiCoLoss", [(3, 4), (2, 4)]),
        ("TiCoLoss", [(1, 4), (1, 4)]),
        ("MMCRLoss", [(3, 2, 4), (2, 2, 4)]),
    ],
)
def test_wrong_shapes_raise_what_lightly_raises(name, inputs, lightly):
    given = [torch.ones(shape) for shape in inputs]
    with pytest.raises((AssertionError, ValueError)) as theirs:
        getattr(lightly, name)()(*given)
    with pytest.raises(theirs.type):
        getattr(losses, name)()(*given)


@pytest.mark.parametrize(
    ("name", "settings"),
    [("NTXentLoss", {"temperature": 0}), ("MMCRLoss", {"lmda": -1}), ("MSNLoss", {"temperature": 0}),
     ("MSNLoss", {"sinkhorn_iterations": -1}), ("LeJEPALoss", {"lambda_param": 2}), ("SIGReg", {"knots": 1}),
     ("DINOLoss", {"center_mode": "median"})],
)  # fmt: skip
def test_settings_that_lightly_refuses_are_value_errors_too(name, settings, lightly):
    for package in (lightly, losses):
        with pytest.raises(ValueError, match=r"\w"):
            getattr(package, name)(**settings)
