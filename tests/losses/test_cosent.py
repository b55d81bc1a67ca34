"""CoSENT: the published value, loops, ties, closed forms, invariances, memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.errors import ConfigError, DataError
from nearfar.losses import CoSENTLoss, cosent


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def some_scores(b, kinds, seed=0):
    return torch.randint(kinds, (b,), generator=torch.Generator().manual_seed(seed)) / 4


def pairs_of(cosines):
    """Pairs of vectors in the plane that have these cosines."""
    c = torch.as_tensor(cosines, dtype=torch.float64)
    return torch.tensor([[1.0, 0.0]]).double().expand(len(c), 2), torch.stack([c, (1 - c.square()).sqrt()], dim=1)


def by_loops(z1, z2, scores, scale=20.0):
    """log(1 + sum exp(scale (s_j - s_i))) over all i, j with score_i > score_j, one pair after the other."""
    s = [torch.cosine_similarity(x, y, dim=0).item() for x, y in zip(z1, z2, strict=True)]
    n = range(len(s))
    return math.log1p(sum(math.exp(scale * (s[j] - s[i])) for i in n for j in n if scores[i] > scores[j]))


def test_published_value(case):
    known = case("cosent_scale20")
    scores = torch.as_tensor(known["inputs"]["labels"])
    loss = cosent(*pairs_of(known["inputs"]["scores"]), scores=scores, scale=known["params"]["scale"])
    assert loss.item() == pytest.approx(known["value"], abs=1e-15)


@settings(max_examples=25, deadline=None)
@given(b=st.integers(1, 15), kinds=st.integers(1, 6), scale=st.floats(0.1, 30), seed=st.integers(0, 99))
def test_value_by_loops_with_and_without_ties(b, kinds, scale, seed):
    z1, z2, scores = normal(b, 4, seed=seed), normal(b, 4, seed=seed + 100), some_scores(b, kinds, seed)
    expected = by_loops(z1, z2, scores.tolist(), scale)
    assert cosent(z1, z2, scores=scores, scale=scale).item() == pytest.approx(expected, rel=1e-11, abs=1e-12)


def test_equal_cosines_cost_the_log_of_one_more_than_the_pairs_in_order():
    z = normal(6, 3)
    assert cosent(z, z, scores=torch.arange(6)).item() == pytest.approx(math.log(1 + 6 * 5 / 2))
    assert cosent(z, z, scores=torch.tensor([0, 0, 1, 1, 1, 2])).item() == pytest.approx(math.log(1 + 6 + 2 + 3))


@pytest.mark.parametrize("b", [1, 5])
def test_where_no_two_scores_differ_the_loss_and_its_gradient_are_0(b):
    z1, z2 = normal(b, 3).requires_grad_(), normal(b, 3, seed=1).requires_grad_()
    loss = cosent(z1, z2, scores=torch.ones(b))
    loss.backward()
    assert loss.item() == 0
    assert z1.grad.eq(0).all()
    assert z2.grad.eq(0).all()


def test_the_wrong_order_costs_its_margin_and_the_right_one_nothing():
    z1, z2 = pairs_of([1.0, -1.0])
    assert cosent(z1, z2, scores=torch.tensor([0.0, 1.0]), scale=100).item() == pytest.approx(200)
    assert cosent(z1, z2, scores=torch.tensor([1.0, 0.0]), scale=100).item() == pytest.approx(math.exp(-200), abs=1e-30)


@pytest.mark.parametrize("kinds", [1, 3, 50])
def test_gradcheck(kinds):
    inputs = normal(7, 3).requires_grad_(), normal(7, 3, seed=1).requires_grad_()
    scores = some_scores(7, kinds)
    assert torch.autograd.gradcheck(lambda x, y: cosent(x, y, scores=scores, scale=5.0), inputs)


@settings(max_examples=15, deadline=None)
@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_only_the_order_of_scores_and_no_length_matters(factor, seed):
    z1, z2, scores = normal(8, 4, seed=seed), normal(8, 4, seed=seed + 100), some_scores(8, 4, seed)
    moved = cosent(z1 * factor, z2, scores=3 + factor * scores.double())
    torch.testing.assert_close(moved, cosent(z1, z2, scores=(scores * 4).long()), rtol=1e-11, atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 12), seed=st.integers(0, 99))
def test_the_order_of_pairs_and_in_pairs_does_not_matter(b, seed):
    z1, z2, scores = normal(b, 4, seed=seed), normal(b, 4, seed=seed + 100), some_scores(b, 3, seed)
    order = torch.randperm(b, generator=torch.Generator().manual_seed(seed))
    moved = cosent(z2[order], z1[order], scores=scores[order])
    torch.testing.assert_close(moved, cosent(z1, z2, scores=scores), rtol=1e-12, atol=1e-13)


def test_a_zero_vector_has_a_finite_loss_and_gradient_0():
    z1, z2 = normal(5, 3), normal(5, 3, seed=1)
    z1[2] = 0
    z1.requires_grad_()
    loss = cosent(z1, z2, scores=torch.arange(5))
    loss.backward()
    assert loss.isfinite()
    assert z1.grad.isfinite().all()
    assert z1.grad[2].eq(0).all()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_exact_for_the_given_numbers_in_any_precision(dtype):
    z1, z2 = normal(60, 16, dtype=dtype).requires_grad_(), normal(60, 16, seed=1, dtype=dtype)
    scores = some_scores(60, 9)
    loss = cosent(z1, z2, scores=scores, scale=100.0)
    loss.backward()
    assert loss.dtype == torch.float32
    wide = z1.detach().double().requires_grad_()
    exact = cosent(wide, z2.double(), scores=scores, scale=100.0)
    exact.backward()
    assert loss.item() == pytest.approx(exact.item(), rel=1e-6)
    assert z1.grad.dtype == dtype
    torch.testing.assert_close(z1.grad.double(), wide.grad, rtol=1e-4 + torch.finfo(dtype).eps, atol=1e-4)


def test_memory_grows_with_the_batch_and_not_with_its_square(peak_bytes):
    def peak(b):
        z1, z2 = (normal(b, 4, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
        scores = some_scores(b, 6)
        return peak_bytes(lambda: cosent(z1, z2, scores=scores).backward())

    assert peak(8192) < 2.1 * peak(4096) < 4096**2 * 4 / 20


def test_the_module_is_the_function():
    z1, z2, scores = normal(6, 4), normal(6, 4, seed=1), some_scores(6, 3)
    assert CoSENTLoss(5.0)(z1, z2, scores).equal(cosent(z1, z2, scores=scores, scale=5.0))
    assert repr(CoSENTLoss()) == "CoSENTLoss(scale=20.0)"


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda z: cosent(z, z[:2], scores=z[:, 0]), DataError, r"z1 \[3, 4\], z2 \[2, 4\]"),
        (lambda z: cosent(z, z, scores=z), DataError, r"each of the 3 pairs is, got shape \[3, 4\]"),
        (lambda z: cosent(z, z, scores=[1, 2, 3]), ConfigError, "tensor of numbers, got list"),
        (lambda z: cosent(z, z, scores=z[:, 0] > 0), ConfigError, "tensor of numbers, got torch.bool"),
        (lambda z: cosent(z, z, scores=z[:, 0], scale=0), ConfigError, "scale must be > 0, got 0"),
        (lambda z: cosent(z.long(), z.long(), scores=z[:, 0]), DataError, "floating point"),
        (lambda z: CoSENTLoss(-1), ConfigError, "scale must be > 0, got -1"),
    ],
)
def test_mistakes_are_named(run, error, message):
    with pytest.raises(error, match=message):
        run(torch.ones(3, 4))
