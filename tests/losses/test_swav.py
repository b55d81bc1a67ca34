"""SwAV: Sinkhorn's marginals, the swapped prediction by loops, closed forms."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from nearfar.errors import DataError
from nearfar.losses import sinkhorn, swav


def normal(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def cosines(b, k, seed=0):
    """Scores of random samples with random prototypes, as SwAV has them."""
    return F.normalize(normal(b, 128, seed=seed)) @ F.normalize(normal(k, 128, seed=seed + 1)).T


def codes_by_loops(scores, iterations, epsilon):
    """Columns and rows of exp(scores / epsilon) divided by their sums in turn, one entry after the other."""
    b, k = scores.shape
    q = [[math.exp(x / epsilon) for x in row] for row in scores.tolist()]
    for _ in range(iterations):
        columns = [sum(q[i][j] for i in range(b)) for j in range(k)]
        q = [[q[i][j] / columns[j] for j in range(k)] for i in range(b)]
        q = [[x / sum(row) for x in row] for row in q]
    return q


def by_loops(high, low, queue=None, temperature=0.1, iterations=3, epsilon=0.05):
    """Cross-entropies of codes of wide views with softmaxes of other views, one entry after the other."""
    views = [*high, *low]
    b, k = views[0].shape
    terms = []
    for v, z in enumerate(high):
        known = z if queue is None else torch.cat([z, queue[v]])
        codes = codes_by_loops(known, iterations, epsilon)
        for w, other in enumerate(views):
            if w == v:
                continue
            for i in range(b):
                logits = [x / temperature for x in other[i].tolist()]
                lse = math.log(sum(math.exp(x) for x in logits))
                terms.append(-sum(codes[i][j] * (logits[j] - lse) for j in range(k)))
    return sum(terms) / len(terms)


@pytest.mark.parametrize("iterations", [1, 3, 10])
@pytest.mark.parametrize("epsilon", [0.05, 0.5])
def test_codes_by_loops(iterations, epsilon):
    scores = cosines(7, 4)
    expected = torch.tensor(codes_by_loops(scores, iterations, epsilon), dtype=torch.float64)
    torch.testing.assert_close(sinkhorn(scores, iterations=iterations, epsilon=epsilon), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize(("iterations", "error"), [(3, 0.03), (10, 3e-6), (100, 1e-13)])
def test_marginals_are_those_that_the_docstring_states(iterations, error):
    codes = sinkhorn(cosines(256, 64), iterations=iterations)
    torch.testing.assert_close(codes.sum(1), torch.ones(256).double(), rtol=0, atol=1e-14)
    torch.testing.assert_close(codes.sum(0), torch.full((64,), 256 / 64).double(), rtol=error, atol=0)


@settings(max_examples=15, deadline=None)
@given(b=st.integers(1, 30), k=st.integers(1, 30), seed=st.integers(0, 99))
def test_marginals_hold_after_convergence_for_any_sizes(b, k, seed):
    codes = sinkhorn(cosines(b, k, seed=seed), iterations=100, epsilon=0.5) / b
    torch.testing.assert_close(codes.sum(1), torch.full((b,), 1 / b, dtype=torch.float64), rtol=1e-13, atol=0)
    torch.testing.assert_close(codes.sum(0), torch.full((k,), 1 / k, dtype=torch.float64), rtol=1e-9, atol=0)


def test_codes_have_the_form_that_the_transport_problem_has():
    scores = cosines(6, 5)
    residual = sinkhorn(scores, iterations=50).log() - scores / 0.05
    # log of diag(u) Q diag(v) over Q: a column plus a row.
    torch.testing.assert_close(residual - residual[:1] - residual[:, :1] + residual[0, 0], torch.zeros(6, 5).double())


@settings(max_examples=15, deadline=None)
@given(shift=st.floats(-100, 100), seed=st.integers(0, 99))
def test_what_all_prototypes_or_all_samples_gain_does_not_matter(shift, seed):
    scores = cosines(6, 5, seed=seed)
    moved = scores + shift * torch.linspace(0, 1, 6).double().unsqueeze(1)
    converged = (sinkhorn(z, iterations=100, epsilon=0.5) for z in (moved, scores))
    torch.testing.assert_close(*converged, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(sinkhorn(scores + shift), sinkhorn(scores), rtol=1e-9, atol=1e-12)


def test_equal_scores_give_even_codes():
    assert sinkhorn(torch.full((6, 4), 3.0)).allclose(torch.full((6, 4), 0.25))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("epsilon", [0.05, 1e-3])
def test_large_scores_and_small_epsilons_do_not_overflow(epsilon, dtype):
    codes = sinkhorn((50 * cosines(16, 8)).to(dtype), epsilon=epsilon)  # exp of up to 50,000
    assert codes.dtype == torch.float32
    assert codes.isfinite().all()
    torch.testing.assert_close(codes.sum(1), torch.ones(16), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 1e-9), (torch.float32, 1e-3)])
@pytest.mark.parametrize("size", [1.0, 20.0])
def test_plain_numbers_between_logarithms_lose_nothing(size, dtype, error):
    scores = (size * cosines(24, 9)).to(dtype)  # exp of up to 6,000
    logs = scores.double() / 1e-3
    for _ in range(40):
        logs -= logs.logsumexp(0)
        logs -= logs.logsumexp(1, keepdim=True)
    codes = sinkhorn(scores, iterations=40, epsilon=1e-3)
    torch.testing.assert_close(codes.double(), logs.exp(), rtol=error, atol=error)


def test_codes_have_no_gradient_and_leave_the_scores_as_they_are():
    scores = cosines(5, 4).requires_grad_()
    before = scores.detach().clone()
    assert not sinkhorn(scores).requires_grad
    assert scores.equal(before)


@pytest.mark.parametrize(("high", "low"), [(2, 0), (2, 3), (1, 2), (3, 1)])
def test_value_by_loops(high, low):
    high, low = list(cosines(5 * high, 4).split(5)), list(cosines(5 * max(low, 1), 4, seed=9).split(5))[:low]
    options = {"temperature": 0.2, "iterations": 2, "epsilon": 0.1}
    assert swav(high, low, **options).item() == pytest.approx(by_loops(high, low, **options), rel=1e-13)
    assert swav(high, low).item() == pytest.approx(by_loops(high, low), rel=1e-13)


def test_a_queue_takes_part_in_the_codes_only_by_loops():
    high, low, queue = cosines(10, 4).split(5), cosines(5, 4, seed=5).split(5), cosines(14, 4, seed=7).split(7)
    assert swav(high, low, queue=queue).item() == pytest.approx(by_loops(high, low, queue), rel=1e-13)
    assert swav(high, low, queue=queue).item() != pytest.approx(swav(high, low).item(), rel=1e-3)


@pytest.mark.parametrize("k", [2, 7])
def test_equal_scores_cost_log_of_the_number_of_prototypes(k):
    z = torch.full((6, k), 0.4, dtype=torch.float64)
    assert swav([z, z], [z]).item() == pytest.approx(math.log(k), rel=1e-14)


def test_views_that_agree_on_sharp_and_even_codes_cost_nothing():
    z = torch.eye(4).double()
    assert swav([z, z], temperature=0.01).item() == pytest.approx(0, abs=1e-6)


def test_scores_of_0_have_a_finite_gradient():
    z = torch.zeros(4, 3, requires_grad=True)
    swav([z, z]).backward()
    assert z.grad.isfinite().all()


def test_memory_is_linear_in_the_number_of_views(peak_bytes):
    def peak(views):
        scores = [z.float().requires_grad_() for z in normal(64 * views, 512).split(64)]
        return peak_bytes(lambda: swav(scores[:2], scores[2:]).backward())

    four, eight, sixteen = peak(4), peak(8), peak(16)
    assert sixteen - eight < 2.2 * (eight - four)


@pytest.mark.parametrize(
    ("run", "error", "message"),
    [
        (lambda z: sinkhorn(z[0]), DataError, r"scores must be prototype scores \[B, K\], got shape \[4\]"),
        (lambda z: swav([z]), DataError, "a wide view and another view, got 1 wide and 0 small"),
        (lambda z: swav([], [z, z]), DataError, "got 0 wide and 2 small"),
        (lambda z: swav([z, z], [z[:2]]), DataError, r"low\[0\] \[2, 4\]"),
        (lambda z: swav([z, z], queue=[z]), DataError, "each of the 2 wide views, got 1"),
        (lambda z: swav([z, z], queue=[z, z[:, :2]]), DataError, r"queue\[1\] must be scores \[Q, 4\]"),
    ],
)
def test_mistakes_are_named(run, error, message):
    with pytest.raises(error, match=message):
        run(torch.ones(3, 4))
