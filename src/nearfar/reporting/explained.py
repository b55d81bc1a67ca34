"""Pairs of near samples with what makes them near, as the page shows them."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nearfar.contract import Card
from nearfar.inspection.explain.explanation import Explanation, Side
from nearfar.reporting.plain import finite

_WORDS, _ROWS, _SIDE = 60, 10, 200


@dataclass(frozen=True, kw_only=True)
class Explained:
    """Two samples, and why they are near."""

    a: Card
    b: Card
    found: Explanation


def entries(pairs: Sequence[Explained], put: Callable[[Card], int]) -> list[dict[str, Any]]:
    """The pairs as plain values; `put` keeps a sample, or heat over it, for the page and gives its number."""
    return [_entry(pair, put) for pair in pairs]


def check(entries: Sequence[Mapping[str, Any]], samples: int) -> None:
    """Raise ValueError and the like where entries are not such as `entries` makes them, of so many samples."""
    for entry in entries:
        if not isinstance(entry["method"], str) or not isinstance(entry["cosine"], int | float | None):
            raise ValueError("an explanation has no figures")
        for side in entry["sides"]:
            for at in (side["item"], side["heat"]):
                if at is not None and not (type(at) is int and 0 <= at < samples):
                    raise ValueError("a sample of an explanation is not there")
            if not all(isinstance(name, str) and isinstance(heat, int | float) for name, heat in side["parts"]):
                raise ValueError("a part of an explanation is none")


def _entry(pair: Explained, put: Callable[[Card], int]) -> dict[str, Any]:
    found = pair.found
    shared = [method for method in found.a.heat if method in found.b.heat]
    method = shared[-1]
    sides = [_side(card, side, method, put) for card, side in ((pair.a, found.a), (pair.b, found.b))]
    return {"cosine": finite(found.similarity), "method": method, "sides": sides}


def _side(card: Card, side: Side, method: str, put: Callable[[Card], int]) -> dict[str, Any]:
    heat = side.heat[method]
    share = heat / (float(np.abs(heat).max(initial=0)) or 1.0)
    made: dict[str, Any] = {"item": put(card), "heat": None, "parts": [], "running": side.parts.running, "more": 0}
    if side.parts.backdrop is not None:
        made["heat"] = put(replace(card, image=_overlaid(side, share), text=None, media=None))
        return made
    order = range(len(heat)) if side.parts.running else np.argsort(-np.abs(heat), kind="stable").tolist()
    shown = list(order)[: _WORDS if side.parts.running else _ROWS]
    made["parts"] = [[side.parts.names[i], round(float(share[i]), 3)] for i in shown]
    made["more"] = len(heat) - len(shown)
    return made


def _overlaid(side: Side, share: Any) -> bytes:
    from nearfar.inspection.explain.figure import overlaid

    file = io.BytesIO()
    overlaid(side, share, _SIDE, _SIDE).save(file, "WEBP", quality=80, method=2)
    return file.getvalue()
