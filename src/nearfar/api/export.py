"""A trained encoder in the form of another library."""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import ConfigError, DataError, OutputError

if TYPE_CHECKING:
    from nearfar.contract import Encoder

_TOLD = (
    "data",
    "modality",
    "method",
    "encoder",
    "width",
    "pretrained",
    "teacher",
    "batch_size",
    "optimizer",
    "lr",
    "seed",
)
"""Settings of a run that its card names."""


@dataclass(frozen=True)
class Exported:
    """What an export has written: its folder, the parts that are inside, and what was checked."""

    path: Path
    inside: Sequence[str]
    vectors: str
    """Whether the last layer and the preprocessing are inside, in a sentence."""
    notes: Sequence[str] = field(default_factory=list)


def export(
    encoder: "Encoder | str | os.PathLike[str]",
    to: str,
    out: str | os.PathLike[str],
    *,
    inside: Sequence[str] | None = None,
) -> Exported:
    """Write an encoder, or that of a run folder, into the new or empty folder `out`, with a model card.

    `to` is one of `exporting.registry.TARGETS`. `inside` names what of `exporting.registry.PARTS` goes along: by
    default the whitening where the encoder has one, none for ["none"]. The vectors are compared with the encoder's own.
    Raises UserError and MissingExtra.
    """
    from nearfar.api.load import load_on
    from nearfar.exporting import card, registry
    from nearfar.files import cannot_write
    from nearfar.whitening import Whitening

    registry.check_parts(to, inside or ())
    write = registry.load(to)
    folder = Path(out).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{str(out)!r} is there already, and no empty folder: give another to export to.")
    found, run = load_on(encoder, "cpu")
    whitened = isinstance(found.output, Whitening)
    if inside is not None and registry.WHITENING in inside and not whitened:
        raise ConfigError("This encoder has no whitening: leave it out of what goes inside.")
    parts = frozenset([registry.WHITENING] if whitened else []) if inside is None else frozenset(inside)
    parts &= registry.PARTS.keys()
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    except OSError as error:
        raise cannot_write(folder, error) from None
    title = (run or folder).name if run is not None or not isinstance(encoder, str) else card.without_folders(encoder)
    try:
        written = write(found.eval(), draft, parts)
        text = card.card(
            found,
            written,
            title=title,
            to=to,
            inside=parts,
            **_of_run(run),
        )
        (draft / card.NAME).write_text(text, encoding="utf-8")
        folder.mkdir(exist_ok=True)
        for path in draft.iterdir():
            path.replace(folder / path.name)
    except OSError as error:
        raise cannot_write(folder, error) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(folder, sorted(parts), card.said_of(parts, whitened=whitened), written.notes)


def _of_run(run: Path | None) -> dict[str, Any]:
    """What a run says of itself: settings, figures and remarks for the card."""
    found: dict[str, Any] = {"settings": {}, "figures": [], "remarks": []}
    if run is None:
        return found
    from nearfar.api.finish import EVALUATION
    from nearfar.evaluation import table
    from nearfar.evaluation.result import Evaluation
    from nearfar.exporting.card import without_folders
    from nearfar.files import read_json
    from nearfar.training.run_folder import CONFIG, read_config

    if (run / CONFIG).is_file():
        config = read_config(run / CONFIG)
        sections = [one for name, one in config.items() if name != "chosen" and isinstance(one, dict)]
        settings = {name: value for section in sections for name, value in section.items() if name in _TOLD}
        found["settings"] = {name: without_folders(str(settings[name])) for name in _TOLD if name in settings}
    try:
        evaluation = Evaluation.from_json(read_json(run / EVALUATION))
    except (DataError, OSError, ValueError, AttributeError):  # there is none, or a damaged one
        return found
    if evaluation.steps is not None:
        found["settings"]["steps"] = str(evaluation.steps)
    names = table.header(evaluation)
    found["figures"] = [(heading, [names, *rows]) for heading, rows in table.sections(evaluation)]
    found["remarks"] = table.footer(evaluation)
    return found
