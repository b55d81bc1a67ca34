"""Whether loss, gradients and weights are still finite, looked at in every step."""

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.utils import get_total_norm


def norm_of(parameters: Sequence[torch.nn.Parameter], *, gradients: bool) -> Tensor:
    """The length of all gradients, or of all weights, as one vector; not finite where one of their numbers is not."""
    tensors = [p.grad if gradients else p.detach() for p in parameters]
    return get_total_norm([tensor for tensor in tensors if tensor is not None])


class Finite:
    """`broken` says which of some named scalars is not finite.

    On a GPU it says so of those of its last call: an answer about these would have to wait for all work before it.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._values = torch.empty(0)
        self._copied: torch.cuda.Event | None = None

    def broken(self, scalars: Mapping[str, Tensor]) -> str | None:
        """`<name> is nan` of the first that is not finite; None where all are."""
        values = torch.stack([value.detach().float().reshape(()) for value in scalars.values()])
        if values.device.type != "cuda":
            self._names, self._values = list(scalars), values
            return self._first()
        found = self._first()
        self._names = list(scalars)
        self._values = torch.empty(len(values), pin_memory=True)
        self._values.copy_(values, non_blocking=True)
        self._copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        self._copied.record()
        return found

    def _first(self) -> str | None:
        if self._copied is not None:
            self._copied.synchronize()
        pairs = zip(self._names, self._values.tolist(), strict=True)
        return next((f"{name} is {value}" for name, value in pairs if not math.isfinite(value)), None)
