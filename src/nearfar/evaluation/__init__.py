"""Honest evaluation of frozen embeddings: tasks give rows, and rows give a verdict; baselines, 95 % intervals."""

from nearfar.evaluation.intervals import Interval, bootstrap, over_draws, over_seeds, paired, t_interval
from nearfar.evaluation.knn import knn_predict, nearest
from nearfar.evaluation.linear import LinearProbe, fit_linear
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.retrieval import Retrieval, ranked_scores, retrieve
from nearfar.evaluation.run import judge_systems
from nearfar.evaluation.split import stratified_split
from nearfar.evaluation.task import Listing, Row, Task, TaskData, Vectors
from nearfar.evaluation.verdict import Statement, Verdict

__all__ = [
    "Evaluation",
    "Interval",
    "LinearProbe",
    "Listing",
    "Retrieval",
    "Row",
    "Statement",
    "Task",
    "TaskData",
    "Vectors",
    "Verdict",
    "bootstrap",
    "fit_linear",
    "judge_systems",
    "knn_predict",
    "nearest",
    "over_draws",
    "over_seeds",
    "paired",
    "ranked_scores",
    "retrieve",
    "stratified_split",
    "t_interval",
]
