"""Which arithmetic the encoder runs in: measured once, on the machine at hand."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Literal

import torch
from torch import nn

from nearfar.contract import Inputs
from nearfar.contract import inputs as samples_of

Kind = Literal["bf16", "fp32"]
Pass = Callable[[Inputs], object]
"""A pass of inputs [n, ...] through the encoder: forward, or forward and back."""
UNMEASURED: tuple[Kind, str] = ("fp32", "there was nothing to measure bf16 on")

_KINDS: dict[Kind, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16}
_WORTH = 1.15  # below this gain, full precision is kept
_PASSES = 4
_FEW = 8  # the share tried first: processors without bf16 take ten times as long for it, on all inputs a minute
_HOPELESS = 0.5  # a gain below which no more is tried


def choose(run: Pass, inputs: Inputs) -> tuple[Kind, str]:
    """`bf16` where it makes `run` at least 1.15 times as fast as `fp32`, and why.

    On CUDA: bf16 where the hardware has it. On a CPU: the best of two passes of each, and of up to four where it is
    close; of a few inputs only, where these show already that bf16 is slow.
    """
    device = samples_of.device(inputs).type
    if device == "cuda":
        if torch.cuda.is_bf16_supported():
            return "bf16", "this GPU computes in bf16"
        return "fp32", "this GPU does not compute in bf16"
    if device != "cpu":
        return "fp32", f"bf16 is not measured on {device}"
    gain = _gain(run, few(inputs))
    if gain > _HOPELESS:
        gain = _gain(run, inputs)
    if gain >= _WORTH:
        return "bf16", f"measured {gain:.1f} times as fast as fp32 here"
    return "fp32", f"bf16 measured only {gain:.2f} times as fast here"


@contextmanager
def trial_pass(encoder: nn.Module) -> Iterator[Pass]:
    """A pass forward and back; weights, buffers and gradients are in the end as they were before."""
    kept = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    gradients = [parameter.grad for parameter in encoder.parameters()]

    def run(inputs: Inputs) -> None:
        encoder.zero_grad(set_to_none=True)
        encoder(inputs).float().sum().backward()

    try:
        yield run
    finally:
        for parameter, gradient in zip(encoder.parameters(), gradients, strict=True):
            parameter.grad = gradient
        with torch.no_grad():
            for name, buffer in encoder.named_buffers():
                buffer.copy_(kept[name])


def few(inputs: Inputs) -> Inputs:
    """A share of the inputs, two at least: batch norm wants them."""
    return samples_of.part(inputs, 0, max(2, samples_of.count(inputs) // _FEW))


def dtype_of(precision: str | None) -> torch.dtype | None:
    """The type for autocast; None is full precision."""
    return torch.bfloat16 if precision == "bf16" else None


def _gain(run: Pass, inputs: Inputs) -> float:
    best: dict[Kind, float] = dict.fromkeys(_KINDS, math.inf)
    for passes in range(1, _PASSES + 1):
        for name, dtype in _KINDS.items():
            start = time.perf_counter()
            with torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
                run(inputs)
            best[name] = min(best[name], time.perf_counter() - start)
        gain = best["fp32"] / best["bf16"]
        if passes > 1 and not 1 < gain < _WORTH**2:
            break
    return gain
