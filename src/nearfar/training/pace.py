"""How many steps a time holds on this machine: passes of the method are timed, with few samples and with more."""

import time
from dataclasses import dataclass

import torch

from nearfar.contract import Method, Views
from nearfar.training import microbatch
from nearfar.training.statistics import Statistics

_APART = 4  # times as many samples in the larger passes
_TIMED = 2  # passes of each size, of which the quicker one counts


@dataclass(frozen=True)
class Pace:
    """Seconds of a step: `fixed`, and `each` for every sample."""

    fixed: float
    each: float

    def steps(self, seconds: float, batch_size: int) -> int:
        """How many steps of so many samples are made in this time."""
        return int(seconds / max(1e-9, self.fixed + self.each * batch_size))


def measure(method: Method, views: Views, *, processes: int = 1, autocast: torch.dtype | None = None) -> Pace:
    """The pace on this machine, by passes forward and back of some of `views` as far as their graphs fit into memory.

    Weights, statistics and gradients are in the end as they were before.
    """
    most = microbatch.choose(method, views, views.samples, processes=processes, autocast=autocast).value
    large, small = max(2, min(most, views.samples)), max(2, min(most, views.samples) // _APART)
    gradients = [parameter.grad for parameter in method.parameters()]
    was_training = method.training
    method.train()
    with Statistics(method) as statistics:
        slow, quick = (min(_seconds(method, views, n, autocast) for _ in range(1 + _TIMED)) for n in (large, small))
        statistics.begin()
    method.train(was_training)
    for parameter, gradient in zip(method.parameters(), gradients, strict=True):
        parameter.grad = gradient
    each = max(0.0, slow - quick) / (large - small) if large > small else slow / large
    return Pace(max(0.0, quick - each * small), max(each, 1e-9))


def _seconds(method: Method, views: Views, samples: int, autocast: torch.dtype | None) -> float:
    device = next(method.parameters()).device
    began = time.perf_counter()
    some = views.part(0, samples)
    with torch.autocast(device.type, autocast or torch.bfloat16, enabled=autocast is not None):
        latents = method.embed(some)
        with torch.no_grad():
            method.targets(some)
    learning = [z.float().sum() for z in latents.values() if z.requires_grad]
    if learning:
        torch.stack(learning).sum().backward()  # type: ignore[no-untyped-call]
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
