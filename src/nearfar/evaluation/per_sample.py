"""What each test sample adds to a run's figures, kept beside evaluation.json: so runs are compared sample by sample.

A figure's value moves by `influence[i]` with test sample i: where the figure is a mean, by the sample's value less the
mean, over their number. Of two runs judged on the same samples, the error of the difference follows from these.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from nearfar import files

if TYPE_CHECKING:
    from nearfar.evaluation.result import Evaluation
    from nearfar.evaluation.task import Row

FILE = "per_sample.safetensors"
FORMAT = 1


@dataclass(frozen=True)
class PerSample:
    """One figure of one system, test sample by test sample."""

    over: str
    """Names the test samples: equal for the same samples, with the same labels, in the same order; and the draws."""
    influence: Tensor
    """[M]: by how much each moves the value."""
    by_draw: Tensor | None = None
    """[R]: the value of each draw of labels, where there are several."""


def name_of(keys: Iterable[str], labels: Iterable[str] = ()) -> str:
    """A name of samples in their order: other keys or labels, or another order, give another."""
    found = hashlib.blake2b(digest_size=8)
    for part in (keys, labels):
        for word in part:
            found.update(word.encode("utf-8", "surrogateescape") + b"\0")
        found.update(b"\1")
    return found.hexdigest()


def save(folder: Path, found: "Evaluation") -> None:
    """Write the last system's figures into a run folder, atomically; raises as `files.write`."""
    from safetensors.torch import save as packed

    tensors: dict[str, Tensor] = {}
    about: list[dict[str, Any]] = []
    for row in _of_last(found):
        if row.over is None or row.influence is None:
            continue
        number = len(about)
        # Times their number they are of the size of the figure, as half precision wants them.
        tensors[f"{number}.influence"] = (row.influence * len(row.influence)).half()
        if row.by_draw is not None:
            tensors[f"{number}.by_draw"] = row.by_draw.double()
        about.append({"figure": _named(row), "value": row.value.mean, "over": row.over})
    content = packed(tensors, {"format": str(FORMAT), "figures": json.dumps(about)})
    files.write(folder / FILE, content)


def load(folder: Path, found: "Evaluation") -> "dict[Any, PerSample]":
    """What `save` wrote of this evaluation, by the key of the row; empty where there is none, or it is of another."""
    from safetensors import SafetensorError, safe_open

    rows = {_named(row): row for row in _of_last(found)}
    kept: dict[Any, PerSample] = {}
    try:
        with safe_open(folder / FILE, "pt") as stored:
            about = json.loads((stored.metadata() or {}).get("figures", "[]"))
            names = set(stored.keys())
            for number, one in enumerate(about):
                row = rows.get(one["figure"])
                if row is None or row.value.mean != one["value"]:
                    return {}
                moved = stored.get_tensor(f"{number}.influence").double()
                draws = f"{number}.by_draw"
                kept[row.key] = PerSample(
                    str(one["over"]),
                    moved / max(len(moved), 1),
                    stored.get_tensor(draws).double() if draws in names else None,
                )
    except (OSError, SafetensorError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return kept


def _of_last(found: "Evaluation") -> "Sequence[Row]":
    return [row for row in found.rows if row.system == found.systems[-1]]


def _named(row: "Row") -> str:
    return files.to_json([row.task, row.metric, dict(row.setting)])


def same(one: PerSample | None, other: PerSample | None) -> bool:
    """Whether two figures are of the same test samples, and of the same draws where there are several."""
    if one is None or other is None or one.over != other.over or one.influence.shape != other.influence.shape:
        return False
    draws = [None if x.by_draw is None else x.by_draw.shape for x in (one, other)]
    return draws[0] == draws[1]
