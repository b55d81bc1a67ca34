"""Running statistics of batch norm in a step of several micro-batches, on one rank or many: updated once a step.

Each micro-batch of n_k of the n samples starts from the statistics before the step, and the step ends with

    sum over micro-batches and ranks of n_k / n * (the statistics after the micro-batch),

which for one micro-batch is what a plain step does. Means are those of the whole batch; variances are the mean of the
variances within micro-batches.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from nearfar.contract import Method
from nearfar.training.ranks import Ranks


class Statistics:
    """Use as a context around a step: after an error the statistics are those before the step.

    They are all buffers of the encoder, and those of norms anywhere in the method.
    """

    def __init__(self, method: Method) -> None:
        found = list(method.encoder.buffers())
        for module in method.modules():
            found += module.buffers(recurse=False) if isinstance(module, _NormBase) else []
        buffers = list({id(buffer): buffer for buffer in found}.values())
        self._means = [buffer for buffer in buffers if buffer.is_floating_point()]
        self._counts = [buffer for buffer in buffers if not buffer.is_floating_point()]
        self._before = [buffer.clone() for buffer in self._means], [buffer.clone() for buffer in self._counts]
        self._sum: list[Tensor] = []
        self._after = self._before[1]

    def begin(self) -> None:
        """Before a micro-batch: restore the statistics before the step."""
        _copy(self._means, self._before[0])
        _copy(self._counts, self._before[1])

    def add(self, share: float) -> None:
        """After a micro-batch: add its statistics, weighted by its share of the batch."""
        moved = [mean * share for mean in self._means]
        if self._sum:
            torch._foreach_add_(self._sum, moved)
        else:
            self._sum = moved
        self._after = [count.clone() for count in self._counts]

    def settle(self, ranks: Ranks, *, by: int) -> None:
        """At the end of the step: set the weighted sums over all ranks; `by` is a rank that has had a micro-batch."""
        total = self._sum or [torch.zeros_like(mean) for mean in self._means]
        ranks.all_reduce(total)
        _copy(self._means, total)
        _copy(self._counts, self._after)
        ranks.broadcast_tensors(self._counts, by=by)

    def __enter__(self) -> "Statistics":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            self.begin()


@torch.no_grad()
def _copy(to: list[Tensor], values: list[Tensor]) -> None:
    if to:
        torch._foreach_copy_(to, values)


def normalises(method: nn.Module) -> bool:
    """Whether it has batch norm, which needs more than one sample."""
    return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in method.modules())
