"""Retrieve: do test samples find others of their class among the test samples?"""

from types import MappingProxyType

import torch

from nearfar.evaluation.retrieval import retrieve
from nearfar.evaluation.task import Row, Systems, Task, TaskData, rows_over_samples, with_vectors
from nearfar.progress import track

QUERIES = 2000
_JUDGED = ("precision@1", "map@r")


class Retrieve(Task):
    """Rankings of the test set by cosine; relevant is what has the query's label."""

    name = "retrieve"
    meanings = MappingProxyType(
        {
            "precision@1": "How often the most similar other test sample is of the same class.",
            "map@r": "Mean average precision over the first R places, R being the number of samples of the query's "
            "class: 100 % where they all come first.",
            "r_precision": "The share of the query's class among the first R places.",
            "mrr": "One over the place of the first sample of the query's class, averaged.",
        }
    )

    def applies(self, data: TaskData) -> bool:
        """Whether two test samples share a label."""
        if data.test_labels is None:
            return False
        if int(torch.unique(data.test_labels, return_counts=True)[1].max()) < 2:
            data.note("No retrieval: no two test samples share a label.")
            return False
        return True

    def protocol(self, data: TaskData) -> str:
        """What is searched for, and where."""
        return (
            f"Retrieval: at most {QUERIES} test samples search the test set by cosine; 95 % interval by bootstrap over "
            "queries."
        )

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """precision@1 and MAP@R are judged, the other scores are details."""
        labels = data.labels[1]
        found = {
            name: retrieve(vectors.parts[1].float(), labels, limit=QUERIES, seed=data.seed)
            for name, vectors in track(with_vectors(systems).items(), "retrieve")
        }
        last = found[list(found)[-1]]
        sizes = torch.bincount(labels, minlength=len(data.classes)).double()
        # A random ranking finds a sample of the query's class at any place with this probability.
        chance = float((sizes / sizes.sum() * (sizes - 1).clamp_min(0) / (len(labels) - 1)).sum())
        rows = []
        for metric in sorted(last.scores, key=lambda name: name not in _JUDGED):
            rows += rows_over_samples(
                self.name,
                metric,
                {},
                {name: one.scores[metric] for name, one in found.items()},
                role="judged" if metric in _JUDGED else "detail",
                chance=chance if metric in _JUDGED[:1] else None,
                seed=data.seed,
                at=last.rows,
                size=len(labels),
            )
        return rows
