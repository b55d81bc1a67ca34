"""Distances: one value whichever way they are asked for, digits of near pairs, gradients at distance 0."""

import pytest
import torch

from nearfar.losses.core.distance import (
    block_distances,
    centred,
    distance_scores,
    index_distances,
    pair_distances,
    preparation,
)

EVERY = pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean", "cosine"])
BOTH = pytest.mark.parametrize("normalize", [True, False])


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@EVERY
@BOTH
def test_pairs_indices_blocks_and_rows_agree(distance, normalize):
    prepare = preparation(distance, normalize)
    rows, columns = prepare(normal(5, 3)), prepare(normal(7, 3, seed=1))
    i, j = torch.ones(5, 7).nonzero(as_tuple=True)
    by_pairs = pair_distances(rows[i], columns[j], distance).view(5, 7)
    torch.testing.assert_close(index_distances(rows, columns, i, j, distance).view(5, 7), by_pairs)
    torch.testing.assert_close(block_distances(*centred(rows, columns, distance), distance), by_pairs)
    for implementation in ("dense", "tiled"):
        by_rows = distance_scores(
            lambda d, at: d, rows, columns, distance=distance, implementation=implementation, longest=2
        )
        torch.testing.assert_close(by_rows, by_pairs)


@EVERY
@pytest.mark.parametrize("implementation", ["dense", "tiled"])
def test_gradcheck_of_rows(distance, implementation):
    def run(rows, columns):
        return distance_scores(
            lambda d, at: d, rows, columns, distance=distance, implementation=implementation, longest=2
        )

    assert torch.autograd.gradcheck(run, (normal(4, 3).requires_grad_(), normal(5, 3, seed=1).requires_grad_()))


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
@pytest.mark.parametrize("apart", [1e-2, 1e-4, 1e-6])
def test_a_small_distance_keeps_its_digits_in_float32(distance, apart):
    x = normal(6, 32).float()
    y = x + apart * normal(6, 32, seed=1).float()
    exact = (x.double() - y.double()).norm(dim=1).pow(1 if distance == "euclidean" else 2).float()
    rows = distance_scores(lambda d, at: d.diagonal(at.start), x, y, distance=distance, implementation="dense")
    block = block_distances(*centred(x, y, distance), distance).diagonal()
    # Beside the rounding of the difference itself, which is that of its terms.
    for found in (rows, block):
        torch.testing.assert_close(found, exact, rtol=2e-6 * max(1.0, 1e-1 / apart), atol=0)


@pytest.mark.parametrize("distance", ["euclidean", "squared_euclidean"])
def test_distance_0_has_gradient_0(distance):
    x, at = normal(3, 4).requires_grad_(), torch.arange(3)
    for found in (pair_distances(x, x.detach(), distance), index_distances(x, x.detach(), at, at, distance)):
        (gradient,) = torch.autograd.grad(found.sum(), x)
        assert gradient.eq(0).all()


@EVERY
def test_nan_is_no_distance(distance):
    x, y = normal(3, 4), normal(3, 4, seed=1)
    x[0, 1] = torch.nan
    at = torch.arange(3)
    for found in (pair_distances(x, y, distance), index_distances(x, y, at, at, distance)):
        assert found.isnan().tolist() == [True, False, False]
