"""Weights that a user has, from whichever training code: read without running code, and fitted to a network by name."""

import argparse
import logging
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nearfar.errors import ConfigError

_log = logging.getLogger("nearfar")
_AVERAGED = re.compile(r"teacher|(.*_)?ema")
_FOLLOWS = re.compile(r"student|target.*|momentum.*|.*_(k|key|target|momentum)")
"""Of two towers the weights to use are the teacher's or the average, not those that only follow or are averaged."""
_COUNT = "num_batches_tracked"  # of no use to a network that is trained

Adapt = Callable[[Tensor, torch.Size], Tensor | None]


class Fit(NamedTuple):
    """What of a file fits a network: `weights` by the network's names, found in the file under `prefix`."""

    weights: dict[str, Tensor]
    prefix: str
    missing: list[str]
    """Names of the network that the file does not have, or has in another shape."""
    unused: list[str]
    """Names of the file that the network does not have, or has in another shape."""


def read(path: Path) -> dict[str, Tensor]:
    """All tensors of a .safetensors file or of a PyTorch checkpoint (.pth, .pt, .bin, .ckpt, .tar), by dotted name.

    What stands in dictionaries within dictionaries (`state_dict`, `model`, `teacher`) has their names in front. Nothing
    but tensors and plain values is unpickled. Raises ConfigError.
    """
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is neither 'hub' nor a file of weights.")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        # A namespace holds the options of a run and does nothing; torch's own list lacks it.
        with torch.serialization.safe_globals([argparse.Namespace]):
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # of an altered file, they raise nearly anything
        raise ConfigError(f"{str(path)!r} cannot be read as weights: {_reason(error)}") from None
    tensors = dict(_tensors(found, ""))
    tensors.pop("", None)  # a file that is one tensor
    if not tensors:
        raise ConfigError(f"{str(path)!r} holds no weights: a dictionary of tensors by name is asked for.")
    return tensors


def fit(
    own: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    *,
    adapt: Adapt = lambda value, shape: value if value.shape == shape else None,
    also_known_as: Mapping[str, str] | None = None,
) -> Fit:
    """The tensors in `found` that are those of a network with the state dict `own`.

    They stand in the file under one prefix, such as `module.encoder_q.` or `teacher.backbone.`: the one under which
    most fit. `adapt` makes a tensor one of the shape, or None where it cannot. `also_known_as` gives other first parts
    of names (`0` for `conv1`, of a network that was taken apart).
    """
    fits = [_fit(own, {key: (key,) for key in found}, found, adapt)]
    if also_known_as:
        fits.append(_fit(own, {key: _renamed(key, also_known_as) for key in found}, found, adapt))
    return max(fits, key=lambda one: len(one.weights))


def load(
    network: torch.nn.Module, found: Mapping[str, Tensor], source: str, what: str, *, whole: bool = False, **how: Any
) -> list[str]:
    """Fill a network with what of `found` fits, as `fit` says, and log it; returns the names that stay as they were.

    Raises ConfigError where less than half of the network is there, or, for the `whole` of it, where anything lacks.
    """
    own = network.state_dict()
    weights, prefix, missing, unused = fit(own, found, **how)
    under = f" under {prefix!r}" if prefix else ""
    lacking = [name for name in missing if not name.endswith(_COUNT)]
    if len(missing) > len(own) / 2 or (whole and lacking):
        detail = _misfits(own, {name: found[name].shape for name in unused}, prefix, lacking)
        raise ConfigError(
            f"{source!r} does not fit the encoder {what!r}: {len(weights)} of {len(own)} weights have its names and "
            f"shapes{under}{detail}. Give the same encoder, width and stem as the file's."
        )
    if broken := [name for name, value in weights.items() if not value.isfinite().all()]:
        raise ConfigError(f"{source!r} holds weights that are not finite, and cannot be trained on: {_some(broken)}.")
    _log.info("%d of %d weights of %s are taken from %r%s", len(weights), len(own), what, source, under)
    if unused:
        _log.info("  not used are %d others: %s", len(unused), _some(unused))
    if missing:
        _log.warning(
            "%d of %d weights are not in %r and start fresh: %s", len(missing), len(own), source, _some(missing)
        )
    network.load_state_dict(weights, strict=False)
    return missing


def _fit(
    own: Mapping[str, Tensor], names: Mapping[str, Sequence[str]], found: Mapping[str, Tensor], adapt: Adapt
) -> Fit:
    """As `fit`, for tensors that go by the `names`, each of which may have several."""
    matches: dict[str, dict[str, str]] = {}
    for key, others in names.items():
        for name in others:
            for start in (0, *(dot.end() for dot in re.finditer(r"\.", name))):
                wanted = own.get(name[start:])
                if wanted is not None and adapt(found[key], wanted.shape) is not None:
                    matches.setdefault(name[:start], {})[name[start:]] = key
    if not matches:
        return Fit({}, "", list(own), list(found))
    prefix = max(matches, key=lambda prefix: (len(matches[prefix]), _preference(prefix), -len(prefix)))
    weights = {}
    for name, key in matches[prefix].items():
        value = adapt(found[key], own[name].shape)
        assert value is not None
        weights[name] = value
    used = set(matches[prefix].values())
    return Fit(weights, prefix, [name for name in own if name not in weights], [k for k in found if k not in used])


def _misfits(own: Mapping[str, Tensor], there: Mapping[str, torch.Size], prefix: str, lacking: Sequence[str]) -> str:
    """What of a network a file has in another shape or by another name, shortly; `there` are its tensors of no use."""
    shapes = [
        f"{name} is {list(there[prefix + name])}, not {list(own[name].shape)}"
        for name in lacking
        if prefix + name in there
    ]
    if shapes:
        return f" ({'; '.join(shapes[:2])})"
    named = [name for name in there if not name.endswith(_COUNT)]
    said = f"; it has {_some(named)}" if len(lacking) > len(own) / 2 else f"; it lacks {_some(lacking)}"
    alike = [name for name in named if there[name] == own[lacking[0]].shape]
    close = get_close_matches(prefix + lacking[0], alike, n=1)
    return f"{said} (is its {close[0]!r} meant to be {lacking[0]!r}?)" if close else said


def _preference(prefix: str) -> int:
    parts = prefix.split(".")
    return any(map(_AVERAGED.fullmatch, parts)) - any(map(_FOLLOWS.fullmatch, parts))


def _renamed(key: str, other: Mapping[str, str]) -> list[str]:
    """A dotted name with each of its parts replaced that has another name, one at a time."""
    parts = key.split(".")
    return [".".join([*parts[:i], other[part], *parts[i + 1 :]]) for i, part in enumerate(parts) if part in other]


def _tensors(thing: Any, prefix: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(thing, Tensor):
        yield prefix.removesuffix("."), thing
    elif isinstance(thing, Mapping):
        for name, value in thing.items():
            yield from _tensors(value, f"{prefix}{name}.")


def _reason(error: Exception) -> str:
    """Why a file cannot be read, without torch's advice to read it unsafely."""
    text = str(error)
    if type(error).__name__ == "UnpicklingError" and "GLOBAL" in text:
        kind = re.search(r"GLOBAL ([\w.]+)", text)
        return (
            f"it holds Python objects{f' ({kind[1]})' if kind else ''}, and reading those could run code. Where it was "
            f"made, save the weights alone: torch.save(model.state_dict(), FILE).{_instead(kind[1] if kind else '')}"
        )
    if "TorchScript" in text:
        return "it is a TorchScript program. Where it was made, save the weights: torch.save(model.state_dict(), FILE)."
    if type(error).__name__ == "UnpicklingError" or isinstance(error, LookupError) or "weights_only" in text:
        return "it is no file of PyTorch, or a damaged one."
    return text.split("\n")[0][:200]


_INSTEAD = {
    "lightly_train": "exported_models/exported_last.pt in the folder of its run holds them",
    "ultralytics": "its model.model.state_dict() has them",
}
"""Where codes whose checkpoints hold objects keep the weights alone."""


def _instead(kind: str) -> str:
    found = _INSTEAD.get(kind.partition(".")[0])
    return f" Of {kind.partition('.')[0]}, {found}." if found else ""


def _some(names: Sequence[str]) -> str:
    """The first few names, or where they begin, where these are fewer."""
    begins = Counter(name.partition(".")[0] for name in names)
    shown = [f"{begin}.*" for begin in begins] if 1 < len(begins) <= 5 < len(names) else list(names)
    return ", ".join(shown[:5]) + (", ..." if len(shown) > 5 else "")
