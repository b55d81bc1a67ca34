"""Exact nearest neighbours by cosine, and the weighted vote over them.

The protocol is that of instance discrimination (Wu et al. 2018, 1805.01978, section 3.4): cosine similarity, the k
nearest of the bank, each voting for its class with the weight `exp(similarity / temperature)`.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from nearfar.errors import DataError, must
from nearfar.evaluation import screening
from nearfar.evaluation.selection import groups_of, top

_TILE = 2**25  # similarities held at a time: 128 MiB in fp32
_FEW = 16
"""Queries below which they are few."""


def unit_rows(vectors: Tensor) -> Tensor:
    """Scale each row to length one, in fp32; a row of zeros stays zero.

    `[N, D]` -> `[N, D]`. Rows as small or as large as fp32 can hold are scaled correctly: the largest entry is taken
    out first. Raises DataError where a value is not finite.
    """
    if vectors.ndim != 2:
        raise DataError(f"Embeddings must be a matrix [N, D], got the shape {list(vectors.shape)}.")
    x = vectors.detach().float()
    peak = x.abs().amax(dim=1, keepdim=True) if x.shape[1] else x.new_zeros(len(x), 1)
    if not bool(peak.isfinite().all()):  # the peak of a row with a NaN is NaN
        row = int((~peak.isfinite()).nonzero()[0, 0])
        raise DataError(f"Row {row} of the embeddings is not finite; drop it, or look for where the encoder diverged.")
    x = x / torch.where(peak > 0, peak, 1.0)
    lengths: Tensor = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / lengths.clamp_min(1e-12)


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Hold matrix products at true fp32: no autocast, no TF32 or bf16 shortcuts that a training run may have set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)


@torch.no_grad()
def nearest(bank: Tensor, queries: Tensor, k: int, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """Find the k rows of the bank most similar to each query: cosine similarities and row numbers, best first.

    bank `[N, D]`, queries `[Q, D]` -> similarities `[Q, k']` in [-1, 1] and indices `[Q, k']`, where k' is k, at most
    the size of the bank. With `exclude_self` the queries are the bank's own rows, and none finds itself. Exact, fp32,
    on the device of the bank, `[Q, N]` never held whole; between equal similarities any may be chosen.
    Raises ConfigError for k < 1, DataError for an empty bank or for widths that differ.
    """
    must(k >= 1, "k must be >= 1", got=k)
    if exclude_self and len(queries) != len(bank):
        raise DataError(
            f"With exclude_self the queries must be the bank's own rows: {len(queries)} queries, {len(bank)} rows."
        )
    if len(bank) <= exclude_self:
        raise DataError(f"A bank of {len(bank)} rows has no neighbours to offer.")
    if bank.shape[-1] != queries.shape[-1]:
        raise DataError(
            f"The bank is {bank.shape[-1]} wide, the queries {queries.shape[-1]}; both must come from one encoder."
        )
    return nearest_unit(unit_rows(bank), unit_rows(queries.to(bank.device)), k, exclude_self=exclude_self)


def _product(queries: Tensor, bank: Tensor, out: Tensor) -> Tensor:
    """The products of queries `[q, D]` and the bank `[N, D]`, `[q, N]`; where queries are many, in `out`.

    A few queries are the columns of a product, not its rows, and never one alone: measured two to four times as fast.
    """
    if len(queries) >= _FEW or bank.device.type != "cpu":
        return torch.mm(queries, bank.T, out=out)
    few = queries.repeat(2, 1) if len(queries) == 1 else queries
    return torch.mm(bank, few.T)[:, : len(queries)].T.contiguous()


@torch.no_grad()
def nearest_unit(bank: Tensor, queries: Tensor, k: int, *, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """`nearest` for rows that have length one already, such as those of an index on disk: nothing is copied."""
    k = min(k, len(bank) - exclude_self)
    values, indices = queries.new_empty(len(queries), k), torch.empty(len(queries), k, dtype=torch.long)
    indices = indices.to(bank.device)
    open_rows = torch.arange(len(queries), device=bank.device)
    groups = groups_of(len(bank), k)
    with full_precision(bank.device):
        if screening.pays(bank, queries):
            open_rows = screening.settle(bank, queries, k, values, indices, exclude_self)
        rows = max(1, min(len(open_rows), _TILE // len(bank)))
        tile = bank.new_empty(rows if rows >= _FEW else 0, len(bank))
        for some in torch.split(open_rows, rows):
            scores = _product(queries[some], bank, tile[: len(some)])
            if exclude_self:
                scores.scatter_(1, some[:, None], -torch.inf)
            values[some], indices[some] = top(scores, k, groups)
    return values.clamp_(-1, 1), indices


def vote(similarities: Tensor, labels: Tensor, *, classes: int, temperature: float = 0.1) -> Tensor:
    """Let neighbours `[Q, k]`, best first, vote for their labels `[Q, k]`, each by exp(similarity / temperature).

    Returns the winning class `[Q]`. Equal votes go to the class whose neighbour is nearest, not to the lowest number.
    """
    must(temperature > 0, "temperature must be > 0", got=temperature)
    winners = []
    rows = max(1, _TILE // max(classes, 1))
    for sims, names in zip(torch.split(similarities, rows), torch.split(labels, rows), strict=True):
        weights = ((sims - sims[:, :1]) / temperature).double().exp()  # less the best: no overflow, same winner
        votes = weights.new_zeros(len(sims), classes).scatter_add_(1, names, weights)
        tied = votes >= votes.amax(dim=1, keepdim=True) * (1 - 1e-9)
        first = tied.gather(1, names).to(torch.uint8).argmax(dim=1, keepdim=True)
        winners.append(names.gather(1, first).squeeze(1))
    return torch.cat(winners) if winners else labels.new_empty(0)


def knn_predict(
    bank: Tensor, bank_labels: Tensor, queries: Tensor, *, classes: int, k: int = 20, temperature: float = 0.1
) -> Tensor:
    """Predict the class of each query from its k nearest neighbours in a labelled bank (weighted kNN).

    bank `[N, D]`, bank_labels `[N]` in [0, classes), queries `[Q, D]` -> `[Q]`; k is at most the size of the bank.
    Wu et al. 2018 (1805.01978), section 3.4. Raises DataError for labels out of range.
    """
    labels = check_labels(bank_labels, len(bank), classes)
    similarities, indices = nearest(bank, queries, k)
    return vote(similarities, labels.to(indices.device)[indices], classes=classes, temperature=temperature)


def check_labels(labels: Tensor, count: int, classes: int) -> Tensor:
    """Return labels `[N]` as int64 once they are one a row and in [0, classes); raises DataError otherwise."""
    if labels.shape != (count,):
        raise DataError(f"One label a row is needed: {count} rows, labels of the shape {list(labels.shape)}.")
    labels = labels.long()
    if count and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        wrong = int(labels.min()) if int(labels.min()) < 0 else int(labels.max())
        raise DataError(
            f"Label {wrong} is not one of the {classes} classes 0..{classes - 1}; drop unlabelled rows first."
        )
    return labels
