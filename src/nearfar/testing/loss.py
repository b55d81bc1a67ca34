"""Does a loss keep its promises? It is a pure function of embeddings, exact in value and gradient, and hides no NaN."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from nearfar.errors import UserError
from nearfar.testing.comparing import check

Made = Callable[[int, torch.Generator], tuple[Any, ...]]

_SAMPLES, _DIM = 6, 5


def two_views(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Embeddings `[n, 5]` float64 of two views of n samples."""
    one = torch.randn(n, _DIM, generator=generator, dtype=torch.float64)
    return one, one + 0.5 * torch.randn(n, _DIM, generator=generator, dtype=torch.float64)


def check_loss(
    function: Callable[..., Tensor], make: Made = two_views, *, ordered: bool = False, **settings: Any
) -> None:
    """Check `function(*make(n, generator), **settings)`; raises AssertionError with a sentence.

    `make` gives n samples' arguments: float64 embeddings `[n, d]`, by default those of two views, and perhaps labels
    `[n]`. A loss that is `ordered` may depend on the order of the samples.
    """

    def given(n: int = _SAMPLES) -> list[Any]:
        return list(make(n, torch.Generator().manual_seed(0)))

    def value(arguments: list[Any]) -> Tensor:
        return function(*arguments, **settings)

    def gradients(arguments: list[Any]) -> tuple[Tensor, list[Tensor]]:
        leaves = [one.detach().clone().requires_grad_() if _floats(one) else one for one in arguments]
        loss = value(leaves)
        check(loss.requires_grad, "The loss has no gradient: it is cut off from its arguments.")
        found = torch.autograd.grad([loss.sum()], [one for one in leaves if _floats(one)], allow_unused=True)
        return loss.detach(), [torch.zeros(()) if one is None else one for one in found]

    kept = given()
    loss, slopes = gradients(kept)
    check(loss.ndim == 0 and bool(loss.isfinite()), f"The loss must be one finite number, got {loss}.")
    check(all(map(_equal, kept, given())), "The loss must not change its arguments.")
    check(torch.equal(loss, value(given())), "The loss of the same arguments must be the same.")
    check(all(bool(slope.isfinite().all()) for slope in slopes), "The gradient must be finite.")
    _check_slopes(value, given(), slopes)
    if not ordered:
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        shuffled = value([one[order] if isinstance(one, Tensor) and one.ndim else one for one in kept])
        check(bool(torch.allclose(shuffled, loss)), "The loss must not depend on the order of the samples.")
    low = [one.float() if _floats(one) else one for one in kept]
    check(_close(value(low), loss, 1e-4), "In float32 the loss must be that of float64, up to rounding.")
    with torch.autocast("cpu", torch.bfloat16):
        inside, slopes_inside = gradients(low)
    check(_close(inside, loss, 1e-3), "Under autocast the loss must stay in float32.")
    near = all(_close(one, other, 1e-2) for one, other in zip(slopes_inside, slopes, strict=True))
    check(near, "Under autocast the gradient must be the one outside of it.")
    for what, factor in {"equal rows": 1.0, "rows of zeros": 0.0}.items():
        loss, slopes = gradients([one[:1].repeat(len(one), 1) * factor if _floats(one) else one for one in kept])
        fine = bool(loss.isfinite()) and all(bool(slope.isfinite().all()) for slope in slopes)
        check(fine, f"With {what} the loss and its gradient must be finite.")
    for place, one in enumerate(kept):
        if _floats(one):
            holed = [other.clone() if _floats(other) else other for other in kept]
            holed[place][1, 0] = torch.nan
            check(not bool(value(holed).isfinite()), f"A NaN in argument {place} must not give a finite loss.")
    try:
        loss, slopes = gradients(given(1))
    except UserError:
        return
    fine = not bool(loss.isnan()) and not any(bool(slope.isnan().any()) for slope in slopes)
    check(fine, "With one sample the loss must be a number, with a gradient, or raise a UserError.")


def _check_slopes(value: Callable[[list[Any]], Tensor], arguments: list[Any], slopes: list[Tensor]) -> None:
    """The gradient along a few random directions is the difference of two values."""
    generator, step = torch.Generator().manual_seed(1), 1e-6
    floats = [i for i, one in enumerate(arguments) if _floats(one)]
    for _ in range(3):
        directions = {i: torch.randn(arguments[i].shape, generator=generator, dtype=torch.float64) for i in floats}
        ahead, behind = (
            value([one + sign * step * directions[i] if i in directions else one for i, one in enumerate(arguments)])
            for sign in (1, -1)
        )
        measured = (ahead - behind) / (2 * step)
        expected = sum((directions[i] * slope).sum() for i, slope in zip(floats, slopes, strict=True))
        check(bool(torch.isclose(measured.double(), torch.as_tensor(expected), rtol=1e-4, atol=1e-6)), _SLOPES)


_SLOPES = "The gradient is not the slope of the loss: compare it with torch.autograd.gradcheck."


def _floats(one: Any) -> bool:
    return isinstance(one, Tensor) and one.is_floating_point()


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, Tensor) else bool(one == other)


def _close(one: Tensor, other: Tensor, tolerance: float) -> bool:
    return bool(torch.allclose(one.double(), other.double(), rtol=tolerance, atol=tolerance))
