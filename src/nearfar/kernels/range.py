"""When exp of a logit stays in range without a maximum subtracted first."""

import torch
from torch import Tensor

# Below this size of the largest logit, exp and its sum over any number of columns stay in range without subtracting
# a maximum, so that one exp serves rows and columns.
_SAFE_LOGIT = {torch.float32: 40.0, torch.float64: 300.0}


def within_range(a: Tensor, b: Tensor, scale: Tensor, bias: Tensor | None) -> bool:
    """Whether no logit `scale * a_i . b_j + bias_j` can leave the range of exp, by Cauchy-Schwarz; -inf is no logit."""
    if len(a) == 0 or len(b) == 0:
        return True
    longest = _longest(a, scale.dtype)
    largest = longest * (longest if a is b else _longest(b, scale.dtype)) * scale.abs()
    if bias is not None:
        largest = largest + bias.masked_fill(bias == -torch.inf, 0.0).abs().max()
    return bool(largest <= _SAFE_LOGIT[largest.dtype])


def _longest(z: Tensor, dtype: torch.dtype) -> Tensor:
    longest: Tensor = torch.linalg.vector_norm(z, dim=1, dtype=dtype).max()
    return longest
