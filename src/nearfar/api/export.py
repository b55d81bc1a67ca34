"""A trained encoder in the form of another library."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from nearfar.errors import OutputError

if TYPE_CHECKING:
    from nearfar.contract import Encoder


def export(encoder: "Encoder | str | os.PathLike[str]", to: str, out: str | os.PathLike[str]) -> Path:
    """Write an encoder, or that of a run folder, into the new or empty folder `out`, and return it.

    `to` is one of `exporting.registry.TARGETS`. Raises UserError.
    """
    from nearfar.api.load import load_on
    from nearfar.exporting import registry

    write = registry.load(to)
    folder = Path(out)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{str(out)!r} is there already, and no empty folder: give another to export to.")
    found, _ = load_on(encoder, "cpu")
    folder.mkdir(parents=True, exist_ok=True)
    write(found, folder)
    return folder
