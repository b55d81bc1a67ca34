"""Does an encoder say truly what its inputs are made of?"""

from typing import Any

import torch

from nearfar.contract import Encoder, Parts, inputs
from nearfar.errors import ConfigError
from nearfar.testing.comparing import check


@torch.no_grad()
def check_parts(encoder: Encoder, sample: Any) -> None:
    """Check the parts of one sample, as inputs `[1, ...]`, where the encoder has such; raises AssertionError."""
    encoder.eval()
    try:
        parts = encoder.parts(sample)
    except ConfigError:  # it has none
        return
    count = len(parts)
    kept = torch.cat([torch.ones(1, count), torch.zeros(1, count)]).bool().to(encoder.device)
    found = inputs.move(parts.without(kept), encoder.device)
    check(inputs.count(found) == 2, "without(kept [m, P]) must give the inputs of m samples.")
    features = encoder.features(inputs.part(found, 0, 1))
    alike = torch.allclose(features, encoder.features(sample), rtol=1e-4, atol=1e-5)
    check(bool(parts.note) or alike, "With all of its parts a sample must be itself, or `note` says what else.")
    check(bool(encoder.features(found).isfinite().all()), "A sample without parts must have finite features.")
    if parts.terms is not None:
        check(parts.terms.shape == (count, encoder.dim), f"terms must be [P, {encoder.dim}], got {parts.terms.shape}.")
        apart = (parts.terms.sum(0) - features[0]).norm()
        check(bool(apart <= 1e-3 * features[0].norm() + 1e-5), "The sum of terms must be the sample's features.")
    check(parts.tokens is None or len(parts.tokens) == count, "tokens must be [P, d].")
    _check_grid(parts)


def _check_grid(parts: Parts) -> None:
    if parts.grid is None:
        return
    check(parts.grid[0] * parts.grid[1] == len(parts), f"A grid {parts.grid} must have {len(parts)} cells.")
    shown = parts.backdrop
    check(
        shown is not None and shown.ndim == 3 and shown.shape[2] == 3 and shown.dtype.name == "uint8",
        "Parts on a grid must have a backdrop, uint8 [h, w, 3].",
    )
