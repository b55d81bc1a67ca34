"""The cosine of two samples as a sum over their parts.

Where a vector is a sum over parts, as after mean pooling, so is its inner product with another vector, exactly:
Stylianou et al., "Visualizing deep similarity networks", 2019, equations 2 to 4, here behind the last affine layer.
"""

from torch import Tensor
from torch.nn.functional import normalize

from nearfar.contract import Encoder, Parts
from nearfar.contract.parts import through


def terms_of(encoder: Encoder, parts: Parts) -> Tensor | None:
    """What each part adds to the sample's vector `[P, dim]`; None where the vector is no such sum."""
    return None if parts.terms is None or not len(parts) else through(parts.terms, encoder.output)


def shares(terms: Tensor, other: Tensor) -> Tensor:
    """What each part adds to the cosine of the sum of `terms` `[P, dim]` with `other` [dim]: [P], whose sum it is."""
    found: Tensor = terms @ normalize(other, dim=0) / terms.sum(0).norm().clamp_min(1e-12)
    return found


def share_matches(one: Tensor, other: Tensor) -> Tensor:
    """What each pair of parts adds to the cosine of two samples with terms `[P, dim]` and `[Q, dim]`: `[P, Q]`."""
    found: Tensor = one @ other.T / (one.sum(0).norm() * other.sum(0).norm()).clamp_min(1e-12)
    return found


def token_matches(one: Tensor, other: Tensor) -> Tensor:
    """The cosine of each pair of the tokens `[P, d]` and `[Q, d]` of two samples: `[P, Q]`."""
    return normalize(one, dim=1) @ normalize(other, dim=1).T
