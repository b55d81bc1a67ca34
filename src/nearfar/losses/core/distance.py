"""Distances between embeddings: of given pairs, of index pairs, and of blocks of rows with all columns.

Each has the gradient of the formula, and 0 at distance 0, where a Euclidean distance has none.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.kernels import row_scores
from nearfar.losses.core.tuples import products, squared_differences
from nearfar.losses.core.unit import unit, wide

# Below this share of the squared lengths, |x|^2 + |y|^2 - 2 x.y has lost digits that the difference x - y still has.
_NEAR = 0.01


def preparation(distance: str, normalize: bool) -> Callable[[Tensor], Tensor]:
    """What embeddings go through before they are compared: float32 (float64 stays), of length one if asked for.

    The cosine distance, 1 - cos, is always that of rows of length one.
    """
    return unit if normalize or distance == "cosine" else wide


def wide_dtype(z: Tensor) -> torch.dtype:
    """The widest floating point type of the device: for sums of many numbers, of which a difference is wanted."""
    return torch.float32 if z.device.type == "mps" else torch.float64


def pair_distances(x: Tensor, y: Tensor, distance: str) -> Tensor:
    """The distance of row i of x and row i of y, both prepared: [B, D], [B, D] -> [B]."""
    if distance == "cosine":
        return 1 - (x * y).sum(-1)
    return _finish((x - y).square().sum(-1), distance)


def index_distances(rows: Tensor, columns: Tensor, i: Tensor, j: Tensor, distance: str) -> Tensor:
    """The distance of `rows[i[k]]` and `columns[j[k]]`, both prepared: [M, D], [N, D], [K], [K] -> [K]."""
    if distance == "cosine":
        return 1 - products(rows, columns, i, j)
    return _finish(squared_differences(rows, columns, i, j), distance)


def centred(rows: Tensor, columns: Tensor, distance: str) -> tuple[Tensor, Tensor]:
    """Both less the mean column, which no Euclidean distance depends on: products are then of the size of distances."""
    if distance == "cosine":
        return rows, columns
    middle = columns.detach().mean(0)
    return rows - middle, columns - middle


def distance_scores(
    score: Callable[..., Tensor],
    rows: Tensor,
    columns: Tensor,
    *,
    distance: str,
    implementation: str = "auto",
    longest: int | None = None,
) -> Tensor:
    """`row_scores` of a function `score(distances [r, N], at)` of prepared embeddings."""
    if distance == "cosine":
        return row_scores(
            lambda products, at: score(1 - products, at), rows, columns, implementation=implementation, longest=longest
        )

    rows, columns = centred(rows, columns, distance)

    def of_products(products: Tensor, at: slice, row_squares: Tensor, column_squares: Tensor) -> Tensor:
        lengths = row_squares[at, None] + column_squares
        squared = lengths - 2 * products
        with torch.no_grad():
            exact = subtracted_where_near(squared, lengths, rows[at], columns)
        # The value of the difference, with the derivative that both forms share.
        return score(_finish(squared + (exact - squared).detach(), distance), at)

    squares = rows.square().sum(1), columns.square().sum(1)
    return row_scores(of_products, rows, columns, *squares, implementation=implementation, longest=longest)


def block_distances(rows: Tensor, columns: Tensor, distance: str) -> Tensor:
    """Distances of a block of rows with all columns, prepared and `centred`, no gradient: [r, D], [N, D] -> [r, N]."""
    with torch.no_grad(), torch.autocast(rows.device.type, enabled=False):
        if distance == "cosine":
            return 1 - rows @ columns.T
        lengths = rows.square().sum(1, keepdim=True) + columns.square().sum(1)
        squared = subtracted_where_near(lengths - 2 * rows @ columns.T, lengths, rows, columns)
        return _finish(squared, distance)


def subtracted_where_near(squared: Tensor, lengths: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Squared distances [r, N], those that are small beside `lengths` made again from the differences."""
    i, j = (squared < _NEAR * lengths).nonzero(as_tuple=True)
    out = squared.clone()
    out[i, j] = squared_differences(rows, columns, i, j)
    return out


def _finish(squared: Tensor, distance: str) -> Tensor:
    if distance == "squared_euclidean":
        return squared
    apart = ~(squared <= 0)  # nan is no distance, and stays nan
    return torch.where(apart, squared, 1.0).sqrt() * apart
