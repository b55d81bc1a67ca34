"""Honest evaluation of frozen embeddings: stated protocols, baselines, 95 % intervals."""

from nearfar.evaluation.intervals import Interval, bootstrap, over_draws, over_seeds, paired, t_interval
from nearfar.evaluation.knn import knn_predict, nearest
from nearfar.evaluation.linear import LinearProbe, fit_linear
from nearfar.evaluation.protocol import compare, label_free
from nearfar.evaluation.result import Evaluation, Row
from nearfar.evaluation.retrieval import Retrieval, ranked_scores, retrieve
from nearfar.evaluation.split import Split, stratified_split

__all__ = [
    "Evaluation",
    "Interval",
    "LinearProbe",
    "Retrieval",
    "Row",
    "Split",
    "bootstrap",
    "compare",
    "fit_linear",
    "knn_predict",
    "label_free",
    "nearest",
    "over_draws",
    "over_seeds",
    "paired",
    "ranked_scores",
    "retrieve",
    "stratified_split",
    "t_interval",
]
