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
    ("bf16", "chosen", "passes"), [(0.5, "bf16", 2), (0.8, "bf16", 4), (0.95, "fp32", 4), (1.9, "fp32", 2)]
)
def test_a_clear_gain_in_inference_is_measured_twice_and_a_close_one_longer(
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
    assert precision.choose_for_inference(run, torch.empty(80, 1)) == chosen
    assert taken == [False, True] * passes


class Recorded(nn.Module):
    """Takes ten times as long under autocast, and keeps how many inputs it got there."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.clock, self.seen = 0.0, 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        half = torch.is_autocast_enabled("cpu")
        self.clock += (10 if half else 1) * len(inputs)
        self.seen += half * len(inputs)
        return inputs * self.weight


def test_a_slow_bf16_is_tried_on_a_few_inputs_only(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Recorded()
    monkeypatch.setattr(precision.time, "perf_counter", lambda: module.clock)
    assert precision.choose(module, torch.ones(80, 1)) == ("fp32", "bf16 measured only 0.10 times as fast here")
    assert module.seen == 2 * 10
    assert precision.choose_for_inference(module, torch.ones(80, 1)) == "fp32"
    assert module.seen == 4 * 10


def test_names_are_types_for_autocast() -> None:
    assert precision.dtype_of("bf16") is torch.bfloat16
    assert precision.dtype_of("fp32") is None
    assert precision.dtype_of(None) is None
