import math

import pytest
import torch

from nearfar.diagnostics import (
    agreement,
    alignment,
    dead_dimensions,
    effective_rank,
    mean_cosine,
    pull,
    repeats,
    sample_rows,
    uniformity,
    view_retrieval,
)
from nearfar.errors import DataError


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(x):
    return x.double() / x.double().norm(dim=1, keepdim=True)


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e20])
def test_effective_rank_counts_equal_directions(scale):
    assert effective_rank(scale * torch.eye(7)) == pytest.approx(7)


@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_effective_rank_is_the_entropy_of_singular_values(shape):
    x = random(*shape)
    share = torch.linalg.svdvals(x.double())
    share = share / share.sum()
    assert effective_rank(x) == pytest.approx(float((-(share * share.log()).sum()).exp()), rel=1e-6)


def test_effective_rank_of_one_direction_is_one():
    assert effective_rank(random(50, 1) * random(1, 8, seed=1)) == pytest.approx(1, abs=1e-3)


def test_effective_rank_of_zeros_is_zero():
    assert effective_rank(torch.zeros(5, 3)) == 0


def test_alignment_is_the_mean_squared_distance_on_the_sphere():
    a, b = random(9, 4), random(9, 4, seed=1)
    assert alignment(a, b) == pytest.approx(float((unit(a) - unit(b)).square().sum(1).mean()))
    assert alignment(a, 5 * a) == pytest.approx(0, abs=1e-12)
    assert alignment(a, -a, alpha=1) == pytest.approx(2)


def test_uniformity_equals_a_loop_over_pairs():
    x = random(12, 4)
    z = unit(x)
    pairs = [math.exp(-2 * float((z[i] - z[j]).square().sum())) for i in range(12) for j in range(i)]
    assert uniformity(x) == pytest.approx(math.log(sum(pairs) / len(pairs)))


def test_uniformity_of_a_constant_is_zero():
    assert uniformity(torch.full((20, 4), 0.3)) == pytest.approx(0, abs=1e-9)


def test_uniformity_is_finite_however_far_the_points():
    assert uniformity(torch.tensor([[1.0], [-1.0]]), t=1000) == pytest.approx(-4000)


def test_mean_cosine_equals_a_loop_over_pairs():
    x = random(10, 3)
    z = unit(x)
    want = sum(float(z[i] @ z[j]) for i in range(10) for j in range(10) if i != j) / 90
    assert mean_cosine(x) == pytest.approx(want)


def test_dimensions_that_never_change_are_dead():
    x = random(50, 8)
    x[:, :2] = 0
    x[:, 2] = 1.5
    assert dead_dimensions(x) == pytest.approx(3 / 8)
    assert dead_dimensions(1e-12 * x) == pytest.approx(3 / 8)


@pytest.mark.parametrize("value", [0.0, 0.3])
def test_a_constant_embedding_is_all_dead(value):
    assert dead_dimensions(torch.full((20, 5), value)) == 1


@pytest.mark.parametrize("figure", [effective_rank, uniformity, mean_cosine, dead_dimensions])
def test_not_finite_values_give_nan(figure):
    x = random(9, 4)
    x[3, 1] = torch.nan
    assert figure(x).isnan()


@pytest.mark.parametrize("figure", [uniformity, mean_cosine])
def test_one_row_has_no_pairs(figure):
    assert figure(random(1, 4)).isnan()


def test_sampled_rows_are_distinct_and_repeat():
    x = torch.arange(100.0)[:, None]
    assert len(sample_rows(x, 30).unique()) == 30
    assert torch.equal(sample_rows(x, 30), sample_rows(x, 30))


def test_wrong_shapes_are_explained():
    with pytest.raises(DataError, match=r"matrix \[N, D\]"):
        effective_rank(random(4))
    with pytest.raises(DataError, match="same shape"):
        alignment(random(4, 2), random(4, 3))


def test_views_of_one_sample_find_each_other():
    x = random(50, 16)
    assert view_retrieval(x, x + 0.01 * random(50, 16, seed=1)) == 1


def test_a_collapsed_encoder_finds_no_view():
    assert view_retrieval(torch.ones(50, 4), torch.ones(50, 4)) == 0


def test_unrelated_views_find_each_other_by_chance():
    assert view_retrieval(random(500, 8), random(500, 8, seed=1)) < 0.02


def test_copies_do_not_compete_for_a_view():
    x = random(6, 16).repeat(2, 1)
    assert view_retrieval(x, x) == 0
    assert view_retrieval(x, x, ids=torch.arange(6).repeat(2)) == 1


def test_without_other_samples_there_is_no_retrieval_and_no_agreement():
    x, ids = random(6, 16), torch.zeros(6)
    assert view_retrieval(x, x, ids=ids).isnan()
    assert agreement(x, x, ids=ids).isnan()


def test_what_is_not_finite_finds_no_view():
    assert view_retrieval(torch.full((5, 4), torch.nan), random(5, 4)) == 0
    assert agreement(torch.full((5, 4), torch.nan), random(5, 4)).isnan()


def test_agreement_equals_a_loop_over_pairs():
    a, b, ids = random(9, 4), random(9, 4) + random(9, 4, seed=1), torch.tensor([0, 1, 2, 3, 4, 4, 5, 6, 6])
    u, v = unit(a), unit(b)
    own = [float((u[i] - v[i]).square().sum()) for i in range(9)]
    others = [float((u[i] - v[j]).square().sum()) for i in range(9) for j in range(9) if ids[i] != ids[j]]
    expected = 1 - (sum(own) / len(own)) / (sum(others) / len(others))
    assert agreement(a, b, ids=ids) == pytest.approx(expected, abs=1e-6)


def test_agreement_of_equal_views_is_one_and_of_unrelated_ones_none():
    assert agreement(random(50, 8), random(50, 8)) == pytest.approx(1, abs=1e-6)
    assert abs(agreement(random(500, 8), random(500, 8, seed=1))) < 0.05


def test_agreement_of_one_point_does_not_exist():
    assert agreement(torch.ones(5, 3), torch.ones(5, 3)).isnan()


def test_pull_is_the_sum_over_latents_of_length_times_gradient():
    z = random(2, 5, 4).double().requires_grad_()
    z.square().sum().backward()
    assert z.grad is not None
    assert pull(z, z.grad) == pytest.approx(float(2 * z.detach().square().sum()))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_pull_forgets_the_scale_that_the_loss_forgets(scale):
    z = (scale * random(2, 5, 4)).double().requires_grad_()
    loss = torch.nn.functional.cosine_similarity(z[0], z[1]).mean()
    (gradient,) = torch.autograd.grad(loss, z)
    sines = (1 - torch.nn.functional.cosine_similarity(*z.detach()).square()).sqrt()
    assert pull(z.detach(), gradient) == pytest.approx(float(2 * sines.mean()))


def test_repeats_equal_a_loop_over_pairs():
    ids = torch.tensor([7, 7, 7, 2, 3, 3])
    pairs = [bool(ids[i] == ids[j]) for i in range(6) for j in range(i)]
    assert repeats(ids) == pytest.approx(sum(pairs) / len(pairs))
    assert repeats(torch.arange(5)) == 0
    assert repeats(torch.zeros(5)) == 1
    assert repeats(torch.zeros(1)).isnan()
