"""Honest evaluation of frozen embeddings: stated protocols, baselines, 95 % intervals."""

from nearfar.evaluation.geometry import (
    Geometry,
    alignment,
    dead_dimensions,
    effective_rank,
    geometry,
    mean_cosine,
    uniformity,
)
from nearfar.evaluation.intervals import Interval, bootstrap, over_draws, over_seeds, paired, t_interval
from nearfar.evaluation.knn import knn_predict, nearest
from nearfar.evaluation.linear import LinearProbe, fit_linear
from nearfar.evaluation.protocol import compare, label_free
from nearfar.evaluation.result import Evaluation, Row
from nearfar.evaluation.retrieval import Retrieval, ranked_scores, retrieve, view_retrieval
from nearfar.evaluation.split import Split, stratified_split

__all__ = [
    "Evaluation",
    "Geometry",
    "Interval",
    "LinearProbe",
    "Retrieval",
    "Row",
    "Split",
    "alignment",
    "bootstrap",
    "compare",
    "dead_dimensions",
    "effective_rank",
    "fit_linear",
    "geometry",
    "knn_predict",
    "label_free",
    "mean_cosine",
    "nearest",
    "over_draws",
    "over_seeds",
    "paired",
    "ranked_scores",
    "retrieve",
    "stratified_split",
    "t_interval",
    "uniformity",
    "view_retrieval",
]
