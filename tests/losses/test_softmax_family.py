"""What every softmax contrastive loss must do, whatever it compares: one table of losses, one property a test."""

import itertools
from functools import partial

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.losses import (
    clip,
    dcl,
    dclw,
    debiased,
    hardest_negative,
    hcl,
    info_nce,
    labelled_nt_xent,
    moco,
    multi_positive,
    nnclr,
    nt_xent,
    siglip,
    sup_con,
    weighted_negatives,
)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def scaled(loss):
    """A loss that takes `scale` where the others take a temperature."""
    return lambda z1, z2, tags, temperature=0.1, **options: loss(z1, z2, scale=1 / temperature, **options)


def two_views(loss, **settings):
    return lambda z1, z2, tags, **options: loss(z1, z2, **settings, **options)


def of_the_hardest(z1, z2, tags, implementation="auto", **options):
    return hardest_negative(z1, z2, **options)  # one way serves all sizes


def of_queue(z1, z2, tags, **options):
    queue = normal(9, z1.shape[1], seed=7).bfloat16()  # the same numbers in every precision
    return moco(z1, z2, queue.to(z1.dtype), **options)


def of_neighbours(z1, z2, tags, **options):
    queue = normal(9, z1.shape[1], seed=7).bfloat16()
    return nnclr((z1, z2), (z1, z2), queue.to(z1.dtype), **options)


def of_classes(loss, **settings):
    return lambda z1, z2, tags, **options: loss(z1, labels=tags, **settings, **options)


def of_references(z1, z2, tags, **options):
    return labelled_nt_xent(z1, labels=tags, reference=z2, reference_labels=tags, **options)


def of_groups(variant):
    return lambda z1, z2, tags, **options: multi_positive(z1, z2, groups=(tags, tags), variant=variant, **options)


def of_mask(variant):
    return lambda z1, z2, tags, **options: multi_positive(
        z1, z2, mask=(tags[:, None] == tags) & (tags[:, None] >= 0), variant=variant, **options
    )


# Each is called with two views [B, D], and the classes [B] of the samples: -1, or two to four samples in each.
LOSSES = {
    "nt_xent": two_views(nt_xent),
    "info_nce": two_views(info_nce),
    "info_nce-symmetric": two_views(info_nce, symmetric=True),
    "clip": scaled(clip),
    "siglip": scaled(siglip),
    "dcl": two_views(dcl),
    "dclw": two_views(dclw),
    "debiased": two_views(debiased),
    "hcl": two_views(hcl, beta=0.7),
    "hardest_negative": of_the_hardest,
    "weighted_negatives": two_views(weighted_negatives),
    "moco": of_queue,
    "nnclr": of_neighbours,
    "sup_con-out": of_classes(sup_con),
    "sup_con-in": of_classes(sup_con, variant="in"),
    "labelled_nt_xent": of_classes(labelled_nt_xent),
    "labelled_nt_xent-anchors": of_classes(labelled_nt_xent, average="anchors"),
    "labelled_nt_xent-references": of_references,
    "multi_positive-out-groups": of_groups("out"),
    "multi_positive-in-groups": of_groups("in"),
    "multi_positive-out-mask": of_mask("out"),
    "multi_positive-in-mask": of_mask("in"),
}
WITH_IDS = [name for name in LOSSES if name != "moco" and not name.startswith(("multi_positive", "labelled"))]
WITH_ACTIVE = [name for name in LOSSES if name.startswith(("sup_con", "multi_positive"))]

# The gradient leaves their weights out on purpose, so that differences of values do not show it.
CONSTANT_WEIGHTS = ("dclw", "weighted_negatives")

ALL = pytest.mark.parametrize("name", LOSSES)
BOTH = pytest.mark.parametrize("implementation", ["dense", "tiled"])
IDS = torch.tensor([0, 1, 2, 0, 1, 5, 6, 0, 8, 9, 10])


def tags_of(b):
    """Classes of two, three, four ... samples; every fifth sample has none."""
    tags = torch.arange(b) * 3 // 10 % 4
    tags[4::5] = -1
    return tags


def outcome(name, b, d=4, seed=0, temperature=0.1, **options):
    """The loss, and its gradients for both views and the temperature."""
    leaves = [normal(b, d, seed=seed), normal(b, d, seed=seed + 1000), torch.tensor(temperature).double()]
    z1, z2, t = (leaf.requires_grad_() for leaf in leaves)
    loss = LOSSES[name](z1, z2, tags_of(b), temperature=t, **options)
    gradients = torch.autograd.grad(loss.sum(), (z1, z2, t), allow_unused=True)
    return [loss, *(torch.zeros(()) if g is None else g for g in gradients)]


@pytest.fixture
def small_tiles(monkeypatch):
    """Tiles of 8 rows and blocks of about 64 entries, so that small problems are ragged ones of many tiles."""
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 8})
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 64)


@ALL
@pytest.mark.parametrize("b", [1, 2, 5, 8, 11, 19])
def test_ragged_tiles_equal_the_whole_matrix(name, b, small_tiles):
    dense, tiled = (outcome(name, b, implementation=how) for how in ("dense", "tiled"))
    for x, y in zip(dense, tiled, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-11, atol=1e-12)


@ALL
@settings(max_examples=6, deadline=None)
@given(b=st.integers(1, 30), d=st.integers(1, 9), seed=st.integers(0, 99), t=st.floats(0.01, 2))
def test_dense_and_tiled_agree(name, b, d, seed, t):
    dense, tiled = (outcome(name, b, d, seed, t, implementation=how) for how in ("dense", "tiled"))
    for x, y in zip(dense, tiled, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in CONSTANT_WEIGHTS])
@BOTH
def test_gradcheck_of_embeddings_and_temperature(name, implementation):
    def run(z1, z2, temperature):
        return LOSSES[name](z1, z2, tags_of(7), temperature=temperature, implementation=implementation)

    leaves = [normal(7, 3), normal(7, 3, seed=1), torch.tensor(0.4).double()]
    if name == "moco":
        leaves[1] = leaves[1].requires_grad_(False)
        z1, z2, t = leaves
        assert torch.autograd.gradcheck(lambda z1, t: run(z1, z2, t), (z1.requires_grad_(), t.requires_grad_()))
        return
    assert torch.autograd.gradcheck(run, [leaf.requires_grad_() for leaf in leaves])


@pytest.mark.parametrize("name", [name for name in WITH_IDS if name not in CONSTANT_WEIGHTS])
@BOTH
def test_gradcheck_with_equal_ids(name, implementation):
    ids, tags = torch.tensor([0, 1, 0, 2, 3, 1]), tags_of(6)
    assert torch.autograd.gradcheck(
        lambda z1, z2: LOSSES[name](z1, z2, tags, temperature=0.4, ids=ids, implementation=implementation),
        [normal(6, 3).requires_grad_(), normal(6, 3, seed=1).requires_grad_()],
    )


def check_shares(name, cuts, **options):
    z1, z2 = normal(11, 4).requires_grad_(), normal(11, 4, seed=1).requires_grad_()
    run = partial(LOSSES[name], z1, z2, tags_of(11), **options)
    whole, shares = run(), sum(run(rows=slice(i, j)) for i, j in itertools.pairwise(cuts))
    torch.testing.assert_close(shares, whole, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(x, (z1, z2), allow_unused=True) for x in (shares, whole)]
    for x, y in zip(*grads, strict=True):
        assert (x is None) == (y is None)
        if x is not None:
            torch.testing.assert_close(x, y, rtol=1e-10, atol=1e-12)


CUTS = pytest.mark.parametrize("cuts", [(0, 4, 11), (0, 0, 6, 11, 11)], ids=["two", "two-and-empty-ones"])


@ALL
@BOTH
@CUTS
def test_shares_of_ranks_sum_to_the_whole(name, cuts, implementation):
    check_shares(name, cuts, implementation=implementation)


@pytest.mark.parametrize("name", WITH_IDS)
@BOTH
def test_shares_of_ranks_sum_to_the_whole_with_ids(name, implementation):
    check_shares(name, (0, 4, 11), ids=IDS, implementation=implementation)


@pytest.mark.parametrize("name", WITH_ACTIVE)
@pytest.mark.parametrize("reduction", ["mean", "mean_active", "sum"])
@CUTS
def test_shares_divide_by_the_anchors_of_the_whole_batch(name, reduction, cuts):
    check_shares(name, cuts, reduction=reduction)


@ALL
def test_reductions_agree(name):
    z1, z2, tags = normal(11, 4), normal(11, 4, seed=1), tags_of(11)
    each = LOSSES[name](z1, z2, tags, reduction="none")
    assert each.shape[-1] == 11
    torch.testing.assert_close(each.sum(), LOSSES[name](z1, z2, tags, reduction="sum"))
    if not name.startswith("labelled"):
        torch.testing.assert_close(each.mean(), LOSSES[name](z1, z2, tags, reduction="mean"))
    torch.testing.assert_close(
        each[..., 3:8], LOSSES[name](z1, z2, tags, reduction="none", rows=slice(3, 8)), rtol=1e-12, atol=1e-12
    )


@ALL
@settings(max_examples=5, deadline=None)
@given(b=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_order_of_samples_does_not_matter(name, b, seed):
    z1, z2, tags = normal(b, 5, seed=seed), normal(b, 5, seed=seed + 1000), tags_of(b)
    order = torch.randperm(b, generator=torch.Generator().manual_seed(seed))
    loss, other = LOSSES[name](z1, z2, tags), LOSSES[name](z1[order], z2[order], tags[order])
    torch.testing.assert_close(loss, other, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "name",
    "nt_xent info_nce-symmetric clip siglip dcl dclw debiased hcl hardest_negative weighted_negatives".split(),
)
@settings(max_examples=5, deadline=None)
@given(b=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_two_views_may_change_places(name, b, seed):
    z1, z2, tags = normal(b, 5, seed=seed), normal(b, 5, seed=seed + 1000), tags_of(b)
    torch.testing.assert_close(LOSSES[name](z1, z2, tags), LOSSES[name](z2, z1, tags), rtol=1e-12, atol=1e-12)


@ALL
@settings(max_examples=5, deadline=None)
@given(factor=st.floats(1e-6, 1e6), seed=st.integers(0, 99))
def test_the_length_of_embeddings_does_not_matter(name, factor, seed):
    z1, z2, tags = normal(6, 5, seed=seed), normal(6, 5, seed=seed + 1000), tags_of(6)
    torch.testing.assert_close(LOSSES[name](z1 * factor, z2, tags), LOSSES[name](z1, z2, tags), rtol=1e-11, atol=1e-12)


@ALL
@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_temperature_001_is_within_1e_5_of_the_exact_loss_of_the_given_numbers(name, dtype, implementation):
    z1, z2 = (normal(50, 16, seed=s).to(dtype).requires_grad_() for s in (0, 1))
    options = {"temperature": 0.01, "implementation": implementation}
    loss = LOSSES[name](z1, z2, tags_of(50), **options)
    loss.backward()
    exact = LOSSES[name](z1.detach().double(), z2.detach().double(), tags_of(50), **options)
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(exact.item(), rel=1e-5)
    assert z1.grad.dtype == dtype
    assert z1.grad.isfinite().all()
    assert z1.grad.abs().max() > 0


@ALL
@BOTH
def test_a_zero_vector_has_a_finite_loss_and_gradient_zero(name, implementation):
    z1, z2 = normal(11, 4).float(), normal(11, 4, seed=1).float().requires_grad_()
    z1[2] = 0
    loss = LOSSES[name](z1.requires_grad_(), z2, tags_of(11), implementation=implementation)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad[2].eq(0).all()
    assert z1.grad.isfinite().all()
    assert z2.grad is None or z2.grad.isfinite().all()


@ALL
@BOTH
@pytest.mark.parametrize("b", [1, 2, 3])
def test_the_smallest_batches_are_finite(name, b, implementation):
    z1, z2 = normal(b, 4).requires_grad_(), normal(b, 4, seed=1).requires_grad_()
    loss = LOSSES[name](z1, z2, tags_of(b), implementation=implementation)
    loss.backward()
    assert loss.isfinite()
    assert z1.grad.isfinite().all()


@pytest.mark.parametrize("name", [name for name in LOSSES if not name.endswith("mask")])  # which is B x B itself
def test_memory_grows_with_the_batch_and_not_with_its_square(name, peak_bytes, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 2**14)
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 192})

    def peak(b):
        z1, z2 = normal(b, 8).float().requires_grad_(), normal(b, 8, seed=1).float().requires_grad_()
        loss = partial(LOSSES[name], z1, z2, torch.arange(b) // 4, temperature=0.1, implementation="tiled")
        return peak_bytes(lambda: loss().backward())

    small, middle, large = peak(256), peak(512), peak(768)
    assert large - middle < 1.3 * (middle - small) + 5e4
    assert large < 768**2 * 4 / 2


@pytest.mark.parametrize("name", [name for name in LOSSES if name not in ("clip", "siglip")])
@pytest.mark.parametrize("temperature", [0, -1.0, float("nan"), float("inf")])
def test_a_temperature_out_of_range_is_named(name, temperature):
    with pytest.raises(ConfigError, match=f"temperature must be > 0, got {temperature}"):
        LOSSES[name](torch.ones(3, 4), torch.ones(3, 4), tags_of(3), temperature=temperature)


@ALL
@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reduction": "avg"}, ConfigError, "reduction must be one of .*got 'avg'"),
        ({"rows": slice(2, 5)}, ConfigError, r"rows must be a range within 0..3"),
    ],
)
def test_options_out_of_range_are_named(name, options, error, message):
    with pytest.raises(error, match=message):
        LOSSES[name](torch.ones(3, 4), torch.ones(3, 4), tags_of(3), **options)


@pytest.mark.parametrize("name", [name for name in LOSSES if name != "hardest_negative"])
def test_an_unknown_implementation_is_named(name):
    with pytest.raises(UnknownName, match="Did you mean 'tiled'"):
        LOSSES[name](torch.ones(3, 4), torch.ones(3, 4), tags_of(3), implementation="tile")


@pytest.mark.parametrize("name", [n for n in LOSSES if n not in WITH_ACTIVE])
def test_where_every_anchor_counts_the_mean_over_those_is_refused(name):
    with pytest.raises(ConfigError, match="every anchor counts: use 'mean'"):
        LOSSES[name](torch.ones(3, 4), torch.ones(3, 4), tags_of(3), reduction="mean_active")


@ALL
def test_integers_and_empty_batches_are_refused(name):
    with pytest.raises(DataError, match="floating point"):
        LOSSES[name](torch.ones(3, 4, dtype=torch.long), torch.ones(3, 4, dtype=torch.long), tags_of(3))
    with pytest.raises(DataError, match=r"empty|must be embeddings"):
        LOSSES[name](torch.ones(0, 4), torch.ones(0, 4), tags_of(0))


@pytest.mark.parametrize("name", WITH_IDS)
def test_ids_that_do_not_name_every_sample_are_refused(name):
    with pytest.raises(DataError, match="ids must name each of the 3 samples once"):
        LOSSES[name](torch.ones(3, 4), torch.ones(3, 4), tags_of(3), ids=torch.tensor([1, 2]))
    with pytest.raises(ConfigError, match="ids must be a tensor of integers"):
        LOSSES[name](torch.ones(3, 4), torch.ones(3, 4), tags_of(3), ids=torch.ones(3))


@pytest.mark.parametrize("name", WITH_IDS)
@BOTH
def test_ids_that_all_differ_change_nothing(name, implementation):
    z1, z2, tags = normal(7, 4), normal(7, 4, seed=1), tags_of(7)
    ids = torch.tensor([5, -9, 3, 4, 100, 2, 1])
    got, expected = (LOSSES[name](z1, z2, tags, ids=i, implementation=implementation) for i in (ids, None))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@ALL
def test_autocast_does_not_lower_the_precision(name):
    z1, z2 = normal(20, 8).float(), normal(20, 8, seed=1).float()
    expected = LOSSES[name](z1, z2, tags_of(20), temperature=0.02)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = LOSSES[name](z1, z2, tags_of(20), temperature=0.02)
    assert got.equal(expected)
