"""What all checks share: comparing tensors and inputs, with a sentence where they differ."""

from typing import Any

import torch
from torch import Tensor

from nearfar.contract import inputs


def check(holds: bool, sentence: str) -> None:
    """Raise AssertionError with the sentence where something does not hold."""
    if not holds:
        raise AssertionError(sentence)


def same(one: Any, other: Any, *, rtol: float = 0.0, atol: float = 0.0) -> bool:
    """Whether two inputs have one signature and equal values; without tolerances, to the bit."""
    if inputs.signature(one) != inputs.signature(other) or inputs.count(one) != inputs.count(other):
        return False
    pairs = [(one, other)] if isinstance(one, Tensor) else [(one[name], other[name]) for name in one]
    if not rtol and not atol:
        return all(torch.equal(a, b) for a, b in pairs)
    return all(torch.allclose(a.double(), b.double(), rtol=rtol, atol=atol) for a, b in pairs)


def sample(x: Any, i: int) -> Any:
    """One sample, as inputs of one row."""
    return inputs.part(x, i, i + 1)
