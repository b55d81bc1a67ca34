"""Load a trained encoder."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import RunError

if TYPE_CHECKING:
    from nearfar.contract import Encoder


def load(path: str | os.PathLike[str]) -> "Encoder":
    """The encoder of a run folder, or of an `encoder/` folder copied out of one, in evaluation mode on the CPU.

    Gives the same vectors, to the last bit, as the encoder that was saved. Raises RunError where there is none.
    """
    from nearfar.modalities import registry
    from nearfar.training import checkpoint
    from nearfar.whitening import Whitening

    folder = Path(path)
    if not folder.is_dir():
        raise RunError(f"There is no run folder at {str(path)!r}.")
    if (folder / "encoder").is_dir():
        folder = folder / "encoder"
    config = checkpoint.load_encoder_config(folder)
    with checkpoint.Undrawn():
        encoder = registry.load(config["modality"]).restore(config)
    if config.get("whitened"):
        encoder.output = Whitening(encoder.dim)
    checkpoint.load_encoder_weights(folder, encoder)
    return encoder.eval()
