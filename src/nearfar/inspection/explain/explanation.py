"""An explanation of why two samples are near."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nearfar.contract import Encoder, Inputs, Parts
from nearfar.inspection.explain.faithfulness import Faithfulness, measure
from nearfar.inspection.explain.occlusion import occlusion, vector_of
from nearfar.inspection.explain.sanity import randomised, rank_correlation
from nearfar.inspection.explain.shares import share_matches, shares, terms_of, token_matches

OCCLUSION, SHARES, TOKENS = "occlusion", "shares", "tokens"
_NAMED = 10
"""Pairs of parts that JSON names."""

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Side:
    """One of two samples: how much each of its P `parts` makes it near to the other, by each method.

    `heat` has [P] of `occlusion`: by how much the cosine falls without the part. Where the vector is a sum over the
    parts, `shares` [P] are what each adds to the cosine, which is their sum. Of a transformer whose vector is that of
    one token, `tokens` [P] are the largest cosine of the part's own vector with one of the other sample.
    """

    name: str
    parts: Parts
    heat: Mapping[str, Floats]


@dataclass(frozen=True)
class Explanation:
    """Why two samples are as near as they are: `similarity` is the cosine of their vectors, in [-1, 1].

    `matches` `[P, Q]` says how parts of `a` meet those of `b`: by `matched_by` shares, they add up to the cosine; by
    tokens, they are cosines of the parts' own vectors; None where neither is known.
    """

    similarity: float
    a: Side
    b: Side
    matches: Floats | None = None
    matched_by: str | None = None
    faithfulness: Mapping[str, Faithfulness] = field(default_factory=dict)
    """How the cosine follows each method's order of the parts, where that was measured."""
    unlearnt: Mapping[str, float] = field(default_factory=dict)
    """The rank correlation of each method's heat with that by the same encoder with shuffled weights, where that was
    measured: near 1, it shows the input and not what was learnt."""

    def best_matches(self, most: int) -> list[tuple[int, int, float]]:
        """The pairs of parts that meet most, as (part of a, part of b, how much), each part once, at most so many."""
        found: list[tuple[int, int, float]] = []
        if self.matches is None:
            return found
        left = self.matches.copy()
        for _ in range(min(most, *left.shape)):
            one, other = np.unravel_index(int(left.argmax()), left.shape)
            if left[one, other] <= 0:
                break
            found.append((int(one), int(other), float(left[one, other])))
            left[one, :] = left[:, other] = -np.inf
        return found

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the explanation as a PNG file; raises as `files.write`."""
        from nearfar.files import write
        from nearfar.inspection.explain.figure import png

        write(Path(path), png(self))

    def to_json(self) -> dict[str, Any]:
        """Numbers for each part, and the pairs of parts that meet most."""
        return {
            "similarity": round(self.similarity, 6),
            "a": _plain(self.a),
            "b": _plain(self.b),
            "matched_by": self.matched_by,
            "matches": [
                {"a": self.a.parts.names[one], "b": self.b.parts.names[other], "value": round(value, 6)}
                for one, other, value in self.best_matches(_NAMED)
            ],
            "faithfulness": {method: vars(found) for method, found in self.faithfulness.items()},
            "unlearnt": {method: round(value, 6) for method, value in self.unlearnt.items()},
        }


@torch.no_grad()
def explain(
    encoder: Encoder,
    a: Inputs,
    b: Inputs,
    *,
    names: Sequence[str] = ("A", "B"),
    faithfulness: bool = False,
    seed: int = 0,
) -> Explanation:
    """Explain the cosine of two samples, each as inputs `[1, ...]` of an encoder in evaluation mode.

    With `faithfulness`, how faithful the explanation is is measured, too, beside random orders and shuffled weights,
    which the seed keys. Raises ConfigError where the encoder does not say what its inputs are made of.
    """
    parts = [encoder.parts(one) for one in (a, b)]
    vectors = [vector_of(encoder, one) for one in parts]
    terms = [terms_of(encoder, one) for one in parts]
    heat: list[dict[str, Floats]] = [{}, {}]
    for i, (own, added, other) in enumerate(zip(parts, terms, reversed(vectors), strict=True)):
        heat[i][OCCLUSION] = occlusion(encoder, own, other).numpy()
        if added is not None:
            heat[i][SHARES] = shares(added, other).cpu().numpy()
    matches, matched_by = _matches(parts, terms)
    if matches is not None and matched_by == TOKENS:
        heat[0][TOKENS], heat[1][TOKENS] = matches.max(1), matches.max(0)
    measured = measure(encoder, parts, vectors, heat, seed=seed) if faithfulness else {}
    a_side, b_side = (Side(*side) for side in zip(names, parts, heat, strict=True))
    similarity = float(cosine_similarity(vectors[0], vectors[1], dim=0))
    found = Explanation(similarity, a_side, b_side, matches, matched_by, measured)
    return replace(found, unlearnt=_unlearnt(found, encoder, (a, b), seed)) if faithfulness else found


def _unlearnt(found: Explanation, encoder: Encoder, samples: Sequence[Inputs], seed: int) -> dict[str, float]:
    """How alike heat is to that by shuffled weights: means over both samples, for methods that both have."""
    other = explain(randomised(encoder, seed), *samples)
    sides = ((found.a.heat, other.a.heat), (found.b.heat, other.b.heat))
    methods = [method for method in found.a.heat if all(method in heat for pair in sides for heat in pair)]
    return {
        method: float(np.mean([rank_correlation(one[method], two[method]) for one, two in sides])) for method in methods
    }


def _matches(parts: Sequence[Parts], terms: Sequence[Tensor | None]) -> tuple[Floats | None, str | None]:
    """How the parts of both samples meet, and by what."""
    (one, other), (first, second) = terms, (part.tokens for part in parts)
    if one is not None and other is not None:
        return share_matches(one, other).cpu().numpy(), SHARES
    if first is not None and second is not None and first.shape[1] == second.shape[1]:
        return token_matches(first, second).cpu().numpy(), TOKENS
    return None, None


def _plain(side: Side) -> dict[str, Any]:
    figures = {method: [round(float(value), 6) for value in heat] for method, heat in side.heat.items()}
    return {"name": side.name, "parts": list(side.parts.names), "grid": side.parts.grid, **figures}
