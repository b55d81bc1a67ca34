"""Embeddings that come in half precision may be multiplied in it, where the kernel has the choice."""

import pytest
import torch

from nearfar.kernels import IMPLEMENTATIONS, logsumexp
from nearfar.kernels.tiled import tiled_lse
from nearfar.losses import clip, info_nce, nt_xent
from nearfar.losses.core.unit import shared_half

HALF, SINGLE = torch.bfloat16, torch.float32


@pytest.mark.parametrize(
    ("types", "shared"),
    [
        ([HALF, HALF], HALF),
        ([torch.float16], torch.float16),
        ([HALF, torch.float16], None),
        ([HALF, SINGLE], None),
        ([SINGLE, SINGLE], None),
        ([torch.float64], None),
    ],
)
def test_the_shared_half_is_that_of_all_or_none(types, shared):
    assert shared_half(*(torch.zeros(1, dtype=t) for t in types), None) is shared


@pytest.mark.parametrize(("first", "second", "expected"), [(HALF, HALF, HALF), (HALF, SINGLE, None)])
@pytest.mark.parametrize(
    "loss",
    [
        nt_xent,
        lambda a, b, **how: nt_xent(a, b, rows=slice(1, 3), **how),
        info_nce,
        lambda a, b, **how: info_nce(a, b, negatives=a, **how),
        lambda a, b, **how: clip(a, b, scale=3.0, **how),
        lambda a, b, **how: clip(a, b, scale=3.0, rows=slice(1, 3), **how),
    ],
    ids=["nt_xent", "nt_xent of own rows", "info_nce", "with negatives", "clip", "clip of own rows"],
)
def test_losses_say_in_which_half_all_embeddings_came(loss, first, second, expected, monkeypatch):
    said = []

    def kernel(*arguments, columns, product=None):
        said.append(product)
        return tiled_lse(*arguments, columns=columns)

    monkeypatch.setattr(logsumexp, "triton_lse", kernel)
    monkeypatch.setitem(IMPLEMENTATIONS, "triton", kernel)
    loss(torch.randn(6, 3, dtype=first), torch.randn(6, 3, dtype=second), implementation="triton")
    assert said
    assert set(said) == {expected}
