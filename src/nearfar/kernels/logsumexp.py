"""Log-sum-exp of scaled similarities, the one expensive part of every softmax contrastive loss.

Axes: M rows (anchors), N columns (candidates), D dimensions. Every function computes in float32 (float64 inputs stay
float64), whatever autocast says, and returns -inf where a row or column has no pair that counts.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor

from nearfar.errors import ConfigError, UnknownName, must
from nearfar.kernels.dense import dense_lse
from nearfar.kernels.pairs import ALL_PAIRS, Pairs
from nearfar.kernels.ring import Ring, over_ring
from nearfar.kernels.tiled import tiled_lse

Kernel = Callable[..., tuple[Tensor, Tensor | None]]

# Measured, forward and backward: up to this many entries the whole matrix is quicker than a sweep of tiles.
_DENSE_ENTRIES = 1024 * 1024

_HALF = (torch.bfloat16, torch.float16)
_CPU = torch.device("cpu")


def triton_lse(
    a: Tensor,
    b: Tensor | None,
    scale: Tensor,
    bias: Tensor | None,
    pairs: Pairs,
    *,
    columns: bool,
    product: torch.dtype | None = None,
) -> tuple[Tensor, Tensor | None]:
    """The kernel of `nearfar.kernels.triton_lse`, imported when it is called: few machines have triton."""
    try:
        from nearfar.kernels.triton_lse import triton_lse as kernel
    except ImportError as error:
        raise ConfigError(f"implementation='triton' needs the package triton ({error}): take 'auto'.") from error
    return kernel(a, b, scale, bias, pairs, columns=columns, product=product)


IMPLEMENTATIONS: dict[str, Kernel] = {"dense": dense_lse, "tiled": tiled_lse, "triton": triton_lse}


def choose(
    implementation: str, m: int, n: int, *, device: torch.device = _CPU, dtype: torch.dtype = torch.float32
) -> Kernel:
    """The kernel for an M x N problem: the one named, or with "auto" the quickest that device and dtype allow."""
    if implementation == "auto" and m * n <= _DENSE_ENTRIES:
        implementation = "dense"
    elif implementation == "auto":
        implementation = "triton" if dtype != torch.float64 and _runs_triton(device) else "tiled"
    if implementation not in IMPLEMENTATIONS:
        raise UnknownName("implementation", implementation, ["auto", *IMPLEMENTATIONS])
    return IMPLEMENTATIONS[implementation]


@functools.cache
def _runs_triton(device: torch.device) -> bool:
    if device.type != "cuda" or torch.version.hip is not None or torch.cuda.get_device_capability(device) < (8, 0):
        return False
    try:
        import nearfar.kernels.triton_lse  # noqa: F401
    except ImportError:
        return False
    return True


def row_lse(
    rows: Tensor,
    columns: Tensor,
    *,
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    valid: Tensor | None = None,
    pairs: Pairs = ALL_PAIRS,
    implementation: str = "auto",
    product: torch.dtype | None = None,
    ring: Ring | None = None,
) -> Tensor:
    """Log-sum-exp over the columns j of `scale * rows_i . columns_j + bias_j`, for each row: [M, D], [N, D] -> [M].

    bias is [N] or a scalar tensor; valid [N] is False for columns that do not count. product: the type (as
    torch.bfloat16) to which the Triton form rounds rows and columns before it multiplies them, by default one that
    rounds nothing; it bounds the error in `nearfar.kernels.triton_lse`. The other forms multiply as they compute.
    ring: `columns` are those that this rank has of the N, which lie on all its ranks; bias, valid and pairs are of N.
    """
    if ring is None:
        return _lse(rows, columns, scale, bias, valid, pairs, False, implementation, product)[0]
    _check(rows, columns, bias, valid, pairs, ring.samples)
    dtype, product = _types(rows, columns, product)

    def score(rows: Tensor, block: Tensor, at: slice, scale: Tensor, *biases: Tensor) -> Tensor:
        some = [bias[at] if bias.dim() else bias for bias in biases]
        return row_lse(
            rows, block, scale=scale, bias=some[0] if some else None, valid=None if valid is None else valid[at],
            pairs=pairs.of_columns(at), implementation=implementation, product=product,
        )  # fmt: skip

    parameters = [torch.as_tensor(scale, dtype=dtype, device=rows.device), *([] if bias is None else [bias])]
    return over_ring(ring, score, rows.to(dtype), columns.to(dtype), *parameters, logarithms=True)


def row_column_lse(
    rows: Tensor,
    columns: Tensor,
    *,
    scale: float | Tensor = 1.0,
    bias: Tensor | None = None,
    valid: Tensor | None = None,
    pairs: Pairs = ALL_PAIRS,
    implementation: str = "auto",
    product: torch.dtype | None = None,
) -> tuple[Tensor, Tensor]:
    """`row_lse` and the same over the rows, for each column, from one matrix: [M, D], [N, D] -> [M], [N]."""
    by_row, by_column = _lse(rows, columns, scale, bias, valid, pairs, True, implementation, product)
    assert by_column is not None
    return by_row, by_column


def self_lse(
    z: Tensor,
    *,
    scale: float | Tensor = 1.0,
    groups: Tensor | None = None,
    keep: str = "different",
    implementation: str = "auto",
    product: torch.dtype | None = None,
) -> Tensor:
    """Log-sum-exp of `scale * z_i . z_j` over all j other than i: [N, D] -> [N].

    With groups [N], over those j of another group (`keep="different"`) or of the same group (`keep="same"`); product
    as in `row_lse`.
    """
    return _lse(z, None, scale, None, None, Pairs(0, groups, groups, keep), False, implementation, product)[0]


def _lse(
    a: Tensor,
    b: Tensor | None,
    scale: float | Tensor,
    bias: Tensor | None,
    valid: Tensor | None,
    pairs: Pairs,
    columns: bool,
    implementation: str,
    product: torch.dtype | None,
) -> tuple[Tensor, Tensor | None]:
    other = a if b is None else b
    m, n = len(a), len(other)
    _check(a, other, bias, valid, pairs, n)
    dtype, product = _types(a, other, product)
    kernel = choose(implementation, m, n, device=a.device, dtype=dtype)
    if kernel is triton_lse:
        kernel = functools.partial(kernel, product=product)
    with torch.autocast(a.device.type, enabled=False):
        a, b = a.to(dtype), None if b is None else b.to(dtype)
        scale = torch.as_tensor(scale, dtype=dtype, device=a.device)
        # One bias for all pairs moves out of the log-sum-exp; one for each column cannot.
        shift = bias.to(dtype) if bias is not None and bias.dim() == 0 else None
        per_column = bias.to(dtype) if bias is not None and bias.dim() == 1 else None
        if valid is not None:
            zero = a.new_zeros(n) if per_column is None else per_column
            per_column = torch.where(valid, zero, -torch.inf)
        by_row, by_column = kernel(a, b, scale, per_column, pairs, columns=columns)
        if shift is not None:
            by_row, by_column = by_row + shift, None if by_column is None else by_column + shift
        return by_row, by_column


def _check(a: Tensor, b: Tensor, bias: Tensor | None, valid: Tensor | None, pairs: Pairs, n: int) -> None:
    """Raise ConfigError where these do not fit rows a [M, D] and n columns, of which b are some."""
    must(a.dim() == 2 and b.dim() == 2 and a.shape[1] == b.shape[1],
         "rows [M, D] and columns [N, D] must be of one width", got=(tuple(a.shape), tuple(b.shape)))  # fmt: skip
    pairs.check(len(a), n)
    must(bias is None or bias.shape in ((), (n,)), f"bias must be a scalar or [{n}]", got=getattr(bias, "shape", None))
    must(valid is None or valid.shape == (n,), f"valid must be [{n}]", got=getattr(valid, "shape", None))


def _types(a: Tensor, b: Tensor, product: torch.dtype | None) -> tuple[torch.dtype, torch.dtype | None]:
    """What is computed in, and what the Triton form multiplies in: as asked for, or the half precision of both."""
    came_in = a.dtype if a.dtype == b.dtype and a.dtype in _HALF else None
    return torch.float64 if a.dtype == b.dtype == torch.float64 else torch.float32, product or came_in
