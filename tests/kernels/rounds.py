"""Similarities over a ring of ranks against the whole matrix, checked by each rank of `tests.training.together`."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from nearfar.kernels import Pairs, Ring, row_lse, row_softplus
from nearfar.kernels.ring import over_ring
from nearfar.training.ranks import OutOfMemory, Ranks

WIDTH = 3
N = 11
WEIGHTS = torch.linspace(0.5, 2, N, dtype=torch.float64)
Rule = tuple[Pairs, dict[str, Tensor]]


def rules() -> dict[str, Rule]:
    """Which of N x N pairs count, and what else a log-sum-exp may be told of columns."""
    ids = torch.arange(N) % (N - 2)
    lonely = torch.cat([torch.tensor([99]), ids[1:]])
    valid = torch.arange(N) % 3 != 1
    bias = torch.linspace(-1, 1, N, dtype=torch.float64)
    return {
        "all": (Pairs(), {}),
        "others": (Pairs(self_column=0), {}),
        "other groups": (Pairs(row_groups=ids, column_groups=ids), {}),
        "own group, which one row has for itself": (Pairs(None, lonely, ids, "same"), {}),
        "some columns, with a bias each": (Pairs(), {"valid": valid, "bias": bias}),
        "one bias": (Pairs(self_column=0), {"bias": torch.tensor(0.7, dtype=torch.float64)}),
    }


def checked(together: Ranks, counts: tuple[int, ...]) -> None:
    """Values and gradients of rows, columns, scale and bias over the ring of all ranks, in float64."""
    ring = Ring(counts, together.rank, together.agree)
    for implementation in ("dense", "tiled"):
        for name, (pairs, more) in rules().items():
            expected = whole(lambda t: t.logsumexp(1), -torch.inf, pairs, more)
            found = over(row_lse, together, ring, pairs, more, implementation)
            compare(f"lse, {implementation}, {name}", found, expected, ring)
            if "valid" not in more:
                expected = whole(lambda t: t.exp().log1p().sum(1), 0.0, pairs, more)
                found = over(row_softplus, together, ring, pairs, more, implementation)
                compare(f"softplus, {implementation}, {name}", found, expected, ring)


def leaves(more: dict[str, Tensor]) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(0)
    found = {name: torch.randn(N, WIDTH, generator=source, dtype=torch.float64) for name in ("rows", "columns")}
    found["scale"] = torch.tensor(2.5, dtype=torch.float64)
    if "bias" in more:
        found["bias"] = more["bias"].clone()
    return {name: value.requires_grad_() for name, value in found.items()}


def whole(
    reduced: Callable[[Tensor], Tensor], nothing: float, pairs: Pairs, more: dict[str, Tensor]
) -> dict[str, Tensor]:
    """What the matrix gives that one process holds: the value of each row, `nothing` without pairs, and gradients."""
    have = leaves(more)
    logits = have["scale"] * have["rows"] @ have["columns"].T + have.get("bias", torch.zeros(()))
    ruled_out = torch.zeros(N, N)
    pairs.rule_out(ruled_out, slice(0, N), slice(0, N), 1.0)
    if "valid" in more:
        ruled_out[:, ~more["valid"]] = 1.0
    some = (ruled_out == 0).any(1)
    value = reduced(logits.masked_fill(ruled_out == 1, -torch.inf)[some])
    (value * WEIGHTS[some]).sum().backward()
    values = torch.full((N,), nothing, dtype=torch.float64).masked_scatter(some, value.detach())
    return {"value": values, **{name: leaf.grad for name, leaf in have.items() if leaf.grad is not None}}


def over(
    kernel: Callable[..., Tensor],
    together: Ranks,
    ring: Ring,
    pairs: Pairs,
    more: dict[str, Tensor],
    implementation: str,
) -> dict[str, Tensor]:
    """The same of this rank's own rows and columns; gradients of what all share are summed."""
    have = leaves(more)
    own = {name: have[name].detach()[ring.own].requires_grad_() for name in ("rows", "columns")}
    shared = {name: have[name] for name in ("scale", "bias") if name in have}
    rule = Pairs(
        None if pairs.self_column is None else ring.own.start,
        None if pairs.row_groups is None else pairs.row_groups[ring.own],
        pairs.column_groups,
        pairs.keep,
    )
    fixed: dict[str, Any] = {name: value for name, value in more.items() if name == "valid"}
    value = kernel(**own, **shared, **fixed, pairs=rule, implementation=implementation, ring=ring)
    (value * WEIGHTS[ring.own]).sum().backward()
    together.all_reduce([leaf.grad for leaf in shared.values() if leaf.grad is not None])
    return {
        "value": value.detach(),
        **{name: leaf.grad for name, leaf in (own | shared).items() if leaf.grad is not None},
    }


def compare(name: str, found: dict[str, Tensor], expected: dict[str, Tensor], ring: Ring) -> None:
    assert found.keys() == expected.keys(), name
    for key, value in expected.items():
        own = value[ring.own] if key in ("value", "rows", "columns") else value
        torch.testing.assert_close(
            found[key], own, rtol=1e-10, atol=1e-12, msg=lambda text, key=key: f"{name}, {key}: {text}"
        )


def shortage(together: Ranks) -> None:
    """Memory that runs out on one rank, in either round, ends the work of all; the next round is in order."""
    world, last = together.world, together.world - 1
    ring = Ring((2,) * world, together.rank, together.agree)
    rows, columns = (torch.ones(2, WIDTH, requires_grad=True) for _ in range(2))

    def go_round(*, fails_backward: bool | None) -> None:
        def score(rows: Tensor, block: Tensor, at: slice) -> Tensor:
            if together.rank == last and torch.is_grad_enabled() is fails_backward:
                raise MemoryError
            return (rows @ block.T).sum(1)

        over_ring(ring, score, rows, columns).sum().backward()

    for backward in (False, True):
        with pytest.raises(OutOfMemory), together.together():
            go_round(fails_backward=backward)
    rows.grad = columns.grad = None
    go_round(fails_backward=None)
    assert columns.grad is not None
    assert torch.equal(columns.grad, torch.full((2, WIDTH), 2.0 * world))
