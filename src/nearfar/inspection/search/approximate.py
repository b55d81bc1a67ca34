"""Search of millions by FAISS: HNSW, or IVF-PQ in a tenth of the memory; candidates are compared exactly again.

Malkov and Yashunin 2016 (1603.09320); Jégou et al. 2011, Product quantization for nearest neighbor search. How much of
the exact result is found is measured when an index is built, by vectors that are not yet in it, and kept with it.
"""

import importlib.util
import logging
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearfar.errors import DataError, MissingExtra
from nearfar.evaluation.knn import nearest_unit
from nearfar.files import draft_of, locked, read_json, write_json
from nearfar.inspection.search import twin
from nearfar.progress import track

ENOUGH = 0.95
"""The share of the ten nearest that is to be found."""
_HELD_OUT = 1000
_TEN = 10
_LEAST = 1000
_LINKS, _WIDTH_OF_BUILD = 16, 100
_TRAINED_ON, _ROUNDS = 2**17, 10
_PIECE = 2**14
_STEPS = {"hnsw": (32, 64, 128, 256, 512, 1024), "ivfpq": (4, 8, 16, 32, 64, 128, 256)}
"""How widely is searched (efSearch, nprobe): the first that finds enough is taken."""
_log = logging.getLogger("nearfar")


@dataclass(frozen=True, eq=False)
class Approximate:
    """An index of FAISS over N vectors, of which number i is row `order[i]`; `recall` is what it finds of ten."""

    kind: str
    graph: Any
    order: Tensor
    width: int
    recall: float

    def nearest(self, vectors: Tensor, queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k of `vectors` [N, D] nearest to each query [Q, D], nearly always: cosines and rows, best first."""
        return _searched(self.graph, self.kind, self.width, self.order, vectors, queries, min(k, len(vectors)))


def installed() -> bool:
    """Whether FAISS is there."""
    return importlib.util.find_spec("faiss") is not None


def opened(path: Path, vectors: Tensor, kind: str) -> Approximate:
    """The index of a kind kept beside a file of embeddings with a current twin; built where it is not there.

    Raises MissingExtra, DataError for fewer than a thousand vectors, and as `files.draft_of`.
    """
    faiss = _faiss()
    folder = twin.folder_of(path)
    state = {"fingerprint": twin.fingerprint(path), "kind": kind}
    about, graph, order = (folder / f"{kind}.{ending}" for ending in ("json", "faiss", "npy"))
    try:
        known = read_json(about)
        if {name: known[name] for name in state} == state:
            rows = torch.from_numpy(np.load(order, allow_pickle=False))
            return Approximate(kind, faiss.read_index(str(graph)), rows, known["width"], known["recall"])
    except (OSError, ValueError, KeyError, TypeError, RuntimeError):
        pass  # not there, or damaged: it is built
    if len(vectors) < _LEAST:
        raise DataError(f"{path.name} has {len(vectors)} vectors: below {_LEAST} leave out --index, exact is faster.")
    with locked(folder / ".lock", what=repr(str(folder))):
        about.unlink(missing_ok=True)
        found = build(vectors, kind)
        with draft_of(graph) as draft:
            faiss.write_index(found.graph, str(draft))
        with draft_of(order) as draft, draft.open("wb") as file:
            np.save(file, found.order.numpy(), allow_pickle=False)
        write_json(about, {**state, "width": found.width, "recall": found.recall})
    return found


def build(vectors: Tensor, kind: str, *, show: bool | None = None) -> Approximate:
    """An index over unit vectors [N, D] as wide as it takes to find 95 % of the ten nearest, which is measured.

    A thousand vectors are held out until then: half of them choose the width, the others measure.
    """
    faiss = _faiss()
    faiss.omp_set_num_threads(torch.get_num_threads())
    generator = torch.Generator().manual_seed(0)
    held = torch.randperm(len(vectors), generator=generator)[: min(_HELD_OUT, len(vectors) // 10)]
    rest = torch.ones(len(vectors), dtype=torch.bool)
    rest[held] = False
    order = torch.cat([rest.nonzero()[:, 0], held])
    before = order[: len(order) - len(held)]
    graph = _empty(faiss, kind, vectors.shape[1], len(vectors))
    some = before[torch.randperm(len(before), generator=generator)[:_TRAINED_ON].sort().values]
    _log.info("building the index %s over %d vectors", kind, len(vectors))
    graph.train(vectors[some].numpy())
    for piece in track(torch.split(before, _PIECE), f"index {kind}", show=show):
        graph.add(vectors[piece].numpy())
    queries = vectors[held]
    _, exact = _exact(vectors, queries, before)
    choose, judge = slice(0, len(held) // 2), slice(len(held) // 2, None)
    width = _STEPS[kind][-1]
    for step in _STEPS[kind]:
        _, found = _searched(graph, kind, step, order, vectors, queries[choose], _TEN)
        if _share(found, exact[choose]) >= ENOUGH:
            width = step
            break
    recall = _share(_searched(graph, kind, width, order, vectors, queries[judge], _TEN)[1], exact[judge])
    graph.add(queries.numpy())
    said = "" if recall >= ENOUGH else f", less than the {100 * ENOUGH:.0f} % aimed at: --index exact finds all"
    _log.info(
        "the index %s finds %.1f %% of the ten nearest (%d held-out queries%s)",
        *(kind, 100 * recall, len(held) - len(held) // 2, said),
    )
    return Approximate(kind, graph, order, width, round(recall, 4))


def _exact(vectors: Tensor, queries: Tensor, before: Tensor) -> tuple[Tensor, Tensor]:
    """The ten nearest to queries that are rows themselves, without any of these queries."""
    similar, rows = nearest_unit(vectors, queries, min(_TEN + len(queries), len(vectors)))
    known = torch.zeros(len(vectors), dtype=torch.bool)
    known[before] = True
    place = torch.where(known[rows], similar, -2.0).topk(_TEN, dim=1).indices
    return similar.gather(1, place), rows.gather(1, place)


def _share(found: Tensor, exact: Tensor) -> float:
    return float((found[:, :, None] == exact[:, None, :]).any(dim=1).double().mean())


def _searched(
    graph: Any, kind: str, width: int, order: Tensor, vectors: Tensor, queries: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Candidates by FAISS, four times as many as asked for or more, and the best of them by exact cosines."""
    faiss = _faiss()
    count = min(max(4 * k, 32) if kind == "hnsw" else max(10 * k, 100), len(order))
    how = (
        faiss.SearchParametersHNSW(efSearch=max(width, count))
        if kind == "hnsw"
        else faiss.SearchParametersIVF(nprobe=width)
    )
    _, at = graph.search(np.ascontiguousarray(queries.numpy()), count, params=how)
    numbers = torch.from_numpy(at)
    rows = order[numbers.clamp_min(0)]
    similar = torch.bmm(vectors[rows], queries[:, :, None])[:, :, 0].masked_fill_(numbers < 0, -2.0)
    values, place = similar.topk(min(k, count), dim=1)
    return values.clamp_(-1, 1), rows.gather(1, place)


def _empty(faiss: Any, kind: str, dim: int, count: int) -> Any:
    if kind == "hnsw":
        graph = faiss.index_factory(dim, f"HNSW{_LINKS}_SQ8")
        graph.hnsw.efConstruction = _WIDTH_OF_BUILD
        return graph
    lists = 2 ** max(2, round(math.log2(min(4 * math.sqrt(count), count / 64))))
    parts = next((parts for parts in range(dim // 4, dim // 16, -1) if dim % parts == 0 and parts > 0), None)
    # "np": without polysemous codes, whose training takes longer than all else and which this search does not use
    graph = faiss.index_factory(dim, f"IVF{lists},{'SQ8' if parts is None else f'PQ{parts}x8np'}")
    for clustering in [graph.cp] if parts is None else [graph.cp, graph.pq.cp]:
        clustering.niter, clustering.min_points_per_centroid = _ROUNDS, 1  # small data is no reason to warn
    return graph


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise MissingExtra("An approximate index", "faiss-cpu", "search") from None
    return faiss
