"""A few steps of any method, by one process or by many that hold shares of each batch; run as a program by ranks.

Encoder and heads are in evaluation mode: batch statistics depend on who is embedded with whom.
"""

import copy
import sys
from collections.abc import Sequence
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from nearfar import torchrun
from nearfar.contract import Batch, Encoder, Map, Method, Views
from nearfar.errors import DataError, UserError
from nearfar.methods import registry
from nearfar.options import Facts
from nearfar.training import ranks, syncnorm
from nearfar.training.ranks import ALONE, OutOfMemory, Ranks, Shares
from nearfar.training.step import training_step
from tests.kernels import rounds

SAMPLES = 11
STEPS = 2
COUNTS = {1: (11,), 2: (7, 4), 3: (6, 0, 5)}
"""Samples of each rank, by the number of ranks: ragged, and one rank of three has none."""
CACHED = 2
CELLS = 4
"""Of the map of `Flat`."""
FACTS = Facts(samples=40, labelled=40, device="cpu", threads=1, steps=STEPS)


class Flat(Encoder):
    """A small network over vectors of four numbers; what its first layer gives is a map of 2 x 2 cells, too."""

    def __init__(self) -> None:
        super().__init__()
        self.dim = 6
        self.network = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 6))

    def features(self, inputs: Any) -> Tensor:
        return self.network(inputs)  # type: ignore[no-any-return]

    def features_and_maps(self, inputs: Any) -> tuple[Tensor, list[Map]]:
        hidden = self.network[:3](inputs)
        return self.network[3](hidden), [Map(hidden.view(-1, 2, 2, 2), 1)]

    def map_shapes(self) -> list[tuple[int, int]]:
        return [(2, 1)]


def cases() -> dict[str, dict[str, Any]]:
    """Each method, and the objectives that are options of one."""
    found: dict[str, dict[str, Any]] = {
        name: {"method": name} for name in registry.METHODS if registry.load(name).requires.annotations is None
    }
    for variant in ("decoupled", "debiased", "hard"):
        found[f"simclr, {variant}"] = {"method": "simclr", "variant": variant}
    for mining in ("hard", "all"):
        found[f"triplet, {mining}"] = {"method": "triplet", "mining": mining}
    for name in ("siamese", "triplet"):
        found[f"{name}, supervised"] = {"method": name, "supervised": True}
    found["supcon, mixed"] = {"method": "supcon", "supervised_weight": 0.5}
    found["moco, v3"] = {"method": "moco", "queue": 0}
    found["swav, queue"] = {"method": "swav", "queue": 16}
    found["swav, small views"] = {"method": "swav", "small_views": 2}
    found["dino, small views"] = {"method": "dino", "small_views": 2}
    return found


def made(method: str, **options: Any) -> Method:
    """The method in float64; its queue is as long as five batches."""
    kind = registry.load(method)
    torch.manual_seed(0)
    encoder = Flat()
    settled, _ = kind.settle(kind.Options(**options), FACTS, encoder)
    return kind(encoder, settled).double().eval()


def gathers(name: str) -> list[str]:
    """How ranks may see each other's latents in a case."""
    options = dict(cases()[name])
    kind = registry.load(options.pop("method"))
    return ["all", "ring"] if kind.rings(kind.Options(**options)) else ["all"]


def train(
    case: dict[str, Any], *, together: Ranks = ALONE, micro_batch: int | None = None, gather: str = "all"
) -> dict[str, Tensor]:
    """The loss of each step, the gradients of the last one, and all weights, queues and centres after it."""
    method = made(**case)
    counts = COUNTS[together.world]
    shares = Shares(counts, together.rank)
    parameters = {name: value for name, value in method.named_parameters() if value.requires_grad}
    optimizer = torch.optim.SGD(parameters.values(), lr=0.05, momentum=0.9)
    found: dict[str, Tensor] = {}
    for step in range(STEPS):
        x, batch = drawn(step, method.requires.wide + method.requires.small)
        own = x[:, shares.rows]
        views = Views(lambda i, a, b, own=own: own[i, a:b], range(len(x)), 0, own.shape[1], method.requires.wide)
        optimizer.zero_grad()
        losses, z = training_step(
            method, views, batch, shares=shares, ranks=together, ring=gather == "ring", micro_batch=micro_batch
        )
        optimizer.step()
        method.after_step(z, batch)
        found[f"loss {step}"] = losses.total
        found |= {f"part {step} {name}": value for name, value in losses.parts.items()}
    found |= {f"grad {name}": value.grad for name, value in parameters.items() if value.grad is not None}
    return {name: value.detach().clone().contiguous() for name, value in (found | method.state_dict()).items()}


def drawn(step: int, views: int) -> tuple[Tensor, Batch]:
    """Views `[v, n, 4]` of which the second are near the first, and what a loss may know."""
    source = torch.Generator().manual_seed(step)
    x = torch.randn(1, SAMPLES, 4, generator=source, dtype=torch.float64)
    x = x + 0.3 * torch.randn(views, SAMPLES, 4, generator=source, dtype=torch.float64)
    ids = (torch.arange(SAMPLES) + 5 * step) % 30
    ids[7] = ids[2]  # one content twice, on two ranks
    labels = torch.arange(SAMPLES) % 3
    labels[4] = -1
    targets = torch.randn(SAMPLES, 6, generator=source, dtype=torch.float64)
    scores = (ids % 7) / 7.0
    return x, Batch(ids=ids, labels=labels, scores=scores, targets=targets, progress=step / STEPS)


def all_cases(together: Ranks, folder: Path, chosen: Sequence[str]) -> None:
    """Train all cases, plain and with gradient caching; what each rank has goes to a file of its own."""
    for number, (name, case) in enumerate(cases().items()):
        if not chosen or name in chosen:
            for micro_batch, gather in product((None, CACHED), gathers(name)):
                path = folder / f"{number}-{micro_batch}-{gather}-{together.rank}.safetensors"
                found = train(copy.deepcopy(case), together=together, micro_batch=micro_batch, gather=gather)
                save_file(found, path)


class _Latents(TorchDispatchMode):
    """Sees all tensors that are made, and knows by their width how many rows of latents they hold."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width, self.most = width, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, tuple | list) else [made]:
            if isinstance(tensor, Tensor) and tensor.ndim > 1 and tensor.shape[-1] == self.width:
                self.most = max(self.most, tensor.numel() // self.width)
        return made


def holdings(together: Ranks) -> None:
    """With a ring no rank ever holds the latents of more samples than it embeds, checked by each of them."""
    own, width, hidden = 4, 10, 8
    shares = Shares((own,) * together.world, together.rank)
    for name, case in cases().items():
        if "ring" not in gathers(name):
            continue
        known = {field.name for field in fields(registry.load(case["method"]).Options)}
        narrow = {"projector_out": width, "projector_hidden": hidden, "predictor_hidden": hidden}
        method = made(**case, **{option: size for option, size in narrow.items() if option in known})
        rows = 2 * (CELLS if method.requires.maps else 1)  # of latents, of each sample
        x, batch = drawn(0, method.requires.wide)
        batch = replace(batch, ids=torch.arange(shares.samples), labels=torch.full((shares.samples,), -1))
        x = x[:, :own]
        for gather, most in (("ring", rows * own), ("all", rows * shares.samples)):
            views = Views(lambda i, a, b, x=x: x[i, a:b], range(2), 0, own, 2)
            with _Latents(width) as seen:
                training_step(method, views, batch, shares=shares, ranks=together, ring=gather == "ring")
            assert seen.most == most, f"{name}, {gather}: {seen.most} rows of latents"


def normalised(together: Ranks, micro_batch: int | None) -> dict[str, Tensor]:
    """A step in training mode, with norms over all ranks: gradients, and statistics after it."""
    method = made("simclr").train()
    counts = (11,) if together.world == 1 else (6, 5)
    if together.world > 1:
        syncnorm.convert(method, "cpu")
    shares = Shares(counts, together.rank)
    x, batch = drawn(0, 2)
    own = x[:, shares.rows]
    views = Views(lambda i, a, b: own[i, a:b], range(2), 0, own.shape[1], 2)
    losses, _ = training_step(method, views, batch, shares=shares, ranks=together, micro_batch=micro_batch)
    found = {f"grad {name}": value.grad for name, value in method.named_parameters() if value.grad is not None}
    found |= {"loss": losses.total} | dict(method.named_buffers())
    return {name: value.detach().clone().contiguous() for name, value in found.items()}


def agreements(together: Ranks) -> None:
    """What ranks tell each other, checked by each of them."""
    rank, world = together.rank, together.world
    last = world - 1
    assert together.broadcast_numbers(rank + 0.25, 7) == (0.25, 7)
    assert together.broadcast({"by": rank}, by=last) == {"by": last}
    assert together.any(rank == last)
    assert not together.any(False)
    assert together.gather_objects([rank, rank]) == sorted([*range(world)] * 2)
    assert together.on_first(lambda: f"from {rank}") == "from 0"

    def refuse() -> None:
        raise DataError("nothing there")

    with pytest.raises(UserError, match="nothing there"):
        together.on_first(refuse)
    shares = together.shares(2 * rank)
    assert shares.counts == tuple(2 * one for one in range(world))
    flags = shares.gather(torch.arange(2 * rank) % 2 == 1)
    assert flags.tolist() == [False, True] * (sum(shares.counts) // 2)
    parts = shares.reduce_scatter(torch.arange(1.0, 1 + shares.samples)[None].repeat(2, 1), 1)
    assert torch.equal(parts, world * torch.arange(1.0, 1 + shares.samples)[None].repeat(2, 1)[:, shares.rows])

    def fill() -> None:
        if rank == last:
            raise MemoryError

    with pytest.raises(OutOfMemory), together.together():
        fill()
    large = [torch.full((3000, 3000), float(rank)), torch.tensor([rank]), torch.full((2,), float(rank))]
    together.broadcast_tensors(large, by=last)
    assert all(bool((tensor == last).all()) for tensor in large)
    together.all_reduce(large)
    assert all(bool((tensor == last * world).all()) for tensor in large)
    parameters = [torch.nn.Parameter(torch.zeros(2)) for _ in range(2)]
    if rank == last:
        parameters[1].grad = torch.ones(2)
    together.add_gradients(parameters)
    assert parameters[0].grad is None
    assert parameters[1].grad is not None
    assert parameters[1].grad.tolist() == [1.0, 1.0]


if __name__ == "__main__":
    torch.set_num_threads(1)
    with ranks.opened("cpu") as all_ranks:
        agreements(all_ranks)
        rounds.checked(all_ranks, COUNTS[all_ranks.world])
        rounds.shortage(all_ranks)
        holdings(all_ranks)
        all_cases(all_ranks, Path(sys.argv[1]), sys.argv[2:])
        if all_ranks.world == 2:
            for size in (None, 3):
                save_file(normalised(all_ranks, size), Path(sys.argv[1]) / f"norm-{size}-{all_ranks.rank}.safetensors")
    torchrun.leave(0)
