"""The model card of an export: README.md, with the run's own figures and code that loads it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from nearfar import __version__
from nearfar.contract import Encoder
from nearfar.exporting.registry import PARTS, PREPROCESSING, TARGETS, WHITENING
from nearfar.exporting.written import Written
from nearfar.whitening import Whitening

NAME = "README.md"
_LICENCE = (
    "Not known. It depends on the data that the encoder has learnt from, and on the weights that it started from, of "
    "which nearfar knows neither licence: say here what holds, before you pass it on."
)
_NOT_JUDGED = "No evaluation of it is kept: `nearfar evaluate` says how good it is on labelled data."

Table = Sequence[Sequence[str]]


def card(
    encoder: Encoder,
    written: Written,
    *,
    title: str,
    to: str,
    inside: frozenset[str],
    settings: Mapping[str, str],
    figures: Sequence[tuple[str, Table]],
    remarks: Iterable[str],
) -> str:
    """The card in Markdown. `figures` are tables with their headings, the first row naming the columns; `remarks` stand
    under them."""
    shown = without_folders(str(encoder.config["encoder"]))
    parts = [
        f"---\nlicense: unknown\nlibrary_name: {written.library}\ntags: [feature-extraction, nearfar]\n---",
        f"# {_plain(title)}",
        f"An encoder of the kind {encoder.config['modality']} ({shown}), as {TARGETS[to].line}. "
        f"Written by nearfar {__version__}.",
        "## Load it",
        f"In this folder:\n\n```python\n{written.loading.strip()}\n```",
        "## What goes in and comes out",
        _rows([["input", "is"], *([f"`{name}`", meaning] for name, meaning in written.inputs.items())]),
        f"Vectors [n, {encoder.dim}], {said_of(inside, whitened=isinstance(encoder.output, Whitening))}",
        "\n".join(f"- {note}" for note in written.notes),
        "## How good it is",
    ]
    for heading, table in figures:
        parts += [f"### {_plain(heading)}", _rows(table)]
    parts += ["\n".join(f"- {_plain(one)}" for one in remarks)] if figures else [_NOT_JUDGED]
    if settings:
        parts += ["## How it was made", _rows([["setting", "value"], *([name, one] for name, one in settings.items())])]
    parts += ["## Licence", _LICENCE]
    return "\n\n".join(part for part in parts if part) + "\n"


def without_folders(name: str) -> str:
    """A name with the paths in it cut to their last part: where they lie is nobody else's business."""
    return re.sub(r"/[^:@=,]*/", "", name)


def said_of(inside: frozenset[str], *, whitened: bool) -> str:
    """Whether the last layer and the preprocessing are inside."""
    if not whitened:
        last = "the encoder's features: it has no whitening."
    elif WHITENING in inside:
        last = f"with the whitening ({PARTS[WHITENING]}), as nearfar gives them."
    else:
        last = f"without the whitening ({PARTS[WHITENING]}), which was left out: nearfar's own vectors differ."
    return last + (" The preprocessing is inside." if PREPROCESSING in inside else "")


def _rows(table: Table) -> str:
    first, *others = ([_plain(cell).replace("|", "\\|") or " " for cell in row] for row in table)
    return "\n".join(f"| {' | '.join(row)} |" for row in [first, ["---"] * len(first), *others])


def _plain(text: str) -> str:
    """Text of a user's on one line, and without markup of HTML."""
    return " ".join(text.split()).replace("<", "&lt;")
