"""What every loss function does: checked settings, no autocast, and nothing that is not finite is hidden."""

import functools
import inspect
import typing
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor

from nearfar.losses.core.settings import rules_of, settle

F = TypeVar("F", bound=Callable[..., Any])


def checked(function: F) -> F:
    """The function with the settings it is called with by keyword checked: ConfigError names one out of range."""
    rules = rules_of(function)

    @functools.wraps(function)
    def call(*inputs: Any, **options: Any) -> Any:
        settle(rules, options)
        return function(*inputs, **options)

    call.__signature__ = plain_signature(function)  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def plain_signature(function: Callable[..., Any]) -> inspect.Signature:
    """The signature without what annotations say of settings, for help."""
    hints, signature = typing.get_type_hints(function), inspect.signature(function)
    plain = [p.replace(annotation=hints.get(name, p.annotation)) for name, p in signature.parameters.items()]
    return signature.replace(parameters=plain)


def objective(function: F, *, padded: tuple[str, ...] = ()) -> F:
    """`checked`, computed without autocast, and nan where an entry of an embedding is not finite.

    A hinge, a mask or a comparison would otherwise hide such an entry, and training would go on. The whole loss is nan,
    and its gradient. Inputs named in `padded` may hold anything in places that do not count.
    """
    call = checked(function)
    names = list(inspect.signature(function).parameters)

    @functools.wraps(call)
    def loss(*inputs: Any, **options: Any) -> Any:
        # Inputs beyond the names are more views.
        given = [x for k, x in enumerate(inputs) if k >= len(names) or names[k] not in padded]
        given += [x for name, x in options.items() if name not in padded]
        embeddings = list(_floating(given))
        with torch.autocast(embeddings[0].device.type if embeddings else "cpu", enabled=False):
            return if_finite(call(*inputs, **options), *embeddings)

    return loss  # type: ignore[return-value]


def if_finite(value: Tensor, *embeddings: Tensor) -> Tensor:
    """The value, or nan with gradient nan where an entry of the embeddings is not finite."""
    for z in embeddings:
        if z.numel():
            low, high = z.detach().aminmax()
            value = value * (low * 0 + high * 0 + 1).to(value.dtype)
    return value


def _floating(inputs: Iterable[Any]) -> Iterator[Tensor]:
    for x in inputs:
        if isinstance(x, Tensor):
            if x.is_floating_point():
                yield x
        elif isinstance(x, (list, tuple)):
            yield from _floating(x)
