"""Label-free figures: are embeddings spread out or collapsed, and do views of one sample find each other?"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import ClassVar

from torch import Tensor

from nearfar.diagnostics import (
    dead_dimensions,
    effective_rank,
    mean_cosine,
    sample_rows,
    uniformity,
    view_hits,
)
from nearfar.evaluation.intervals import figure
from nearfar.evaluation.task import Role, Row, Systems, Task, TaskData, rows_over_samples, with_vectors

SAMPLES = 2048
_FIGURES: dict[str, Callable[[Tensor], Tensor]] = {
    "effective rank": effective_rank,
    "dead dimensions": dead_dimensions,
    "uniformity": uniformity,
    "mean cosine": mean_cosine,
}
ROLES: dict[str, Role] = {
    "effective rank": "shown",
    "dead dimensions": "shown",
    "uniformity": "detail",
    "mean cosine": "detail",
}


class LabelFree(Task):
    """Effective rank, uniformity, mean cosine and dead dimensions; view retrieval where views were embedded."""

    name = "label_free"
    of_test: ClassVar[bool] = False
    meanings = MappingProxyType(
        {
            "view retrieval": "How often a view of a sample is nearest to the other view of the same sample.",
            "effective rank": "How many directions the vectors use (RankMe). Near 1, they have collapsed to a line.",
            "dead dimensions": "The share of dimensions that never change.",
            "uniformity": "How evenly the vectors spread over the sphere: lower is more even, 0 is one point.",
            "mean cosine": "The mean cosine of different samples' vectors: near 1, all point the same way.",
        }
    )

    def applies(self, data: TaskData) -> bool:
        """Always."""
        return True

    def protocol(self, data: TaskData) -> str:
        """What is measured on how many samples."""
        text = (
            f"Without labels: effective rank, uniformity, mean cosine and dead dimensions of at most {SAMPLES} samples"
        )
        return f"{text}; how often a view of a sample finds its other view." if data.views else f"{text}."

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """View retrieval is judged; a collapse is a fault; the other figures are shown."""
        rows: list[Row] = []
        if data.views:
            hits = {name: view_hits(*pair) for name, pair in data.views.items()}
            count = len(next(iter(hits.values())))
            rows += rows_over_samples(self.name, "view retrieval", {}, hits, chance=1 / max(count, 1), seed=data.seed)
        sampled = {name: sample_rows(vectors.train, SAMPLES) for name, vectors in with_vectors(systems).items()}
        found = {
            name: {metric: float(measure(x)) for metric, measure in _FIGURES.items()} for name, x in sampled.items()
        }
        for metric in _FIGURES:
            for name, x in sampled.items():
                rows.append(
                    Row(
                        name,
                        self.name,
                        metric,
                        {},
                        figure(found[name][metric], len(x)),
                        higher_is_better=False if metric == "dead dimensions" else None,
                        share=metric == "dead dimensions",
                        role=ROLES[metric],
                        fault=collapse(found[name], *x.shape) if metric == "effective rank" else None,
                    )
                )
        return rows


def collapse(figures: Mapping[str, float], samples: int, dims: int) -> str | None:
    """Say what in the figures of `samples` embeddings of `dims` dimensions shows that they have collapsed, or None.

    Signs: a dead share of 0.9 or more, a mean cosine of 0.999 or more, an effective rank under 1.5.
    """
    rank, dead, cosine = (figures[name] for name in ("effective rank", "dead dimensions", "mean cosine"))
    if math.isnan(rank):
        return "it holds values that are not finite"
    if dead >= 0.9:
        return f"{100 * dead:.0f} % of its dimensions never change"
    if cosine >= 0.999:
        return f"all samples point the same way (mean cosine {cosine:.4f})"
    if rank < 1.5 and min(samples, dims) > 1:
        return f"its effective rank is {rank:.1f} of {dims} dimensions"
    return None
