"""Which arithmetic the encoder runs in: measured once, on the machine at hand."""

import math
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from nearfar.contract import Inputs
from nearfar.contract import inputs as samples_of

_WORTH = 1.15  # below this gain, full precision is kept
_PASSES = 4
_FEW = (
    8  # a share of the inputs, tried first: processors without bf16 take ten times as long for it, on them all a minute
)
_HOPELESS = 0.5  # a gain below which no more is tried


Kind = Literal["bf16", "fp32"]
UNMEASURED: tuple[Kind, str] = ("fp32", "there was nothing to measure bf16 on")


def choose(encoder: nn.Module, inputs: Inputs) -> tuple[Kind, str]:
    """`bf16` or `fp32` for this encoder, and why; leaves weights, buffers and gradients as they were.

    On CUDA: bf16 where the hardware has it. On a CPU: the best of three passes of each over `inputs` [n, ...], where a
    few of them do not show already that bf16 is slow.
    """
    device = samples_of.device(inputs).type
    if device == "cuda":
        if torch.cuda.is_bf16_supported():
            return "bf16", "this GPU computes in bf16"
        return "fp32", "this GPU does not compute in bf16"
    if device != "cpu":
        return "fp32", f"bf16 is not measured on {device}"
    kept = {name: buffer.clone() for name, buffer in encoder.named_buffers()}
    gradients = [parameter.grad for parameter in encoder.parameters()]

    def gained(some: Inputs, passes: int) -> float:
        taken = {name: min(_once(encoder, some, kind) for _ in range(passes)) for name, kind in _KINDS.items()}
        return taken["fp32"] / taken["bf16"]

    gain = gained(_few(inputs), 2)
    if gain > _HOPELESS:
        gain = gained(inputs, 3)
    for parameter, gradient in zip(encoder.parameters(), gradients, strict=True):
        parameter.grad = gradient
    with torch.no_grad():
        for name, buffer in encoder.named_buffers():
            buffer.copy_(kept[name])
    if gain >= _WORTH:
        return "bf16", f"measured {gain:.1f} times as fast as fp32 here"
    return "fp32", f"bf16 measured only {gain:.2f} times as fast here"


@torch.no_grad()
def choose_for_inference(run: Callable[[Inputs], object], inputs: Inputs) -> Kind:
    """`bf16` where it makes `run`, a forward pass of `inputs` [n, ...], at least 1.15 times as fast as `fp32`.

    On CUDA as in `choose`. On a CPU: the best of two passes of each, and of up to four where it is close; of a few
    inputs only, where these show already that bf16 is slow.
    """
    device = samples_of.device(inputs).type
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp32"
    if device != "cpu":
        return "fp32"
    return "bf16" if _gain(run, _few(inputs)) > _HOPELESS and _gain(run, inputs) >= _WORTH else "fp32"


def _gain(run: Callable[[Inputs], object], inputs: Inputs) -> float:
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


def _few(inputs: Inputs) -> Inputs:
    """A share of the inputs, two at least: batch norm wants them."""
    return samples_of.part(inputs, 0, max(2, samples_of.count(inputs) // _FEW))


_KINDS: dict[Kind, torch.dtype | None] = {"fp32": None, "bf16": torch.bfloat16}


def dtype_of(precision: str | None) -> torch.dtype | None:
    """The type for autocast; None is full precision."""
    return torch.bfloat16 if precision == "bf16" else None


def _once(encoder: nn.Module, inputs: Inputs, kind: torch.dtype | None) -> float:
    encoder.zero_grad(set_to_none=True)
    start = time.perf_counter()
    with torch.autocast("cpu", kind or torch.bfloat16, enabled=kind is not None):
        total = encoder(inputs).float().sum()
    total.backward()
    return time.perf_counter() - start
