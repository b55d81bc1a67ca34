"""What holds for every loss against class vectors: precision, memory, invariances, words for mistakes."""

import functools
import itertools

import pytest
import torch

from nearfar.errors import ConfigError, DataError
from nearfar.losses import (
    ArcFaceLoss,
    CosFaceLoss,
    ProxyAnchorLoss,
    ProxyNCALoss,
    arc_face,
    cos_face,
    proxy_anchor,
    proxy_nca,
)

LOSSES = {
    "arc-face": arc_face,
    "cos-face": cos_face,
    "proxy-nca": proxy_nca,
    "proxy-nca-original": functools.partial(proxy_nca, original=True),
    "proxy-anchor": proxy_anchor,
}
MODULES = {
    ArcFaceLoss: (arc_face, {"scale": 8.0, "margin": 0.3}),
    CosFaceLoss: (cos_face, {"scale": 8.0, "margin": 0.3}),
    ProxyNCALoss: (proxy_nca, {"scale": 8.0, "original": True}),
    ProxyAnchorLoss: (proxy_anchor, {"alpha": 8.0, "margin": 0.3}),
}
EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
BOTH = pytest.mark.parametrize("implementation", ["dense", "tiled"])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def classes(b, c, seed=0):
    return torch.randint(c, (b,), generator=torch.Generator().manual_seed(seed))


@EVERY
@pytest.mark.parametrize(("b", "c"), [(1, 2), (7, 5), (5, 7), (37, 11)])
def test_dense_and_tiled_agree(loss, b, c, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.tiled._SHORTEST_EDGE", 4)
    found = []
    for implementation in ("dense", "tiled"):
        z, w = normal(b, 3).requires_grad_(), normal(c, 3, seed=1).requires_grad_()
        value = loss(z, w, labels=classes(b, c), implementation=implementation)
        found.append([value.detach(), *torch.autograd.grad(value, (z, w))])
    torch.testing.assert_close(*found, rtol=1e-10, atol=1e-12)


@EVERY
@BOTH
def test_gradcheck(loss, implementation):
    inputs = normal(5, 3).requires_grad_(), normal(4, 3, seed=1).requires_grad_()
    labels = torch.tensor([0, 1, 1, 3, 0])
    assert torch.autograd.gradcheck(lambda z, w: loss(z, w, labels=labels, implementation=implementation), inputs)


@EVERY
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_samples_and_classes_and_all_lengths_do_not_matter(loss, seed):
    z, w, labels = normal(9, 4, seed=seed), normal(5, 4, seed=seed + 10), classes(9, 5, seed)
    generator = torch.Generator().manual_seed(seed)
    samples, order = torch.randperm(9, generator=generator), torch.randperm(5, generator=generator)
    renamed = torch.argsort(order)[labels]
    found = loss(1000 * z[samples], w[order] / 1000, labels=renamed[samples])
    torch.testing.assert_close(found, loss(z, w, labels=labels))


@pytest.mark.parametrize("name", ["arc-face", "cos-face", "proxy-nca", "proxy-nca-original"])
@BOTH
def test_shares_of_ranks_sum_to_the_whole(name, implementation):
    z, w, labels = normal(9, 4).requires_grad_(), normal(5, 4, seed=1).requires_grad_(), classes(9, 5)
    run = functools.partial(LOSSES[name], z, w, labels=labels, implementation=implementation)
    whole, shares = run(), sum(run(rows=slice(i, j)) for i, j in itertools.pairwise((0, 0, 4, 9)))
    torch.testing.assert_close(shares, whole)
    torch.testing.assert_close(torch.autograd.grad(shares, (z, w)), torch.autograd.grad(whole, (z, w)))
    each = run(reduction="none")
    assert each.shape == (9,)
    torch.testing.assert_close(each.sum(), run(reduction="sum"))
    torch.testing.assert_close(each.mean(), whole)


@EVERY
@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_pitfall_12_half_precision_is_exact_for_the_given_numbers(loss, dtype, implementation):
    z, w, labels = normal(20, 8).to(dtype).requires_grad_(), normal(6, 8, seed=1).to(dtype), classes(20, 6)
    w.requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(z, w, labels=labels, implementation=implementation)
    value.backward()
    exact = loss(z.detach().double(), w.detach().double(), labels=labels)
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(exact.item(), rel=1e-5)
    assert z.grad.isfinite().all()
    assert w.grad.isfinite().all()


@EVERY
@BOTH
def test_zero_vectors_have_a_finite_loss_and_gradient_zero(loss, implementation):
    z, w, labels = normal(6, 4).float(), normal(3, 4, seed=1).float(), torch.tensor([0, 1, 2, 0, 1, 2])
    z[0], w[1] = 0, 0
    value = loss(z.requires_grad_(), w.requires_grad_(), labels=labels, implementation=implementation)
    value.backward()
    assert value.isfinite()
    assert z.grad[0].eq(0).all()
    assert w.grad[1].eq(0).all()
    assert z.grad.isfinite().all()
    assert w.grad.isfinite().all()


@EVERY
@BOTH
def test_a_sample_on_its_class_vector_has_finite_gradients(loss, implementation):
    w = normal(3, 4).requires_grad_()
    z = torch.cat([w.detach(), -w.detach()]).requires_grad_()
    loss(z, w, labels=torch.arange(6) % 3, implementation=implementation).backward()
    assert z.grad.isfinite().all()
    assert w.grad.isfinite().all()


@EVERY
def test_memory_grows_with_samples_and_classes_and_not_with_their_product(loss, peak_bytes, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 128})

    def peak(b, c):
        z, w = normal(b, 8).float().requires_grad_(), normal(c, 8, seed=1).float().requires_grad_()
        labels = classes(b, c)
        return peak_bytes(lambda: loss(z, w, labels=labels, implementation="tiled").backward())

    assert peak(512, 4096) < 512 * 4096 * 4 / 4
    assert peak(512, 4096) - peak(512, 2048) < 2 * (peak(512, 2048) - peak(512, 1024)) * 1.3 + 1e5


@pytest.mark.parametrize("module", MODULES)
def test_the_modules_own_their_class_vectors_and_are_the_functions(module):
    function, options = MODULES[module]
    torch.manual_seed(0)
    made = module(64, 500, **options)
    ((name, vectors),) = made.named_parameters()
    assert vectors.shape == (500, 64)
    assert vectors.norm(dim=1).mean().item() == pytest.approx(1, abs=0.02)
    assert vectors.mean(0).norm().item() < 0.1, "directions are not spread evenly"
    z, labels = normal(9, 64).float(), classes(9, 500)
    value = made(z, labels=labels)
    assert value.equal(function(z, vectors, labels=labels, **options))
    value.backward()
    assert getattr(made, name).grad.abs().max() > 0
    assert repr(made).startswith(f"{module.__name__}({next(iter(options))}=8.0")


Z, W = torch.ones(3, 2), torch.ones(4, 2)
LABELS = torch.tensor([0, 1, 3])


@EVERY
@pytest.mark.parametrize(
    ("z", "w", "labels", "message"),
    [
        (Z[0], W, LABELS, r"z must be embeddings \[N, D\], got shape \[2\]"),
        (Z[:0], W, LABELS[:0], "batch is empty"),
        (Z, torch.ones(4, 5), LABELS, r"class vectors must be embeddings \[N, 2\], got shape \[4, 5\]"),
        (Z, W, LABELS[:2], r"labels must be \[3\] class numbers"),
        (Z, W, LABELS.float(), "class numbers, got torch.float32"),
        (Z, W, LABELS + 1, r"class numbers in 0..3, got 1..4"),
        (Z, W, LABELS - 1, r"class numbers in 0..3, got -1..2"),
    ],
)
def test_mistakes_are_named(loss, z, w, labels, message):
    with pytest.raises(DataError, match=message):
        loss(z, w, labels=labels)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ArcFaceLoss(0, 3), "dim must be > 0, got 0"),
        (lambda: ArcFaceLoss(2, 0), "classes must be > 0, got 0"),
        (lambda: ArcFaceLoss(2, 3, margin=28.6), "radians in 0..pi, got 28.6"),
        (lambda: CosFaceLoss(2, 3, scale=0), "scale must be > 0, got 0"),
        (lambda: CosFaceLoss(2, 3, margin=-1), "margin must lie in 0..2"),
        (lambda: ProxyNCALoss(2, 1, original=True), "original needs at least two proxies, got 1"),
        (lambda: ProxyAnchorLoss(2, 3, alpha=0), "alpha must be > 0"),
        (lambda: ProxyAnchorLoss(2, 3, margin=-0.1), "margin must be >= 0"),
        (lambda: ArcFaceLoss(2, 3, reduction="mean_active"), "every anchor counts"),
    ],
)
def test_settings_out_of_range_are_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()
