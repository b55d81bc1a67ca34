"""Distances and similarities, made a block of rows at a time where a loss or a miner asks for them."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from nearfar.errors import ConfigError, DataError, must
from nearfar.kernels import row_blocks
from nearfar.losses.core.unit import unit
from nearfar.losses.pml.tuples import Compared


class Plain(NamedTuple):
    """How `nearfar.losses` calls a distance: its word, and whether embeddings are normalised."""

    distance: str
    normalize: bool


COSINE = Plain("cosine", True)


class BaseDistance(nn.Module):
    """A comparison of embeddings; `is_inverted` says that larger means nearer. Subclasses define `compute_mat`.

    Embeddings are divided by their p-norm first where `normalize_embeddings` says so; results are raised to `power`.
    Half precision is compared in float32.
    """

    def __init__(
        self,
        normalize_embeddings: bool = True,
        p: float = 2,
        power: float = 1,
        is_inverted: bool = False,
        collect_stats: bool | None = None,
    ):
        super().__init__()
        refuse_stats(collect_stats)
        self.normalize_embeddings = normalize_embeddings
        self.p = p
        self.power = power
        self.is_inverted = is_inverted

    def forward(self, query_emb: Tensor, ref_emb: Tensor | None = None) -> Tensor:
        """All distances at once: [M, D], [N, D] -> [M, N]; the query is compared with itself where ref_emb is None."""
        return self._matrix(*self.prepare(query_emb, ref_emb))

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Distances of prepared embeddings, row by row: [M, D], [N, D] -> [M, N]."""
        raise NotImplementedError

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """Distances of prepared embeddings, row i with row i: [N, D], [N, D] -> [N]."""
        raise NotImplementedError

    def prepare(self, query_emb: Tensor, ref_emb: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Both sides in float32 (float64 stays float64), normalised where asked for; one tensor where both are one."""
        query = self._wide(query_emb)
        ref = query if ref_emb is None or ref_emb is query_emb else self._wide(ref_emb)
        if query.shape[1] != ref.shape[1]:
            raise DataError(f"Embeddings must be of one width, got {list(query.shape)} and {list(ref.shape)}.")
        return query, ref

    def blocks(self, query_emb: Tensor, ref_emb: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The matrix a block of rows at a time, each with its rows: (slice, [r, N])."""
        query, ref = self.prepare(query_emb, ref_emb)
        return ((at, self._matrix(query[at], ref)) for at in row_blocks(len(query), len(ref)))

    def of_pairs(self, query_emb: Tensor, ref_emb: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        """The entries (rows_k, columns_k) of the matrix, indices [K] -> [K], in memory linear in K.

        Only rows that occur are compared; blocks beyond the first are made again in the backward pass.
        """
        query, ref = self.prepare(query_emb, ref_emb)
        if len(query) * len(ref) == 0 or len(list(row_blocks(len(query), len(ref)))) == 1:
            return self._entries(query, ref, rows, columns)
        used, rows = torch.unique(rows, return_inverse=True)
        query = query[used]
        order = rows.argsort(stable=True)
        rows, columns = rows[order], columns[order]
        found = []
        for at in row_blocks(len(query), len(ref)):
            first, end = torch.searchsorted(rows, rows.new_tensor([at.start, at.stop])).tolist()
            args = (query[at], ref, rows[first:end] - at.start, columns[first:end])
            found.append(checkpoint(self._entries, *args, use_reentrant=False, preserve_rng_state=False))
        entries = torch.cat(found) if found else query.new_zeros(0)
        return entries[order.argsort()]

    def of_each(self, found: Compared, *pairs: tuple[Tensor, Tensor]) -> list[Tensor]:
        """`of_pairs` of each of several lists of pairs (anchors, references)."""
        return [self.of_pairs(found.embeddings, found.ref_emb, *pair) for pair in pairs]

    def plain(self) -> Plain | None:
        """What the losses of `nearfar.losses` call this distance, if it is one of theirs."""
        kind = type(self)
        if kind is LpDistance and self.p == 2 and self.power in (1, 2):
            return Plain("euclidean" if self.power == 1 else "squared_euclidean", self.normalize_embeddings)
        # The one similarity of theirs is the cosine.
        unit_length = kind is DotProductSimilarity and self.normalize_embeddings
        cosine = (unit_length or kind is CosineSimilarity) and self.p == 2 and self.power == 1
        return COSINE if cosine else None

    def margin(self, x: Any, y: Any) -> Any:
        """By how much x is farther than y."""
        return y - x if self.is_inverted else x - y

    def smallest_dist(self, *args: Any, **kwargs: Any) -> Any:
        """`torch.min` of distances, `torch.max` of similarities."""
        return torch.max(*args, **kwargs) if self.is_inverted else torch.min(*args, **kwargs)

    def largest_dist(self, *args: Any, **kwargs: Any) -> Any:
        """`torch.max` of distances, `torch.min` of similarities."""
        return torch.min(*args, **kwargs) if self.is_inverted else torch.max(*args, **kwargs)

    def normalize(self, embeddings: Tensor, dim: int = 1, **kwargs: Any) -> Tensor:
        """Divide by the p-norm along `dim`."""
        if self.p == 2 and not kwargs:
            return unit(embeddings.movedim(dim, -1)).movedim(-1, dim)
        return normalize(embeddings, p=self.p, dim=dim, **kwargs)

    def maybe_normalize(self, embeddings: Tensor, dim: int = 1, **kwargs: Any) -> Tensor:
        """`normalize` where `normalize_embeddings` says so."""
        return self.normalize(embeddings, dim, **kwargs) if self.normalize_embeddings else embeddings

    def get_norm(self, embeddings: Tensor, dim: int = 1, **kwargs: Any) -> Tensor:
        """The p-norm along `dim`."""
        norms: Tensor = embeddings.norm(p=self.p, dim=dim, **kwargs)
        return norms

    def extra_repr(self) -> str:
        """Show the settings."""
        return f"normalize_embeddings={self.normalize_embeddings}, p={self.p}, power={self.power}"

    def _wide(self, z: Tensor) -> Tensor:
        if z.dim() != 2 or not z.is_floating_point():
            raise DataError(f"Embeddings must be floating point [N, D], got {z.dtype} of shape {list(z.shape)}.")
        return self.maybe_normalize(z if z.dtype == torch.float64 else z.float())

    def _matrix(self, query: Tensor, ref: Tensor) -> Tensor:
        with torch.autocast(query.device.type, enabled=False):
            mat = self.compute_mat(query, ref)
            return mat if self.power == 1 else mat**self.power

    def _entries(self, query: Tensor, ref: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
        return self._matrix(query, ref).flatten().index_select(0, rows * len(ref) + columns)


class LpDistance(BaseDistance):
    """The p-norm of the difference, of unit vectors by default: from 0 to 2 with p = 2."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        must(not self.is_inverted, "LpDistance is a distance: is_inverted must be False", got=True)

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """[M, D], [N, D] -> [M, N]."""
        return torch.cdist(query_emb, ref_emb, p=self.p)

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """[N, D], [N, D] -> [N]."""
        norms: Tensor = (query_emb - ref_emb).norm(p=self.p, dim=1)
        return norms


class DotProductSimilarity(BaseDistance):
    """The dot product, of unit vectors by default."""

    def __init__(self, **kwargs: Any):
        super().__init__(is_inverted=True, **kwargs)

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """[M, D], [N, D] -> [M, N]."""
        return query_emb @ ref_emb.T

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """[N, D], [N, D] -> [N]."""
        return (query_emb * ref_emb).sum(1)


class CosineSimilarity(DotProductSimilarity):
    """The cosine of the angle: from -1 to 1."""

    def __init__(self, **kwargs: Any):
        super().__init__(normalize_embeddings=True, **kwargs)


class SNRDistance(BaseDistance):
    """Variance of the difference over variance of the anchor (Yuan et al. 2019, 1904.02616, eq. 6): not symmetric."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        must(not self.is_inverted, "SNRDistance is a distance: is_inverted must be False", got=True)

    def compute_mat(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """[M, D], [N, D] -> [M, N]."""
        # var(q - r) = |q - r|^2 / (D - 1), both without their means: no tensor of M x N x D.
        centred, other = (z - z.mean(1, keepdim=True) for z in (query_emb, ref_emb))
        squares = centred.square().sum(1, keepdim=True)
        apart = squares + other.square().sum(1) - 2 * centred @ other.T
        return apart.clamp(min=0) / squares

    def pairwise_distance(self, query_emb: Tensor, ref_emb: Tensor) -> Tensor:
        """[N, D], [N, D] -> [N]."""
        return (query_emb - ref_emb).var(1) / query_emb.var(1)


def refuse_stats(collect_stats: bool | None) -> None:
    """Raise ConfigError where records are asked for: none are kept here."""
    if collect_stats:
        raise ConfigError("collect_stats=True: no records are kept here; leave it out, and log what you need yourself.")


def must_be_ours(part: object, kind: type) -> None:
    """Raise ConfigError for a distance or reducer of another package, which is no `kind` of this one."""
    must(isinstance(part, kind), f"A distance or reducer must be a {kind.__name__} of nearfar.losses.pml", got=part)
