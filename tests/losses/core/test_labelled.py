"""What holds for every loss of labels: columns, shares, invariances, precision, memory, words for mistakes."""

import functools
import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.losses import circle, labelled_contrastive, labelled_triplet, multi_similarity

LOSSES = {
    "contrastive": labelled_contrastive,
    "contrastive-plain-active": functools.partial(labelled_contrastive, squared=False, reduction="mean_active"),
    "contrastive-cosine": functools.partial(labelled_contrastive, distance="cosine", margin=0.9),
    "triplet": labelled_triplet,
    "triplet-active": functools.partial(labelled_triplet, reduction="mean_active"),
    "triplet-squared": functools.partial(labelled_triplet, distance="squared_euclidean"),
    "triplet-hard": functools.partial(labelled_triplet, mining="hard"),
    "triplet-hard-active": functools.partial(labelled_triplet, mining="hard", reduction="mean_active"),
    "triplet-hard-soft": functools.partial(labelled_triplet, mining="hard", margin=None, distance="cosine"),
    "triplet-semi-hard": functools.partial(labelled_triplet, mining="semi_hard"),
    "triplet-semi-hard-active": functools.partial(labelled_triplet, mining="semi_hard", reduction="mean_active"),
    "circle": functools.partial(circle, gamma=16.0),
    "circle-all": functools.partial(circle, gamma=16.0, reduction="mean"),
    "multi-similarity": multi_similarity,
    "multi-similarity-active": functools.partial(multi_similarity, reduction="mean_active"),
}
EVERY = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES.keys())
BOTH = pytest.mark.parametrize("implementation", ["dense", "tiled"])


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def classes(n, count=4, seed=0):
    return torch.randint(count, (n,), generator=torch.Generator().manual_seed(seed))


def value_and_gradient(loss, z, **options):
    z = z.detach().clone().requires_grad_()
    value = loss(z, **options)
    (gradient,) = torch.autograd.grad(value, z)
    return value.detach(), gradient


def equal(found, expected, **tolerance):
    torch.testing.assert_close(found, expected, **({"rtol": 1e-9, "atol": 1e-11} | tolerance))


@BOTH
@EVERY
def test_samples_without_a_class_are_classes_of_their_own(loss, implementation):
    z, labels = normal(12, 5), torch.tensor([0, 1, -1, 0, -1, 1, 2, 2, -1, 0, 1, -1])
    alone = torch.where(labels == -1, torch.arange(12) + 100, labels)
    found, expected = (value_and_gradient(loss, z, labels=k, implementation=implementation) for k in (labels, alone))
    equal(found, expected)
    columns = torch.cat([normal(4, 5, seed=1), z])
    found, expected = (
        value_and_gradient(
            loss, z, labels=k, reference=columns, reference_labels=torch.cat([torch.tensor([0, 50, 51, 2]), k]),
            offset=4, implementation=implementation,
        )
        for k in (labels, alone)
    )  # fmt: skip
    equal(found, expected)


@EVERY
@settings(max_examples=5, deadline=None)
@given(n=st.integers(1, 40), d=st.integers(2, 9), count=st.integers(1, 12), seed=st.integers(0, 99))
def test_dense_and_tiled_agree(loss, n, d, count, seed):
    z, labels = normal(n, d, seed=seed), classes(n, count, seed)
    tiled, dense = (value_and_gradient(loss, z, labels=labels, implementation=how) for how in ("tiled", "dense"))
    equal(tiled, dense)


@EVERY
def test_many_blocks_of_rows_agree_with_one(loss, monkeypatch):
    z, labels = normal(37, 5), classes(37)
    dense = value_and_gradient(loss, z, labels=labels, implementation="dense")
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 5 * 37)
    equal(value_and_gradient(loss, z, labels=labels, implementation="tiled"), dense)


@pytest.mark.parametrize("name", [name for name in LOSSES if "circle" not in name])  # its weights are held constant
@BOTH
def test_gradcheck(name, implementation):
    loss = LOSSES[name]
    z, labels = normal(7, 3, seed=3), torch.tensor([0, 0, 1, 1, 2, 0, 3])
    run = functools.partial(loss, labels=labels, implementation=implementation)
    assert torch.autograd.gradcheck(run, (z.requires_grad_(),))


@EVERY
@settings(max_examples=5, deadline=None)
@given(n=st.integers(2, 20), seed=st.integers(0, 99))
def test_the_order_of_samples_and_the_names_of_classes_do_not_matter(loss, n, seed):
    z, labels = normal(n, 4, seed=seed), classes(n, 3, seed)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    names = torch.tensor([1_000_000_007, -5, 40])
    equal(loss(z[order], labels=names[labels[order]]), loss(z, labels=labels))


@EVERY
@settings(max_examples=5, deadline=None)
@given(factor=st.floats(1e-5, 1e5), seed=st.integers(0, 99))
def test_the_length_of_embeddings_does_not_matter(loss, factor, seed):
    z, labels = normal(9, 4, seed=seed), classes(9, 3, seed)
    equal(loss(z * factor, labels=labels), loss(z, labels=labels))


@EVERY
@BOTH
@pytest.mark.parametrize("cuts", [(0, 4, 11), (0, 0, 1, 8, 11)], ids=["two", "one-empty"])
def test_shares_of_ranks_sum_to_the_whole(loss, cuts, implementation):
    z, labels = normal(11, 4).requires_grad_(), classes(11, 4)
    run = functools.partial(loss, z, labels=labels, implementation=implementation)
    whole, shares = run(), sum(run(rows=slice(i, j)) for i, j in itertools.pairwise(cuts))
    equal(shares, whole)
    equal(torch.autograd.grad(shares, z), torch.autograd.grad(whole, z))


@EVERY
@BOTH
def test_pitfall_1_the_own_column_is_found_by_its_offset(loss, implementation):
    """Rank 1 of 3 compares its rows with the gathered batch: its own columns start at rank * b, not at 0."""
    z, labels = normal(12, 4), classes(12, 3)
    own = slice(4, 8)
    expected = loss(z, labels=labels, rows=own, implementation=implementation, reduction="sum")
    gathered = {"reference": z, "reference_labels": labels, "offset": 4}
    found = loss(z[own], labels=labels[own], **gathered, implementation=implementation, reduction="sum")
    equal(found, expected)


@EVERY
def test_the_whole_batch_as_its_own_reference_has_the_same_gradient(loss):
    z, labels = normal(9, 4).requires_grad_(), classes(9, 3)
    plain = loss(z, labels=labels)
    gathered = loss(z, labels=labels, reference=z, reference_labels=labels, offset=0)
    equal(gathered, plain)
    equal(torch.autograd.grad(gathered, z), torch.autograd.grad(plain, z))


@EVERY
@BOTH
def test_a_reference_takes_part_in_the_gradient(loss, implementation):
    z, reference = normal(6, 3), normal(8, 3, seed=1)
    labels, reference_labels = classes(6, 3), classes(8, 3, seed=1)

    def run(z, reference):
        more = {"reference": reference, "reference_labels": reference_labels}
        return loss(z, labels=labels, implementation=implementation, **more)

    dense = torch.autograd.grad(run(z.requires_grad_(), reference.requires_grad_()), (z, reference))
    assert all(gradient.abs().max() > 1e-4 for gradient in dense)
    if getattr(loss, "func", loss) is not circle:
        assert torch.autograd.gradcheck(run, (z, reference))


@EVERY
@pytest.mark.parametrize("labels", [[0], [0, 0, 0], [0, 1, 2]], ids=["one-sample", "one-class", "all-different"])
def test_a_batch_without_triplets_is_finite_with_finite_gradients(loss, labels):
    for implementation in ("dense", "tiled"):
        z = normal(len(labels), 3)
        value, gradient = value_and_gradient(loss, z, labels=torch.tensor(labels), implementation=implementation)
        assert value.isfinite()
        assert gradient.isfinite().all()


@EVERY
@BOTH
def test_a_zero_vector_has_a_finite_loss_and_gradient_zero(loss, implementation):
    z = normal(8, 4, dtype=torch.float32)
    z[2] = 0
    value, gradient = value_and_gradient(loss, z, labels=classes(8, 3), implementation=implementation)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert gradient[2].eq(0).all()


@EVERY
@BOTH
def test_coinciding_embeddings_have_finite_gradients(loss, implementation):
    value, gradient = value_and_gradient(loss, torch.ones(6, 3), labels=classes(6, 2), implementation=implementation)
    assert value.isfinite()
    assert gradient.isfinite().all()


@EVERY
@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_pitfall_12_half_precision_is_exact_for_the_given_numbers(loss, dtype, implementation):
    z, labels = normal(40, 16).to(dtype).requires_grad_(), classes(40, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        value = loss(z, labels=labels, implementation=implementation)
    value.backward()
    assert value.dtype == torch.float32
    assert value.item() == pytest.approx(loss(z.detach().double(), labels=labels).item(), rel=2e-5)
    assert z.grad.isfinite().all()


@pytest.mark.parametrize(
    "name", ["contrastive", "triplet", "triplet-hard", "triplet-semi-hard", "circle", "multi-similarity"]
)
def test_memory_grows_with_the_batch_and_not_with_its_square(name, peak_bytes, monkeypatch):
    monkeypatch.setattr("nearfar.kernels.rows._ENTRIES", 2**14)
    monkeypatch.setattr("nearfar.kernels.tiled._EDGE", {"cpu": 128})

    def peak(n):
        z = normal(n, 8, dtype=torch.float32).requires_grad_()
        labels = classes(n, n // 4)
        return peak_bytes(lambda: LOSSES[name](z, labels=labels, implementation="tiled").backward())

    small, middle, large = peak(384), peak(768), peak(1152)
    assert large - middle < 1.3 * (middle - small) + 2e5
    assert large < 1152 * 1152 * 4 / 2


@EVERY
def test_the_tiled_form_says_that_it_cannot_be_differentiated_twice(loss):
    z, labels = normal(6, 3).requires_grad_(), classes(6, 2)
    (gradient,) = torch.autograd.grad(loss(z, labels=labels, implementation="tiled"), z, create_graph=True)
    with pytest.raises(ConfigError, match="no second derivative"):
        gradient.square().sum().backward()


ONES = torch.ones(3, dtype=torch.long)


@EVERY
@pytest.mark.parametrize(
    ("z", "options", "error", "message"),
    [
        (torch.ones(3), {"labels": ONES}, DataError, r"z must be embeddings \[N, D\], got shape \[3\]"),
        (torch.ones(0, 2), {"labels": ONES[:0]}, DataError, "batch is empty"),
        (torch.ones(3, 2), {"labels": ONES[:2]}, DataError, "labels must name each of the 3 samples once"),
        (torch.ones(3, 2), {"labels": torch.ones(3)}, ConfigError, "labels must be a tensor of integers"),
        (torch.ones(3, 2), {}, ConfigError, "Give labels, or"),
        (torch.ones(3, 2, dtype=torch.long), {"labels": ONES}, DataError, "floating point"),
        (torch.ones(3, 2), {"labels": ONES, "reference": torch.ones(4, 2)}, DataError, "needs reference_labels"),
        (torch.ones(3, 2), {"labels": ONES, "reference_labels": ONES}, ConfigError, "belong to a reference"),
        (torch.ones(3, 2), {"labels": ONES, "offset": 0}, ConfigError, "offset is a place in a reference"),
        (
            torch.ones(3, 2),
            {"labels": ONES, "reference": torch.ones(3, 5), "reference_labels": ONES},
            DataError,
            r"reference must be embeddings \[N, 2\], got shape \[3, 5\]",
        ),
        (
            torch.ones(3, 2),
            {"labels": ONES, "reference": torch.ones(0, 2), "reference_labels": ONES[:0]},
            DataError,
            "The reference is empty",
        ),
        (
            torch.ones(3, 2),
            {"labels": ONES, "reference": torch.ones(3, 2), "reference_labels": ONES[:1]},
            DataError,
            "reference_labels must name each of the 3",
        ),
        (
            torch.ones(3, 2),
            {"labels": ONES, "reference": torch.ones(3, 2), "reference_labels": ONES, "offset": 1},
            ConfigError,
            "offset must lie in 0..0 for 3 anchors in 3 columns, got 1",
        ),
        (torch.ones(3, 2), {"labels": ONES, "rows": slice(0, 9)}, ConfigError, "range within 0..3"),
        (torch.ones(3, 2), {"labels": ONES, "reduction": "avg"}, ConfigError, "'mean_active', 'sum', 'none'"),
    ],
)
def test_mistakes_are_named(loss, z, options, error, message):
    with pytest.raises(error, match=message):
        loss(z, **options)


@pytest.mark.parametrize("loss", [labelled_contrastive, labelled_triplet, circle, multi_similarity])
def test_an_unknown_implementation_is_named(loss):
    with pytest.raises(UnknownName, match="Did you mean 'tiled'"):
        loss(normal(3, 2), labels=ONES, implementation="tile")
