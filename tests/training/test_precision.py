"""The choice of arithmetic is measured, and leaves no trace on the encoder."""

import copy

import pytest
import torch
from torch import nn

from nearfar.training import precision


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def test_choosing_changes_no_weight_and_no_buffer() -> None:
    module = network()
    before = copy.deepcopy(module.state_dict())
    precision.choose(module, torch.randn(4, 3, 8, 8))
    for name, value in module.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_choosing_changes_no_gradient() -> None:
    module = network()
    first = next(module.parameters())
    first.grad = torch.ones_like(first)
    precision.choose(module, torch.randn(4, 3, 8, 8))
    assert torch.equal(first.grad, torch.ones_like(first))
    assert all(parameter.grad is None for parameter in list(module.parameters())[1:])


@pytest.mark.parametrize(("bf16", "chosen"), [(0.5, "bf16"), (0.99, "fp32"), (3.0, "fp32")])
def test_bf16_must_be_worth_it(monkeypatch: pytest.MonkeyPatch, bf16: float, chosen: str) -> None:
    monkeypatch.setattr(precision, "_once", lambda encoder, inputs, kind: 1.0 if kind is None else bf16)
    name, why = precision.choose(network(), torch.randn(4, 3, 8, 8))
    assert name == chosen
    assert "measured" in why


def test_other_devices_are_not_measured() -> None:
    name, why = precision.choose(network(), torch.empty(4, 3, 8, 8, device="meta"))
    assert (name, why) == ("fp32", "bf16 is not measured on meta")


@pytest.mark.parametrize(
    ("bf16", "chosen", "passes"), [(0.5, "bf16", 2), (0.8, "bf16", 4), (0.95, "fp32", 4), (3.0, "fp32", 2)]
)
def test_a_clear_gain_in_inference_is_measured_twice_and_a_close_one_longer(
    monkeypatch: pytest.MonkeyPatch, bf16: float, chosen: str, passes: int
) -> None:
    clock, taken = [0.0], []

    def run() -> None:
        half = torch.is_autocast_enabled("cpu")
        taken.append(half)
        clock[0] += (bf16 if half else 1.0) + (1.0 if len(taken) <= 2 else 0.0)  # the first pass of each is slower

    monkeypatch.setattr(precision.time, "perf_counter", lambda: clock[0])
    assert precision.choose_for_inference(run, "cpu") == chosen
    assert taken == [False, True] * passes


def test_names_are_types_for_autocast() -> None:
    assert precision.dtype_of("bf16") is torch.bfloat16
    assert precision.dtype_of("fp32") is None
    assert precision.dtype_of(None) is None
