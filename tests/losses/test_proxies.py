"""Proxy-NCA and Proxy-Anchor: known values and loops."""

import math

import pytest
import torch
from torch.nn import functional as F

from nearfar.losses import proxy_anchor, proxy_nca

# The whole matrix is compared with tiles, for every loss, in `test_every_loss.py`.
TILED = pytest.mark.parametrize("implementation", ["tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@TILED
@pytest.mark.parametrize(
    ("name", "loss", "options"),
    [
        ("proxynca_softmax", proxy_nca, {}),
        ("proxynca_original", proxy_nca, {"original": True}),
        ("proxyanchor_a32_m0.1", proxy_anchor, {"alpha": 32, "margin": 0.1}),
    ],
)
def test_published_values(name, loss, options, implementation, case):
    known = case(name)
    z, proxies, labels = (known["inputs"][key] for key in ("angles_deg", "proxies", "labels"))
    found = loss(z, proxies, labels=labels, implementation=implementation, **options)
    assert found.item() == pytest.approx(known["value"], abs=1e-13)


@TILED
@pytest.mark.parametrize("original", [False, True])
@pytest.mark.parametrize("scale", [1.0, 9.0])
def test_proxy_nca_by_loops(original, scale, implementation):
    z, proxies, labels = normal(8, 3), normal(4, 3, seed=1), torch.arange(8) % 4
    u, p, expected = F.normalize(z), F.normalize(proxies), []
    for x, label in zip(u, labels.tolist(), strict=True):
        weights = [math.exp(-scale * float((x - y).square().sum())) for y in p]
        others = sum(w for k, w in enumerate(weights) if k != label or not original)
        expected.append(-math.log(weights[label] / others))
    options = {"labels": labels, "scale": scale, "original": original, "implementation": implementation}
    assert proxy_nca(z, proxies, reduction="none", **options).tolist() == pytest.approx(expected, abs=1e-11)


@TILED
def test_proxy_anchor_by_loops(implementation):
    """Six proxies, of which two have no positives: the first mean is over four, the second over six."""
    z, proxies, labels = normal(8, 3), normal(6, 3, seed=1), torch.tensor([0, 0, 1, 3, 3, 3, 5, 5])
    s = F.normalize(proxies) @ F.normalize(z).T
    pulls, pushes = [], []
    for k in range(6):
        positives = [s[k, i].item() for i in range(8) if labels[i] == k]
        negatives = [s[k, i].item() for i in range(8) if labels[i] != k]
        if positives:
            pulls.append(math.log1p(sum(math.exp(-20 * (x - 0.2)) for x in positives)))
        pushes.append(math.log1p(sum(math.exp(20 * (x + 0.2)) for x in negatives)))
    found = proxy_anchor(z, proxies, labels=labels, alpha=20, margin=0.2, implementation=implementation)
    assert len(pulls) == 4
    assert found.item() == pytest.approx(sum(pulls) / 4 + sum(pushes) / 6, abs=1e-11)


def test_coinciding_proxies_give_log_of_their_number():
    z, proxies, labels = normal(4, 3), torch.ones(5, 3).double(), torch.arange(4)
    assert proxy_nca(z, proxies, labels=labels).item() == pytest.approx(math.log(5))
    assert proxy_nca(z, proxies, labels=labels, original=True).item() == pytest.approx(math.log(4))
