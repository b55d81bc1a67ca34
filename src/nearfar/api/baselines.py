"""What a trained encoder must beat: the same encoder untrained, and the raw input."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from nearfar import given, randomness
from nearfar.errors import RunError
from nearfar.evaluation.task import STARTED, UNTRAINED
from nearfar.training.norms import settle_norms

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.contract import Encoder, Source

START = "start.safetensors"


def seed_weights(seed: int) -> None:
    """Seed torch for new weights, so that the untrained encoder can be made again."""
    torch.manual_seed(randomness.seed_of(seed, "weights"))


def first_weights(path: Path) -> dict[str, "Tensor"]:
    """The weights that a run started from, as it has kept them; raises RunError."""
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except Exception as error:  # of an altered file, safetensors raises its own error, OSError and others
        raise RunError(f"{str(path)!r}, from where the run started, cannot be read: {str(error)[:200]}.") from None


def start_of(encoder: "Encoder", run: Path | None) -> str:
    """What an evaluation calls the encoder as it was before training."""
    kept = run is not None and any(place.is_file() for place in _places(run))
    own = given.is_given(encoder.config.get("encoder"))
    return str(encoder.config.get("start") or (STARTED if kept and not own else UNTRAINED))


def _places(run: Path) -> list[Path]:
    """Where the first weights may lie: in a run folder, or the encoder's folder copied out of one."""
    return [run / "encoder" / START, run / START]


def untrained(encoder: "Encoder", source: "Source", run: Path | None = None) -> "Encoder":
    """The encoder as it was before training: from the run's saved start, or made again from its seed.

    Batch norms of a new encoder know nothing of the data; theirs are settled on some of it first. Where the trained
    one's features are whitened, its own are to be, too: the baseline is as good as it can be without learning.
    """
    from nearfar.modalities import registry
    from nearfar.modalities.network import held_again
    from nearfar.training.encoder_folder import load_weights

    config = encoder.config
    seed_weights(int(config.get("seed", 0)))
    with held_again(encoder):
        fresh = registry.load(config["modality"]).restore(config)
    start = None if run is None else next((place for place in _places(run) if place.is_file()), None)
    if start is not None:
        load_weights(start, fresh)
    else:
        fresh.acquaint(source)
        settle_norms(fresh, source)
    return fresh.to(next(encoder.parameters()).device).eval()
