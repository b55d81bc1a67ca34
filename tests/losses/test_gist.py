"""GISTEmbed: candidates that the guide finds as near as the positive are no negatives."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.errors import DataError
from nearfar.losses import gist_embed, info_nce
from tests.losses.table import normal

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def by_loops(a, p, n, guide, *, temperature, strategy, margin, anchors=True, positives=True):
    (a, p, n), (ga, gp, gn) = ([F.normalize(z) for z in some] for some in ((a, p, n), guide))
    total = 0.0
    for i in range(len(a)):
        limit = float(ga[i] @ gp[i])
        limit = limit - margin if strategy == "absolute" else limit * (1 - margin)
        logits = [float(a[i] @ p[i])]
        for x, y, gx, gy, wanted in ((a, p, ga, gp, True), (a, a, ga, ga, anchors), (p, p, gp, gp, positives)):
            logits += [float(x[i] @ y[j]) for j in range(len(a)) if wanted and j != i and float(gx[i] @ gy[j]) <= limit]
        logits += [float(a[i] @ n[j]) for j in range(len(n)) if float(ga[i] @ gn[j]) <= limit]
        total += math.log(sum(math.exp((x - logits[0]) / temperature) for x in logits))
    return total / len(a)


@TILED
@pytest.mark.parametrize(("strategy", "margin"), [("absolute", 0.0), ("absolute", 0.3), ("relative", 0.2)])
def test_value_by_loops(strategy, margin, implementation, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 20)
    a, p, n = (normal(k, 4, seed=k) for k in (7, 8, 5))
    p = p[:7] + a
    guide = [normal(7, 3), normal(7, 3) + 0.5 * normal(7, 3, seed=1), normal(5, 3, seed=2)]
    for anchors, positives in ((True, True), (False, True), (True, False)):
        found = gist_embed(
            a, p, negatives=n, guide=guide, temperature=0.2, margin_strategy=strategy, margin=margin,
            contrast_anchors=anchors, contrast_positives=positives, implementation=implementation,
        )  # fmt: skip
        options = {"strategy": strategy, "margin": margin, "anchors": anchors, "positives": positives}
        assert found.item() == pytest.approx(by_loops(a, p, n, guide, temperature=0.2, **options), rel=1e-12)


def test_a_guide_that_rules_out_nothing_leaves_info_nce():
    a, p = normal(6, 4), normal(6, 4, seed=1)
    far = torch.eye(6, dtype=torch.float64)
    found = gist_embed(a, p, guide=[far, far], temperature=0.1, contrast_anchors=False, contrast_positives=False)
    torch.testing.assert_close(found, info_nce(a, p, temperature=0.1))


def test_a_guide_that_rules_out_everything_leaves_the_pair_itself_and_no_gradient():
    a, p = normal(6, 4).requires_grad_(), normal(6, 4, seed=1)
    same = torch.ones(6, 2)
    loss = gist_embed(a, p, guide=[same, same], margin=0.5)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, a)[0].eq(0).all()


def test_the_guide_gets_no_gradient():
    guide = [normal(6, 4).requires_grad_() for _ in range(2)]
    loss = gist_embed(normal(6, 4).requires_grad_(), normal(6, 4, seed=1), guide=guide)
    assert torch.autograd.grad(loss, guide, allow_unused=True) == (None, None)


def test_mistakes_are_named():
    z = torch.ones(3, 4)
    with pytest.raises(DataError, match=r"guide must be embeddings of anchors 3, positives 3, got \[\[3, 4\]\]"):
        gist_embed(z, z, guide=[z])
    with pytest.raises(DataError, match="negatives 2"):
        gist_embed(z, z, negatives=z[:2], guide=[z, z, z])
    with pytest.raises(DataError, match=r"negatives must be \[K, 4\]"):
        gist_embed(z, z, negatives=z[:, :2], guide=[z, z, z])
