"""Figures of embeddings that need no labels: are they spread out, or have they collapsed?

Pure functions of tensors that stay on the device and do not wait for it. A value that is not finite makes a figure NaN.
"""

import torch
from torch import Tensor

from nearfar.errors import DataError

_ROUNDED = 1e-5
"""Less than this is what float32 makes of equal cosines."""


def sample_rows(x: Tensor, limit: int, *, seed: int = 0) -> Tensor:
    """Take at most `limit` rows of `[N, D]`, drawn by the seed without repetition."""
    if len(x) <= limit:
        return x
    return x[torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))[:limit].to(x.device)]


def _exact(x: Tensor) -> Tensor:
    x = x.detach()
    if x.ndim != 2 or not len(x):
        raise DataError(f"Embeddings must be a matrix [N, D] with N >= 1, got the shape {list(x.shape)}.")
    x = x.cpu() if x.device.type == "mps" else x  # mps has no float64
    return x.double()


def _unit(x: Tensor) -> Tensor:
    return torch.nn.functional.normalize(_exact(x), dim=1, eps=1e-300)


@torch.no_grad()
def effective_rank(x: Tensor, *, limit: int = 2048) -> Tensor:
    """exp of the entropy of the singular values over their sum: `[N, D]` -> `[]` in [1, min(N, D)], 0 for zeros.

    RankMe (Garrido et al. 2023, 2210.02885, equation 2); not centred, as there. At most `limit` rows are used.
    """
    x = _exact(sample_rows(x, limit))
    finite = x.isfinite().all()
    x = torch.where(finite, x, 0.0)
    x = x / x.abs().max().clamp_min(1e-300)
    gram = x @ x.T if len(x) < x.shape[1] else x.T @ x
    values = torch.linalg.eigvalsh(gram).clamp_min(0).sqrt()
    share = values / values.sum().clamp_min(1e-300)
    rank = torch.where(values.sum() > 0, torch.special.entr(share).sum().exp(), 0.0)
    return torch.where(finite, rank, torch.nan)


@torch.no_grad()
def alignment(first: Tensor, second: Tensor, *, alpha: float = 2.0) -> Tensor:
    """Mean distance to the power alpha of positive pairs on the unit sphere: `[N, D]` twice -> `[]`, 0 is best.

    Wang and Isola 2020 (2005.10242), section 4.1.
    """
    if first.shape != second.shape:
        raise DataError(f"Views must have the same shape, got {list(first.shape)} and {list(second.shape)}.")
    distances: Tensor = torch.linalg.vector_norm(_unit(first) - _unit(second), dim=1)
    return distances.pow(alpha).mean()


@torch.no_grad()
def uniformity(x: Tensor, *, t: float = 2.0, limit: int = 2048) -> Tensor:
    """Log of the mean of exp(-t |x - y|^2) over distinct pairs on the unit sphere: `[N, D]` -> `[]` in [-4t, 0].

    Lower is more uniform, 0 is collapsed, NaN with one row. Wang and Isola 2020 (2005.10242), section 4.1.
    """
    z = _unit(sample_rows(x, limit))
    if len(z) < 2:
        return torch.full((), torch.nan, dtype=z.dtype, device=z.device)
    square = z.square().sum(dim=1)
    distance = (square[:, None] + square[None] - 2 * z @ z.T).clamp_min(0)
    distance.fill_diagonal_(torch.inf)
    pairs = torch.tensor(len(z) * (len(z) - 1), dtype=z.dtype, device=z.device)
    return torch.logsumexp(-t * distance.flatten(), dim=0) - pairs.log()


@torch.no_grad()
def dead_dimensions(x: Tensor, *, threshold: float = 1e-3) -> Tensor:
    """Share of dimensions that (nearly) never change: `[N, D]` -> `[]` in [0, 1].

    Dead is a standard deviation of at most `threshold` times the root mean square of all entries, so that the figure
    does not depend on scale, and a constant embedding is all dead.
    """
    x = _exact(x)
    size = x.square().mean().sqrt()
    dead = (x.std(dim=0, correction=0) <= threshold * size).double().mean()
    return torch.where(size.isfinite(), dead, torch.nan)


@torch.no_grad()
def view_retrieval(first: Tensor, second: Tensor, *, ids: Tensor | None = None) -> Tensor:
    """Share of samples whose second view is the nearest of all second views to their first, by cosine.

    `[N, D]`, `[N, D]` -> `[]` in [0, 1]; chance is 1 / N. A tie counts as a miss, so that a collapsed encoder scores
    0. Samples of equal `ids` [N] show the same and are not looked among; NaN where there are no others. Nothing is
    checked and nothing leaves the device: for watching a run.
    """
    found, others = _views_found(first, second, ids)
    return torch.where(others.any(), found.float().mean(), torch.nan)


@torch.no_grad()
def view_hits(first: Tensor, second: Tensor) -> Tensor:
    """Whether each sample's second view is the nearest of all second views to its first: `[N, D]` twice -> `[N]` bool.

    As `view_retrieval`, sample by sample.
    """
    return _views_found(first, second, None)[0]


def _views_found(first: Tensor, second: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor]:
    similarity, others = _between(first, second, ids)
    own = similarity.diagonal()[:, None]
    return own.isfinite()[:, 0] & ~((similarity >= own) & others).any(dim=1), others


@torch.no_grad()
def agreement(first: Tensor, second: Tensor, *, ids: Tensor | None = None) -> Tensor:
    """How much nearer a sample's two views are than views of two samples: `[N, D]`, `[N, D]` -> `[]`, at most 1.

    1 - (mean squared distance of a sample's views) / (that of the first view of one and the second of another), on the
    unit sphere: the share of the variance that lies between samples, an intraclass correlation (Fisher, "Statistical
    methods for research workers", 1925, chapter 7). 0 is chance, 1 is equal views, NaN where all are equal. Samples of
    equal `ids` [N] are not others.
    """
    similarity, others = _between(first, second, ids)
    own = 1 - similarity.diagonal().mean()
    other = 1 - (similarity * others).sum() / others.sum()
    return torch.where(other > _ROUNDED, 1 - own / other, torch.nan)


def _between(first: Tensor, second: Tensor, ids: Tensor | None) -> tuple[Tensor, Tensor]:
    """Cosines of first with second views `[N, N]`, and which of them are of samples that show different things."""
    a, b = (torch.nn.functional.normalize(z.detach().float(), dim=1) for z in (first, second))
    names = torch.arange(len(a), device=a.device) if ids is None else ids
    return a @ b.T, names[:, None] != names[None]


@torch.no_grad()
def discriminant_rank(first: Tensor, second: Tensor, *, ridge: float = 1e-4) -> Tensor:
    """Effective rank of what tells samples apart, next to what differs between their views: `[N, D]` twice -> `[]`.

    LiDAR (Thilak et al. 2023, 2312.04000, equation 3): exp of the entropy of the eigenvalues of the covariance of the
    samples' means, whitened by that of their views around these. `ridge` is added to the latter, in units of the mean
    variance; in [1, D], 0 where nothing varies.
    """
    a, b = _exact(first), _exact(second)
    if a.shape != b.shape:
        raise DataError(f"Views must have the same shape, got {list(a.shape)} and {list(b.shape)}.")
    mean = (a + b) / 2
    mean = mean - mean.mean(0)
    half = (a - b) / 2
    between, within = mean.T @ mean / len(a), half.T @ half / len(a)
    size = (between.diagonal().mean() + within.diagonal().mean()).clamp_min(1e-300)
    within = within + ridge * size * torch.eye(len(within), dtype=within.dtype, device=within.device)
    values, axes = torch.linalg.eigh(within)
    turned = axes / values.clamp_min(1e-300).sqrt()
    spread = torch.linalg.eigvalsh(turned.T @ between @ turned).clamp_min(0)
    share = spread / spread.sum().clamp_min(1e-300)
    return torch.where(spread.sum() > 0, torch.special.entr(share).sum().exp(), 0.0)


@torch.no_grad()
def mean_cosine(x: Tensor) -> Tensor:
    """Mean cosine between distinct rows: `[N, D]` -> `[]`, near 1 is collapsed, NaN with one row."""
    z = _unit(x)
    count = len(z)
    return (z.sum(dim=0).square().sum() - z.square().sum()) / (count * (count - 1) or torch.nan)


@torch.no_grad()
def pull(z: Tensor, gradient: Tensor) -> Tensor:
    """How much a loss depends on where latents point: `[..., D]`, and its gradient there -> `[]`, 0 is not at all.

    The sum over latents of their length times the length of the loss's gradient: the first-order change of the loss if
    each turned by one radian in its worst direction. For a mean over samples it does not depend on their number, nor on
    the latents' scale where the loss does not; a softmax divides it by its temperature.
    """
    lengths, slopes = (torch.linalg.vector_norm(x, dim=-1) for x in (z, gradient))
    return torch.sum(lengths * slopes)


@torch.no_grad()
def repeats(ids: Tensor) -> Tensor:
    """Share of pairs of samples that show the same thing: ids `[N]` -> `[]` in [0, 1], NaN with one sample."""
    count = len(ids)
    return ((ids[:, None] == ids[None]).double().sum() - count) / (count * (count - 1) or torch.nan)
