"""What an encoder takes: a tensor, or a mapping of tensors with a common first axis, a sample a row.

The training frame touches inputs by these functions alone: `from nearfar.contract import inputs; inputs.count(x)`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from hashlib import blake2b

import torch
from torch import Tensor

Inputs = Tensor | Mapping[str, Tensor]
"""`[n, ...]`, or several such tensors by name, such as token ids and their lengths."""


def count(x: Inputs) -> int:
    """The number of samples n."""
    return len(x) if isinstance(x, Tensor) else len(next(iter(x.values())))


def part(x: Inputs, start: int, stop: int) -> Inputs:
    """The samples from `start` to before `stop`."""
    return _each(x, lambda values: values[start:stop])


def take(x: Inputs, index: Tensor) -> Inputs:
    """The samples at the places `index` [k], in this order."""
    return _each(x, lambda values: values[index.to(values.device)])


def join(parts: Sequence[Inputs]) -> Inputs:
    """Samples of equal signature, one after another; of a single part, itself."""
    return parts[0] if len(parts) == 1 else _together(parts, torch.cat)


def stack(samples: Sequence[Inputs]) -> Inputs:
    """Single samples, without the first axis and of equal shapes, as a batch."""
    return _together(samples, torch.stack)


def unstack(x: Inputs) -> list[Inputs]:
    """The samples of a batch one by one, without the first axis."""
    if isinstance(x, Tensor):
        return list(x)
    return [{name: values[i] for name, values in x.items()} for i in range(count(x))]


def move(x: Inputs, device: torch.device | str) -> Inputs:
    """The same on a device."""
    return _each(x, lambda values: values.to(device))


def device(x: Inputs) -> torch.device:
    """Where they are."""
    return x.device if isinstance(x, Tensor) else next(iter(x.values())).device


def signature(x: Inputs) -> Hashable:
    """Names, types and shapes without the first axis: inputs of equal signature can be joined."""
    if isinstance(x, Tensor):
        return x.dtype, x.shape[1:]
    return tuple((name, values.dtype, values.shape[1:]) for name, values in sorted(x.items()))


def digest(sample: Inputs) -> int:
    """A number, below 0, that samples have in common when they are the same to the bit."""
    found = blake2b(digest_size=8)
    for name, values in [("", sample)] if isinstance(sample, Tensor) else sorted(sample.items()):
        found.update(f"{name} {values.dtype} {list(values.shape)} ".encode())
        found.update(values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return -1 - (int.from_bytes(found.digest(), "big") >> 1)


def _each(x: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    return change(x) if isinstance(x, Tensor) else {name: change(values) for name, values in x.items()}


def _together(parts: Sequence[Inputs], how: Callable[[list[Tensor]], Tensor]) -> Inputs:
    first = parts[0]
    if isinstance(first, Tensor):
        return how([one for one in parts if isinstance(one, Tensor)])
    named = [one for one in parts if not isinstance(one, Tensor)]
    return {name: how([one[name] for one in named]) for name in first}
