"""What is measured once, on the machine at hand and the run's own data: the arithmetic, and how much memory allows."""

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from nearfar import torchrun
from nearfar.config import Machine, Optimisation
from nearfar.options import Choice
from nearfar.training import microbatch, precision

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Method, Source
    from nearfar.training.loop import ViewsOf

_SAMPLES = 256


def arithmetic(machine: Machine, source: "Source", encoder: "Encoder", batch_size: int) -> tuple[Machine, list[Choice]]:
    """The settings with the faster precision, where it was not given."""
    if machine.precision is not None:
        return machine, []
    raw, kept = source.fetch(np.arange(min(len(source), batch_size, _SAMPLES)))
    kind, why = precision.UNMEASURED
    if len(kept) > 1:
        kind, why = precision.choose(encoder, encoder.prepare(raw))
    return replace(machine, precision=kind), [Choice("precision", kind, why)]


def memory(
    optimisation: Optimisation, source: "Source", method: "Method", views: "ViewsOf", kind: torch.dtype | None
) -> tuple[Optimisation, list[Choice]]:
    """The settings with the micro-batch that memory allows, where it was not given."""
    batch_size = optimisation.batch_size
    assert batch_size is not None
    if optimisation.micro_batch not in (None, "auto"):
        return optimisation, []
    raw, kept = source.fetch(np.arange(min(len(source), batch_size, _SAMPLES)))
    here = torchrun.place()
    own = -(-batch_size // here.world)
    choice = Choice("micro_batch", own, "nothing could be read to measure memory with")
    if len(kept) > 1:
        choice = microbatch.choose(method, views(raw, kept), own, processes=here.neighbours, autocast=kind)
    return replace(optimisation, micro_batch=choice.value), [choice]
