"""Optimisers: what they compute, what they spare, and that their state comes back to the bit."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import RunError, UnknownName
from nearfar.training.lars import LARS
from nearfar.training.optimisers import build, load_state_tensors, state_tensors
from nearfar.training.schedule import learning_rate, set_lr

NAMES = ("sgd", "lars", "adamw")


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2)
    ).to(memory_format=torch.channels_last)


def descend(module: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    for i in steps:
        x = torch.randn(5, 3, 8, 8, generator=torch.Generator().manual_seed(i))
        optimizer.zero_grad()
        module(x).square().sum().backward()
        optimizer.step()


def equal(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_restored_state_goes_on_bit_for_bit(name: str) -> None:
    whole = network()
    optimizer = build(whole, name=name, lr=0.1, weight_decay=0.01)
    descend(whole, optimizer, range(3))
    kept = copy.deepcopy(whole.state_dict())
    tensors = {k: v.contiguous().clone() for k, v in state_tensors(optimizer, dict(whole.named_parameters())).items()}
    descend(whole, optimizer, range(3, 6))

    resumed = network(seed=1)
    resumed.load_state_dict(kept)
    again = build(resumed, name=name, lr=0.1, weight_decay=0.01)
    load_state_tensors(again, dict(resumed.named_parameters()), tensors)
    descend(resumed, again, range(3, 6))
    assert equal(whole, resumed)


@pytest.mark.parametrize("name", NAMES)
def test_state_is_flat_named_tensors(name: str) -> None:
    module = network()
    optimizer = build(module, name=name, lr=0.1, weight_decay=0.01)
    descend(module, optimizer, range(1))
    state = state_tensors(optimizer, dict(module.named_parameters()))
    entries = {"step", "exp_avg", "exp_avg_sq"} if name == "adamw" else {"momentum_buffer"}
    assert set(state) == {f"{p}/{entry}" for p, _ in module.named_parameters() for entry in entries}
    assert all(isinstance(value, Tensor) for value in state.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_gradient_in_another_memory_layout_moves_the_weights_alike(name: str) -> None:
    moved = []
    for layout in (torch.channels_last, torch.contiguous_format):
        module = network()
        optimizer = build(module, name=name, lr=0.1, weight_decay=0.01)
        for _ in range(2):
            grad = torch.randn(4, 3, 3, 3, generator=torch.Generator().manual_seed(5))
            module[0].weight.grad = grad.to(memory_format=layout)
            optimizer.step()
        moved.append(module[0].weight.detach())
    assert torch.equal(moved[0], moved[1])


def test_biases_norms_and_scalars_are_free_of_decay() -> None:
    module = network()
    module.register_parameter("scale", nn.Parameter(torch.zeros(())))
    optimizer = build(module, name="sgd", lr=0.1, weight_decay=0.01)
    decayed = {id(p) for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]}
    names = {name for name, p in module.named_parameters() if id(p) in decayed}
    assert names == {"0.weight", "5.weight"}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(module.parameters()))


def test_tags_spare_a_parameter_decay_and_schedule_and_frozen_ones_are_left_out() -> None:
    module = network()
    module[5].weight.nearfar_tags = {"decay": False, "fixed_lr": True}
    module[5].bias.requires_grad_(False)
    optimizer = build(module, name="adamw", lr=0.1, weight_decay=0.01)
    set_lr(optimizer, 0.02, 0.7)
    groups = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert groups[id(module[5].weight)] == (0.1, 0)
    assert groups[id(module[0].weight)] == (0.02, 0.01)
    assert id(module[5].bias) not in groups


@pytest.mark.parametrize(("name", "share"), [("sgd", 0.01), ("lars", 0.01), ("adamw", 1.0)])
def test_a_share_of_the_rate_counts_where_steps_grow_with_the_gradient(name: str, share: float) -> None:
    module = network()
    module[5].bias.nearfar_tags = {"sgd_rate": 0.01}
    optimizer = build(module, name=name, lr=0.1, weight_decay=0.0)
    for lr in (0.1, 0.02):
        rates = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
        assert rates[id(module[5].bias)] == pytest.approx(share * lr)
        assert rates[id(module[5].weight)] == lr
        set_lr(optimizer, 0.02, 0.7)


@pytest.mark.parametrize("name", NAMES)
def test_frozen_parameters_wait_and_then_move(name: str) -> None:
    module = network()
    module[5].weight.nearfar_tags = {"frozen_until": 0.5}
    before = module[5].weight.detach().clone()
    optimizer = build(module, name=name, lr=0.1, weight_decay=0.01)
    set_lr(optimizer, 0.1, 0.4)
    descend(module, optimizer, range(2))
    assert torch.equal(module[5].weight, before)
    set_lr(optimizer, 0.1, 0.5)
    descend(module, optimizer, range(2, 3))
    assert not torch.equal(module[5].weight, before)


@pytest.mark.parametrize("name", NAMES)
def test_a_first_gradient_may_come_late(name: str) -> None:
    module = nn.ModuleList([nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)])
    late = module[1].weight.detach().clone()
    optimizer = build(module, name=name, lr=0.1, weight_decay=0.01)
    module[0].weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert torch.equal(module[1].weight, late)
    module[1].weight.grad = torch.ones(2, 2)
    optimizer.step()
    assert not torch.equal(module[1].weight, late)


def test_sgd_is_nesterov_momentum() -> None:
    weight = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    module = nn.Linear(2, 1, bias=False).double()
    module.weight.data = weight.clone()
    optimizer = build(module, name="sgd", lr=0.1, weight_decay=0.5)
    buffer = torch.zeros_like(weight)
    for grad in (torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[0.5, 3.0]]).double()):
        module.weight.grad = grad.clone()
        optimizer.step()
        decayed = grad + 0.5 * weight
        buffer = 0.9 * buffer + decayed
        weight = weight - 0.1 * (decayed + 0.9 * buffer)
    torch.testing.assert_close(module.weight.detach(), weight, rtol=1e-12, atol=0)


def test_lars_matches_a_loop_by_hand() -> None:
    torch.manual_seed(0)
    shapes = ((3, 2), (4, 3, 2), (5,), (2, 2))
    params = [nn.Parameter(torch.randn(shape, dtype=torch.float64)) for shape in shapes]
    params[3].data.zero_()  # a trust of 1: no norm to go by
    weights = [p.detach().clone() for p in params]
    buffers = [torch.zeros_like(w) for w in weights]
    optimizer = LARS(params, 0.3, momentum=0.9, weight_decay=0.01, eta=0.02)
    for _ in range(3):
        for i, p in enumerate(params):
            p.grad = torch.randn(shapes[i], dtype=torch.float64)
            g = p.grad + 0.01 * weights[i]
            if weights[i].ndim > 1 and float(weights[i].norm()) > 0:
                g = g * (0.02 * float(weights[i].norm()) / float(g.norm()))
            buffers[i] = 0.9 * buffers[i] + g
            weights[i] = weights[i] - 0.3 * buffers[i]
        optimizer.step()
    for p, w in zip(params, weights, strict=True):
        torch.testing.assert_close(p.detach(), w, rtol=1e-12, atol=1e-15)


def test_an_unknown_optimiser_is_named_with_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"No optimizer is named 'adam'. Did you mean 'adamw'\?"):
        build(network(), name="adam", lr=0.1, weight_decay=0.0)


@pytest.mark.parametrize(
    ("name", "tensors", "message"),
    [
        ("sgd", {"9.weight/momentum_buffer": torch.zeros(2)}, r"'9\.weight', which this run does not train"),
        (
            "sgd",
            {"5.weight/momentum_buffer": torch.zeros(3, 3)},
            r"'5\.weight' has shape \[3, 3\], the parameter",
        ),
        (
            "adamw",
            {"5.weight/momentum_buffer": torch.zeros(2, 4)},
            "has momentum_buffer, AdamW keeps exp_avg",
        ),
    ],
)
def test_state_that_does_not_fit_is_refused(name: str, tensors: dict[str, Tensor], message: str) -> None:
    module = network()
    optimizer = build(module, name=name, lr=0.1, weight_decay=0.0)
    with pytest.raises(RunError, match=message):
        load_state_tensors(optimizer, dict(module.named_parameters()), tensors)


def test_the_rate_rises_along_a_line_and_falls_along_a_cosine() -> None:
    assert learning_rate(0.05, 2.0, 0.1) == pytest.approx(1.0)
    assert learning_rate(0.1, 2.0, 0.1) == pytest.approx(2.0)
    assert learning_rate(0.55, 2.0, 0.1) == pytest.approx(1.0)
    assert learning_rate(0.25, 2.0, 0.0) == pytest.approx(1 + 2**-0.5)


@pytest.mark.parametrize(("progress", "warmup"), [(0.0, 0.1), (1.0, 0.1), (1.3, 0.0), (-0.1, 0.5)])
def test_no_step_has_a_rate_of_zero(progress: float, warmup: float) -> None:
    assert learning_rate(progress, 2.0, warmup) == pytest.approx(0.002)


def test_without_warmup_the_first_rate_is_the_peak() -> None:
    assert learning_rate(0.0, 2.0, 0.0) == 2.0
