"""One sample as an encoder takes it, from what a user names: a path, a row of a file, JSON, a key, or the sample."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nearfar.errors import DataError

if TYPE_CHECKING:
    from nearfar.contract import Encoder, Inputs, Source


def inputs_of(encoder: "Encoder", given: Any, within: "Source | None" = None) -> "Inputs":
    """One sample as inputs `[1, ...]` on the encoder's device; raises DataError.

    `given` is a sample as the encoder takes it, or a text: the key of a sample of `within`, `FILE#3` for row 3 of a
    file, or a row as JSON.
    """
    from nearfar.contract import inputs

    if isinstance(given, str):
        if within is not None and given in within.keys:
            return row_of(encoder, within, list(within.keys).index(given))
        if not os.path.exists(given):
            file, mark, place = given.rpartition("#")
            if mark and os.path.isfile(file):
                return row_of(encoder, *found_in(encoder, file, place))
            row = _of_json(given)
            given = row if encoder.is_sample(row) else given
    try:
        if encoder.is_sample(given):
            return inputs.move(encoder.preprocess([given]), encoder.device)
        problem = "it is none"
    except DataError as error:
        problem = str(error).removesuffix(".")
    where = "" if within is None else f", and it is the key of no sample of {within.name!r}"
    raise DataError(
        f"{given!r:.100} is no sample for this encoder: {problem}{where}. "
        "A row of a file is FILE#3, or the row as JSON."
    )


def row_of(encoder: "Encoder", source: "Source", row: int) -> "Inputs":
    """A sample of data as inputs `[1, ...]`; raises DataError where it cannot be read."""
    raw, kept = source.fetch(np.array([row], dtype=np.int64))
    if not len(kept):
        key = source.keys[row]
        reason = next((one.reason for one in source.skipped if one.key == key), "it cannot be read")
        raise DataError(f"{key!r} of {source.name!r} cannot be used: {reason}.")
    return encoder.prepare(raw)


def name_of(given: Any, otherwise: str) -> str:
    """What a sample is called in a figure."""
    if isinstance(given, str | os.PathLike):
        return os.fspath(given)
    return json.dumps(given, default=str) if isinstance(given, Mapping) else otherwise


def found_in(encoder: "Encoder", file: str, place: str) -> "tuple[Source, int]":
    """The source of a file, and the row at `place` in it: a row's number, or what its key ends with."""
    from nearfar.api.sources import open_for

    source = open_for(encoder, file, grow=False)
    name = f"{os.path.basename(file)}#{place}"
    row = next((i for i, key in enumerate(source.keys) if key == name), None)
    if row is None and place.isdecimal() and int(place) < len(source):
        row = int(place)
    if row is None:
        raise DataError(f"There is no sample {place!r} in {file!r}, which has {len(source)}.")
    return source, row


def _of_json(text: str) -> Any:
    """What JSON says, or the text itself where it only begins like JSON."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
