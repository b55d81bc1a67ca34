"""The pace is seconds of a step, fixed and for each sample."""

import pytest
import torch

from nearfar.training import pace
from nearfar.training.pace import Pace
from tests.training.test_microbatch import method_of, views


def test_fixed_and_each_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "_seconds", lambda method, views, samples, autocast: 0.25 + 0.125 * samples)
    assert pace.measure(method_of(), views(32)) == Pace(0.25, 0.125)


def test_steps_are_those_that_fit_into_the_time() -> None:
    assert Pace(0.25, 0.125).steps(60, 2) == 120


def test_measuring_changes_nothing() -> None:
    method = method_of(norm=True).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    assert pace.measure(method, views(16)).each > 0
    assert not method.training
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())
