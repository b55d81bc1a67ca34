"""The training step: every step is split at the embedding, for every method, batch size and number of ranks.

    views --embed--> latents | gathered leaves --loss--> gradient at the leaves --> pushed into the graph of embed

The encoder runs under autocast, the loss in fp32 on leaves that belong to no graph. What the loss stage owns
(prototypes, a learned scale) gets its gradient from the same single backward call.

A batch that is too large for one graph is embedded in pieces, the graph of the last one alone being kept; the others
are embedded again, from the same random state, when their gradient is known (Gao et al., "Scaling deep contrastive
learning batch size under memory limited setup", 2021). One piece is the plain step. Ranks hold some samples each and
see the latents of all, or on a ring those of one rank at a time; their shares of the loss, and so their gradients, sum
to those of the whole batch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from nearfar import diagnostics
from nearfar.contract import Batch, Latents, Losses, Method, Views
from nearfar.kernels import Ring
from nearfar.training.ranks import ALONE, Ranks, Shares
from nearfar.training.statistics import Statistics
from nearfar.training.syncnorm import synchronised

_HEALTH_ROWS = 256  # of the features: health looks at no more, and features are wide


def training_step(
    method: Method,
    views: Views,
    batch: Batch,
    *,
    shares: Shares | None = None,
    ranks: Ranks = ALONE,
    ring: bool = False,
    micro_batch: int | None = None,
    autocast: torch.dtype | None = None,
    seed: Callable[[int], object] = lambda piece: None,
) -> tuple[Losses, Latents]:
    """Leave the gradients of one step on the parameters; returns the loss of the whole batch and the latents.

    These are those of all ranks, detached and in fp32, with the features of the first few hundred samples of this one.
    With `ring` they are this rank's own, and those of the others only pass by in the loss, which must be able to do so.
    Beside the method's own parts, `pull` says how much the loss depends on the latents (`nearfar.diagnostics.pull`).
    Where a piece was embedded again, `replay_deviation` in the logs says how far it came out otherwise, in units of its
    largest latent.

    `views` are those of this rank's own rows of `batch`, which lies on the ranks as `shares` say. `micro_batch` is the
    most samples that are embedded with one graph; `seed` is called with a piece's number each time before it is
    embedded. `autocast` is the type of the encoder's arithmetic; None is that of its weights. Raises OutOfMemory, on
    all ranks, where one runs out of memory: all but the gradients is then as before.
    """
    shares = shares or Shares((views.samples,))
    around = Ring(shares.counts, shares.rank, ranks.agree) if ring and ranks.world > 1 else None
    batch = replace(batch, rows=shares.rows, world=ranks.world, ring=around)
    seen_by_loss = Shares((views.samples,)) if around else shares
    device = batch.ids.device.type
    pieces = pieces_of(views.samples, _count(method, shares, micro_batch))
    work = _Work(method, views, pieces, shares.samples, autocast, seed)
    by = next(rank for rank, count in enumerate(shares.counts) if count)  # a rank that has latents
    with Statistics(method) as statistics:
        with ranks.together():
            seen = work.see(statistics)
        embedded, targets = _joined([z for z, _ in seen]), _joined([z for _, z in seen])
        wanting = {name for name, latent in seen[-1][0].items() if latent.requires_grad} if seen else set()
        if 0 in shares.counts:
            shown = [{name: z[:, :0].cpu() for name, z in some.items()} for some in (embedded, targets)]
            (one, other), wanting = ranks.broadcast((shown, wanting), by=by)
            if not seen:
                embedded, targets = ({n: z.to(device) for n, z in some.items()} for some in (one, other))

        leaves = {name: seen_by_loss.gather(z, 1).requires_grad_(name in wanting) for name, z in embedded.items()}
        fixed = {name: seen_by_loss.gather(z, 1) for name, z in targets.items()}
        with ranks.together(), torch.autocast(device, enabled=False):
            losses = method.loss(Latents(**leaves, **fixed), batch)
            if losses.total.requires_grad:
                losses.total.backward()  # type: ignore[no-untyped-call]
        gradients = _scattered({name: leaves[name] for name in leaves if name in wanting}, seen_by_loss, ranks)
        with ranks.together():
            work.push(gradients, [z for z, _ in seen], statistics)
        if len(pieces) > 1 or ranks.world > 1:
            statistics.settle(ranks, by=by)
    ranks.add_gradients([parameter for parameter in method.parameters() if parameter.requires_grad])
    latents = Latents(**{name: leaf.detach() for name, leaf in leaves.items()}, **fixed)
    latents.features, latents.learning = work.features, frozenset(wanting)
    pulls = [diagnostics.pull(embedded[name], gradient) for name, gradient in gradients.items()]
    return _summed(losses, ranks, pulls, work.deviation), latents


def _count(method: Method, shares: Shares, micro_batch: int | None) -> int:
    """In how many pieces this rank embeds its samples: in equally many on all where their norms are synchronised."""
    own = shares.counts[shares.rank]
    if micro_batch is None or not method.encoder.splits:
        return min(1, own)
    if synchronised(method):
        return min(-(-max(shares.counts) // micro_batch), min(shares.counts))
    return -(-own // micro_batch)


def pieces_of(samples: int, count: int) -> list[slice]:
    """`samples` in so many pieces, as equal as can be."""
    bounds = [samples * i // max(1, count) for i in range(count + 1)]
    return [slice(start, stop) for start, stop in pairwise(bounds)]


@dataclass
class _Work:
    """A rank's samples in micro-batches: embedded one after the other, and again once their gradients are known."""

    method: Method
    views: Views
    pieces: list[slice]
    samples: int
    autocast: torch.dtype | None
    seed: Callable[[int], object]
    features: Tensor | None = None
    """[v, b, dim] of the first samples, in fp32."""
    deviation: Tensor | None = None

    def see(self, statistics: Statistics) -> list[tuple[Latents, Latents]]:
        """Latents and targets of each piece; those of the last have a graph."""
        seen = []
        for number, piece in enumerate(self.pieces):
            if number:
                statistics.begin()
            some = self.views.part(piece.start, piece.stop)
            with torch.set_grad_enabled(number == len(self.pieces) - 1):
                embedded = self._embed(number, some)
            with torch.no_grad(), self._arithmetic():
                targets = self.method.targets(some)
            statistics.add((piece.stop - piece.start) / self.samples)
            features = embedded.features if embedded.features is not None else targets.features
            if features is not None and (self.features is None or self.features.shape[1] < _HEALTH_ROWS):
                before = [] if self.features is None else [self.features]
                self.features = torch.cat([*before, features.float()], 1)
            embedded.features = targets.features = None
            seen.append((embedded, targets))
        return seen

    def push(self, gradients: dict[str, Tensor], seen: list[Latents], statistics: Statistics) -> None:
        """Push the gradients `[v, b, d]` through the kept graph, and through one made anew for each other piece."""
        if seen:
            self._backward(len(seen) - 1, seen[-1], gradients)
        for number in range(len(seen) - 1):
            statistics.begin()
            piece = self.pieces[number]
            again = self._embed(number, self.views.part(piece.start, piece.stop))
            if self.deviation is None:
                self.deviation = _deviation(again, seen[number])
            self._backward(number, again, gradients)

    def _embed(self, number: int, views: Views) -> Latents:
        self.seed(number)
        with self._arithmetic():  # of its own each time: it remembers weights that it cast without a graph
            return self.method.embed(views)

    def _arithmetic(self) -> torch.autocast:
        kind = next(self.method.parameters()).device.type
        return torch.autocast(kind, self.autocast or torch.bfloat16, enabled=self.autocast is not None)

    def _backward(self, number: int, embedded: Latents, gradients: dict[str, Tensor]) -> None:
        pairs = [(embedded[name], grad[:, self.pieces[number]]) for name, grad in gradients.items()]
        torch.autograd.backward([z for z, _ in pairs], [grad.to(z.dtype) for z, grad in pairs])


def _joined(pieces: Sequence[Latents]) -> dict[str, Tensor]:
    """The pieces' latents `[v, b, d]` as one, detached, in fp32, or in fp64 where they are fp64 already."""
    names = pieces[0] if pieces else ()
    whole = {name: [z[name].detach() for z in pieces] for name in names}
    joined = {name: parts[0] if len(parts) == 1 else torch.cat(parts, 1) for name, parts in whole.items()}
    return {name: z.to(torch.promote_types(z.dtype, torch.float32)) for name, z in joined.items()}


def _scattered(leaves: dict[str, Tensor], shares: Shares, ranks: Ranks) -> dict[str, Tensor]:
    """The gradients of this rank's own rows, summed over all ranks' losses, of those latents that any has one for."""
    there = [name for name, leaf in leaves.items() if ranks.any(leaf.grad is not None)]
    grads = {name: leaves[name].grad for name in there}
    return {
        name: shares.reduce_scatter(torch.zeros_like(leaves[name]) if g is None else g, 1) for name, g in grads.items()
    }


@torch.no_grad()
def _deviation(again: Latents, before: Latents) -> Tensor:
    return torch.stack([(again[name] - z).abs().max() / z.abs().max() for name, z in before.items()]).max()


def _summed(losses: Losses, ranks: Ranks, pulls: list[Tensor], deviation: Tensor | None) -> Losses:
    """The loss and its parts, and how much it depends on each latent, of all of which this rank has its share."""
    logs = losses.logs if deviation is None else {**losses.logs, "replay_deviation": deviation}
    total = losses.total.detach().clone()
    parts = {name: value.detach().clone() for name, value in losses.parts.items()}
    if pulls:
        parts["pull"] = torch.stack(pulls).sum()
    ranks.all_reduce([total, *parts.values()])
    return Losses(total, logs, parts)
