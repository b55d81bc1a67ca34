"""Log-sum-exp of similarities from the whole matrix at once: the plain form, quickest for small problems."""

import torch
from torch import Tensor

from nearfar.kernels.pairs import Pairs
from nearfar.kernels.product import product


def dense_lse(
    a: Tensor, b: Tensor | None, scale: Tensor, bias: Tensor | None, pairs: Pairs, *, columns: bool
) -> tuple[Tensor, Tensor | None]:
    """Row (and column) log-sum-exp; arguments as in `tiled_lse`. Holds M x N numbers; can be differentiated twice."""
    logits = product(a * scale, (a if b is None else b).T)  # [M N]
    if bias is not None:
        logits = logits + bias
    pairs.rule_out(logits, slice(0, logits.shape[0]), slice(0, logits.shape[1]))
    # Only a rule on groups, a bias of -inf or a row alone with itself can leave a line without any pair.
    lse = torch.logsumexp if bias is None and pairs.row_groups is None and min(logits.shape) > 1 else masked_logsumexp
    return lse(logits, 1), lse(logits, 0) if columns else None


def masked_logsumexp(logits: Tensor, dim: int) -> Tensor:
    """`torch.logsumexp` with derivative 0, where torch's is nan, in lines whose every entry is -inf."""
    empty = (logits == -torch.inf).all(dim, keepdim=True)
    lse = logits.masked_fill(empty, 0.0).logsumexp(dim)
    return lse.masked_fill(empty.squeeze(dim), -torch.inf)
