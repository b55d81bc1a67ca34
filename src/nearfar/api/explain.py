"""Explain why two samples are near."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearfar.errors import OutputError, must

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Source
    from nearfar.inspection.explain.explanation import Explanation


def explain(
    encoder: "Encoder | str | os.PathLike[str]",
    a: Any,
    b: Any,
    *,
    within: Any = None,
    out: str | os.PathLike[str] | None = None,
    faithfulness: bool = False,
    seed: int = 0,
    device: str | None = None,
) -> "Explanation":
    """Why samples `a` and `b` are as near as they are by an encoder, or by that of a run folder or of a published name.

    A sample is one as the encoder takes it (a path, a text, an array, a row as a mapping ...), `FILE#3` for row 3 of a
    file, a row as JSON, or the key of a sample `within` data; where that has two sides, the key of `a` is one of the
    first and that of `b` one of the second. With `faithfulness`, how faithful the explanation is is measured, too. The
    figure is written to `out`, a .png, when that is given. Raises UserError.
    """
    from nearfar.api.load import load_on
    from nearfar.api.sample import inputs_of, name_of
    from nearfar.inspection.explain import explanation

    if out is not None:
        check_figure(Path(out))
    loaded, _ = load_on(encoder, device)
    loaded.eval()
    sides = (None, None) if within is None else _sides(loaded, within)
    samples = [inputs_of(loaded, one, side) for one, side in zip((a, b), sides, strict=True)]
    names = [name_of(one, otherwise) for one, otherwise in zip((a, b), "AB", strict=True)]
    found = explanation.explain(loaded, *samples, names=names, faithfulness=faithfulness, seed=seed)
    if out is not None:
        found.save(out)
    return found


def check_figure(path: Path) -> None:
    """Raise ConfigError or OutputError where no figure is to be written: another one alone is replaced."""
    from nearfar.files import check_writable
    from nearfar.inspection.explain.figure import is_figure

    must(path.suffix.lower() == ".png", "--out must end in .png", got=str(path))
    check_writable(path)
    if path.exists() and not is_figure(path):
        raise OutputError(f"{str(path)!r} is there, and no figure of nearfar explain: give another name.")


def _sides(encoder: "Encoder", data: Any) -> "tuple[Source, Source]":
    """Where keys of the first and of the second sample are looked for."""
    from nearfar.api.sources import open_for

    source = open_for(encoder, data, split="all", grow=False)
    if source.relation is not None:
        return source.relation.queries, source.relation.answers
    sides = list(source.sides.values())
    return (sides[0], sides[1]) if sides else (source, source)
