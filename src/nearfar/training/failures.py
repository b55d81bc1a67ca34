"""Why a rank failed, made known to the other ranks and to the launcher: each ends with the cause."""

import time
from contextlib import suppress

import torch.distributed as dist

from nearfar import torchrun
from nearfar.errors import NearfarError, TrainingError
from nearfar.files import from_json, to_json
from nearfar.torchrun import Place

_PATIENCE = 2.0  # seconds, for what another rank that fails at the same time has to say
_CAUSE, _COUNT, _FIRST = "cause", "failures", "error of rank 0"


def is_lost(error: Exception) -> bool:
    """Whether a collective failed because another rank is gone."""
    return isinstance(error, dist.DistError) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def tell(error: Exception, store: dist.Store, here: Place) -> None:  # type: ignore[name-defined]
    """Leave an error of this rank's own in the store and for torchrun; mark it with its rank where it fails alone.

    Errors that the first rank has too (a mistake in what was asked for, a loss that is not finite) are not marked.
    """
    known = isinstance(error, NearfarError)
    text = " ".join(str(error).split()) if known else f"{type(error).__name__}: {error}"
    name, alone = f"rank {here.rank} of {here.world}", not known
    with suppress(Exception):  # the store ends with the first rank, where that is its host
        if store.add(_COUNT, 1) == 1:
            store.set(_CAUSE, to_json([name, text]))
        if here.rank == 0:
            store.set(_FIRST, text)
    if here.rank > 0:
        alone = True
        with suppress(Exception):
            alone = _waited(store, _FIRST) != text
    if alone:
        torchrun.mark(error, name)
    torchrun.record(f"{name}: {text}")


def lost(store: dist.Store, here: Place) -> TrainingError:  # type: ignore[name-defined]
    """The error to raise where another rank is gone: with what it left in the store."""
    what = f"Another of the {here.world} ranks is gone."
    with suppress(Exception):
        name, text = from_json(_waited(store, _CAUSE) or "")
        what = f"{name[0].upper()}{name[1:]} failed: {text.rstrip('.')}."
    what = f"{what} What was saved is kept: go on with --resume, or let torchrun do so with --max-restarts."
    torchrun.record(what)
    return TrainingError(what)


def _waited(store: dist.Store, key: str) -> str | None:  # type: ignore[name-defined]
    """What another rank leaves in the store within two seconds; torch's own wait logs lines of its own."""
    end = time.monotonic() + _PATIENCE
    while not store.check([key]):
        if time.monotonic() > end:
            return None
        time.sleep(0.02)
    return str(store.get(key).decode())
