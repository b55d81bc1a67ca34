"""What changes while a run goes on beside the weights: kept in each checkpoint, and read back by a run that goes on."""

import hashlib
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from nearfar.contract import Source
from nearfar.errors import RunError
from nearfar.training import checkpoint, optimisers
from nearfar.training.alarms import Alarm
from nearfar.training.checkpoint import Saved
from nearfar.training.plan import Plan

_LATER = ("loss", "steps", "micro_batch")  # not in the checkpoints of earlier versions
_WHOLE = ("step", "steps", "micro_batch")
_LEAST = {"recorded": -1, "loss": -math.inf, "micro_batch": 1}
_log = logging.getLogger("nearfar")


@dataclass
class State:
    """What changes while a run goes on, beside the weights."""

    step: int = 0
    elapsed: float = 0.0
    recorded: float = -1.0
    """Progress at the last record, and at the last probe: a resumed run makes its records at the same steps."""
    probed: float = 0.0
    loss: float = 0.0
    """The sum of the losses of the `steps` since the last record."""
    steps: int = 0
    micro_batch: int | None = None
    """Less than the plan's, once memory ran out."""
    alarms: list[Alarm] = field(default_factory=list)
    interrupted: bool = False

    def kept(self) -> dict[str, Any]:
        """What a checkpoint keeps of it, as plain values."""
        names = ("step", "elapsed", "recorded", "probed", "loss", "steps", "micro_batch")
        return {name: getattr(self, name) for name in names} | {"alarms": [vars(alarm) for alarm in self.alarms]}


def restore(plan: Plan, saved: Saved) -> State:
    """Fill the plan's weights and optimiser from a checkpoint; raises RunError where it does not fit."""
    try:
        state = _read(saved.state)
        data = saved.state["data"]
    except (KeyError, TypeError, ValueError) as error:
        raise RunError(f"The checkpoint does not say of its run what a checkpoint says ({error!r:.200}).") from None
    checkpoint.restore_module(plan.method, saved.weights)
    optimisers.load_state_tensors(plan.optimizer, dict(plan.method.named_parameters()), saved.optimizer)
    if data != fingerprint(plan.source):
        _log.warning(
            "%s is no longer what the run began with (%d samples now): it goes on, but not as if it had never stopped.",
            plan.source.name,
            len(plan.source),
        )
    return state


def fingerprint(source: Source) -> str:
    """Names the data: other samples, or another number of them, give another."""
    found = hashlib.blake2b(digest_size=8)
    for key in source.keys:
        found.update(key.encode("utf-8", "surrogateescape") + b"\0")
    return found.hexdigest()


def _read(stored: Mapping[str, Any]) -> State:
    """The state from a checkpoint's values; raises KeyError, TypeError or ValueError where these are something else."""
    kept = {name: stored[name] for name in ("step", "elapsed", "recorded", "probed")}
    kept |= {name: stored[name] for name in _LATER if name in stored}
    for name, value in kept.items():
        kind, least = int if name in _WHOLE else (int, float), _LEAST.get(name, 0)
        fits = isinstance(value, kind) and math.isfinite(value) and value >= least
        if not fits and (name, value) != ("micro_batch", None):
            raise ValueError(f"{name} is {value!r}")
    return State(**kept, alarms=[Alarm(**alarm) for alarm in stored["alarms"]])
