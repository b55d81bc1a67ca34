"""The data that an encoder is used on, and what of it could not be read."""

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar import given
from nearfar.data.location import is_hub, is_pattern, parse_data
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Skipped, Source

SKIPPED = "skipped.csv"
_SHOWN = 5  # names of samples in a message
_log = logging.getLogger("nearfar")


def open_for(
    encoder: "Encoder",
    data: Any,
    *,
    least: int = 1,
    **reading: Any,
) -> "Source":
    """`data`, a path or an object, opened as the encoder's modality, to be fetched as the encoder needs it.

    `reading` is what `open_source` takes beside; columns are those of the encoder's training when not given.
    """
    modality = registry.load(encoder.config["modality"])
    with given.holding() as hold:
        name = os.fspath(hold("data", data))
        return open_source(modality, name, config=encoder.config, least=least, **reading)


def origin_of(data: Any) -> str | None:
    """The folder, file or pattern of files that DATA is, as an absolute path, or the name of what is built in.

    None for an object or another name.
    """
    if not isinstance(data, str | os.PathLike):
        return None
    path, _ = parse_data(os.fspath(data), builtins=registry.builtins())
    if path in registry.builtins():
        return path
    there = os.path.exists(path) or (is_pattern(path) and not is_hub(path))
    return os.path.abspath(path) if there else None


def unreadable(*sources: "Source | None") -> "list[Skipped]":
    """What could not be read so far, each sample once."""
    return list({one.key: one for source in sources if source is not None for one in source.skipped}.values())


def list_unreadable(folder: Path, *sources: "Source | None", name: str = SKIPPED) -> "list[Skipped]":
    """What could not be read so far; written to `folder/<name>` where there is any. Raises as `files.write`."""
    from nearfar.data.skipped import write_skipped

    found = unreadable(*sources)
    if found:
        write_skipped(folder / name, found)
    return found


def tell_unreadable(*sources: "Source | None", listed: Path | None = None) -> list[str]:
    """Say how many samples could not be read and which, in a warning; returns it as a list of at most one line.

    `listed` is the file that names all of them.
    """
    found = unreadable(*sources)
    if not found:
        return []
    most = _SHOWN if listed is not None or len(found) > 4 * _SHOWN else len(found)
    shown = "; ".join(f"{one.key} ({one.reason})" for one in found[:most])
    more = f"; and {len(found) - most} more" if len(found) > most else ""
    where = f" All are listed in {listed}." if listed is not None else ""
    count = "1 sample" if len(found) == 1 else f"{len(found)} samples"
    line = f"{count} could not be read and {'is' if len(found) == 1 else 'are'} left out: {shown}{more}.{where}"
    _log.warning("%s", line)
    return [line]
