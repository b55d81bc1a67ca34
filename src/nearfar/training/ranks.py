"""The processes that train together, over torch.distributed: broadcast, gather, sums, and agreement on failures.

In a world of one process nothing is sent. Numbers and plain objects go over gloo, tensors between the devices that they
are on (NCCL for GPUs).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.rendezvous import rendezvous

from nearfar import torchrun
from nearfar.errors import ConfigError, NearfarError, TrainingError, must
from nearfar.memory import out_of_memory
from nearfar.training.automatic import device_of
from nearfar.training.failures import is_lost, lost, tell

_PATIENCE = timedelta(hours=2)  # others wait while the first rank decodes, or evaluates
_BUCKET = 32 * 2**20  # bytes: few collectives, and little memory besides
T = TypeVar("T")
P = ParamSpec("P")


class OutOfMemory(RuntimeError):
    """A rank ran out of memory in its part of a step."""


@dataclass(frozen=True)
class Ranks:
    """`world` processes, of which this is number `rank`."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which decides what all do, writes files and logs."""
        return self.rank == 0

    def shares(self, samples: int) -> "Shares":
        """How a batch is shared among the ranks, of which this one has `samples`."""
        if self.world == 1:
            return Shares((samples,))
        counts = [torch.empty(1, dtype=torch.int64) for _ in range(self.world)]
        dist.all_gather(counts, torch.tensor([samples]))
        return Shares(tuple(int(count) for count in counts), self.rank)

    def broadcast_numbers(self, *numbers: float) -> tuple[float, ...]:
        """The numbers of rank 0, on all ranks."""
        if self.world == 1:
            return numbers
        sent = torch.tensor(numbers, dtype=torch.float64)
        dist.broadcast(sent, 0)
        return tuple(sent.tolist())

    def broadcast(self, thing: T, *, by: int = 0) -> T:
        """The plain object of the rank `by`, on all ranks."""
        if self.world == 1:
            return thing
        things = [thing]
        dist.broadcast_object_list(things, by, device=torch.device("cpu"))
        return things[0]

    def on_first(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """What the first rank's work gives, a plain thing, sent to all; its errors for the user are raised by all."""
        if self.world == 1:
            return work(*given, **named)
        found: list[Any] = [None, None]
        try:
            found = [work(*given, **named) if self.first else None, None]
        except NearfarError as error:
            self.broadcast([None, (str(error), error.exit_code)])
            raise
        thing, failure = self.broadcast(found)
        if failure is not None:
            text, code = failure
            raise (ConfigError if code == 2 else TrainingError)(text)
        return cast(T, thing)

    def first_then_others(self, work: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
        """Each rank's own result of the work, which the others begin when the first is done.

        They find what it left on disk (decoded samples). Errors for the user of the first are raised by all.
        """
        own: list[T] = []
        self.on_first(lambda: own.append(work(*given, **named)))
        return own[0] if own else work(*given, **named)

    def gather_objects(self, things: Sequence[T]) -> list[T]:
        """The plain objects of all ranks, in the order of the ranks."""
        if self.world == 1:
            return list(things)
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, list(things))
        return [thing for some in found for thing in some]

    def any(self, flag: bool) -> bool:
        """Whether the flag is true on any rank."""
        if self.world == 1:
            return flag
        sent = torch.tensor([int(flag)])
        dist.all_reduce(sent, dist.ReduceOp.MAX)
        return bool(sent.item())

    @contextmanager
    def together(self) -> Iterator[None]:
        """Raise OutOfMemory on all ranks where one runs out of memory inside, so that no collective waits for it."""
        failed = False
        try:
            yield
        except (RuntimeError, MemoryError) as error:
            if not out_of_memory(error):
                raise
            failed = True
        self.agree(failed)  # outside of the handler, whose error refers to all that was computed

    def agree(self, failed: bool = False) -> None:
        """Raise OutOfMemory on all ranks where one has failed."""
        if self.any(failed):
            raise OutOfMemory("memory ran out")

    @torch.no_grad()
    def all_reduce(self, tensors: Sequence[Tensor]) -> None:
        """Sum each tensor over all ranks, in place, in few collectives."""
        if self.world > 1:
            _in_buckets(dist.all_reduce, tensors)

    @torch.no_grad()
    def broadcast_tensors(self, tensors: Sequence[Tensor], *, by: int = 0) -> None:
        """Set each tensor to its value on the rank `by`, in place."""
        if self.world > 1:
            _in_buckets(lambda flat: dist.broadcast(flat, by), tensors)

    def add_gradients(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Sum gradients over all ranks; those that no rank has stay None."""
        if self.world == 1:
            return
        there = torch.tensor([int(parameter.grad is not None) for parameter in parameters])
        dist.all_reduce(there, dist.ReduceOp.MAX)
        present = [parameter for parameter, some in zip(parameters, there.tolist(), strict=True) if some]
        for parameter in present:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        self.all_reduce([parameter.grad for parameter in present if parameter.grad is not None])


ALONE = Ranks()


@contextmanager
def opened(device: str | None) -> Iterator[Ranks]:
    """The process group of the ranks that torchrun started, on this device; without torchrun, this process alone."""
    here = torchrun.place()
    if here.world == 1:
        yield ALONE
        return
    kind = device_of(device)[0].partition(":")[0]
    must(kind in ("cpu", "cuda"), "device must be cpu or cuda under torchrun", got=device)
    if kind == "cuda":
        torch.cuda.set_device(here.local)
    # After a restart the store still has the addresses of the ranks before: a prefix of its own for each start.
    store, rank, world = next(rendezvous("env://", timeout=_PATIENCE))
    store = dist.PrefixStore(f"nearfar {here.restarts}", store)  # type: ignore[attr-defined]
    backend = "cpu:gloo,cuda:nccl" if kind == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=_PATIENCE)
    try:
        yield Ranks(here.rank, here.world)
    except Exception as error:
        if is_lost(error):
            raise lost(store, here) from error
        tell(error, store, here)
        raise
    finally:
        dist.destroy_process_group()


@dataclass(frozen=True)
class Shares:
    """A batch of n samples of which rank r has `counts[r]`, in the order of the ranks; this is rank `rank`."""

    counts: tuple[int, ...]
    rank: int = 0

    @property
    def samples(self) -> int:
        """All samples n of the batch."""
        return sum(self.counts)

    @property
    def rows(self) -> slice:
        """The rows of this rank among the n."""
        start = sum(self.counts[: self.rank])
        return slice(start, start + self.counts[self.rank])

    def gather(self, own: Tensor, dim: int = 0) -> Tensor:
        """All ranks' values of which `own` are this rank's along `dim`: n long there."""
        if len(self.counts) == 1:
            return own
        sent = self._padded(own.to(torch.uint8) if own.dtype == torch.bool else own, dim)
        found = [torch.empty_like(sent) for _ in self.counts]
        dist.all_gather(found, sent)
        whole = torch.cat([part[:count] for part, count in zip(found, self.counts, strict=True)])
        return whole.movedim(0, dim).to(own.dtype).contiguous()

    def reduce_scatter(self, values: Tensor, dim: int = 0) -> Tensor:
        """This rank's own part of the sum of all ranks' `values`, n long along `dim`."""
        if len(self.counts) == 1:
            return values
        parts = [self._padded(part, dim) for part in torch.split(values, list(self.counts), dim)]
        found = torch.empty_like(parts[self.rank])
        dist.reduce_scatter(found, parts)
        return found[: self.counts[self.rank]].movedim(0, dim).contiguous()

    def _padded(self, own: Tensor, dim: int) -> Tensor:
        """`own` with `dim` first, padded to the longest of all ranks: collectives need equal shapes."""
        front = own.detach().movedim(dim, 0)
        padded = front.new_zeros(max(self.counts), *front.shape[1:])
        padded[: len(front)] = front
        return padded


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in runs of one type, device and at most `_BUCKET` bytes, or one that is larger."""
    bucket: list[Tensor] = []
    size = 0
    for tensor in tensors:
        bytes_ = tensor.numel() * tensor.element_size()
        other = bucket and (bucket[0].dtype, bucket[0].device) != (tensor.dtype, tensor.device)
        if bucket and (other or size + bytes_ > _BUCKET):
            yield bucket
            bucket, size = [], 0
        bucket.append(tensor)
        size += bytes_
    if bucket:
        yield bucket


def _in_buckets(collective: Callable[[Tensor], object], tensors: Sequence[Tensor]) -> None:
    """Call a collective that works in place on all tensors, in few flat buckets."""
    for bucket in _buckets(tensors):
        flat = torch.cat([tensor.flatten() for tensor in bucket])
        collective(flat)
        for tensor, piece in zip(bucket, torch.split(flat, [tensor.numel() for tensor in bucket]), strict=True):
            tensor.copy_(piece.view(tensor.shape))
