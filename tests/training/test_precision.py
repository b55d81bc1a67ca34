"""The choice of arithmetic is measured, and leaves no trace on the encoder."""

import copy

import pytest
import torch
from torch import nn

from nearfar.training import precision


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def test_a_trial_changes_no_weight_no_buffer_and_no_gradient() -> None:
    module = network()
    before, first = copy.deepcopy(module.state_dict()), next(module.parameters())
    first.grad = torch.ones_like(first)
    with precision.trial_pass(module) as run:
        precision.choose(run, torch.randn(4, 3, 8, 8))
        assert not torch.equal(module.state_dict()["1.running_mean"], before["1.running_mean"])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in list(module.parameters())[1:])


def test_other_devices_are_not_measured() -> None:
    name, why = precision.choose(network(), torch.empty(4, 3, 8, 8, device="meta"))
    assert (name, why) == ("fp32", "bf16 is not measured on meta")


@pytest.mark.parametrize(
    ("bf16", "chosen", "passes"),
    [(0.5, "bf16", 2), (0.8, "bf16", 4), (0.95, "fp32", 4), (1.9, "fp32", 2), (10, "fp32", 0)],
)
def test_a_clear_gain_is_measured_twice_a_close_one_longer_and_a_hopeless_one_on_few_inputs(
    monkeypatch: pytest.MonkeyPatch, bf16: float, chosen: str, passes: int
) -> None:
    clock, taken = [0.0], []

    def run(inputs: torch.Tensor) -> None:
        half = torch.is_autocast_enabled("cpu")
        if len(inputs) == 80:
            taken.append(half)
        # The first pass of each is slower.
        clock[0] += (bf16 if half else 1.0) * len(inputs) + (80.0 if len(taken) in (1, 2) else 0.0)

    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock[0])
    kind, why = precision.choose(run, torch.empty(80, 1))
    assert kind == chosen
    assert "measured" in why
    assert taken == [False, True] * passes


def test_names_are_types_for_autocast() -> None:
    assert [precision.dtype_of(name) for name in ("bf16", "fp32", None)] == [torch.bfloat16, None, None]
