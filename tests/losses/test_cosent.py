"""CoSENT: the published value, loops, ties, closed forms, memory."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nearfar.losses import cosent


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


def test_memory_grows_with_the_batch_and_not_with_its_square(peak_bytes):
    def peak(b):
        z1, z2 = (normal(b, 4, seed=s, dtype=torch.float32).requires_grad_() for s in (0, 1))
        scores = some_scores(b, 6)
        return peak_bytes(lambda: cosent(z1, z2, scores=scores).backward())

    assert peak(8192) < 2.1 * peak(4096) < 4096**2 * 4 / 20
