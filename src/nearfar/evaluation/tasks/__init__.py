"""The tasks by name; a modality lists the names of its usual ones. A task's file is imported when it is asked for."""

from collections.abc import Sequence
from importlib import import_module

from nearfar.errors import ConfigError
from nearfar.evaluation.task import Task

TASKS = {
    "classify": "nearfar.evaluation.tasks.classify:Classify",
    "retrieve": "nearfar.evaluation.tasks.retrieve:Retrieve",
    "recommend": "nearfar.evaluation.tasks.recommend:Recommend",
    "similarity": "nearfar.evaluation.tasks.similarity:Similarity",
    "match": "nearfar.evaluation.tasks.match:Match",
    "zero_shot": "nearfar.evaluation.tasks.zero_shot:ZeroShot",
    "label_free": "nearfar.evaluation.tasks.label_free:LabelFree",
}
"""name -> module:class."""

USUAL = ("classify", "retrieve", "label_free")
"""What judges embeddings of samples that may have classes."""


def load(names: Sequence[str] = USUAL) -> list[Task]:
    """Make tasks by their names; raises ConfigError for a name that is not there."""
    made = []
    for name in names:
        if name not in TASKS:
            raise ConfigError(f"There is no task {name!r}; there are {', '.join(TASKS)}.")
        module, _, cls = TASKS[name].partition(":")
        made.append(getattr(import_module(module), cls)())
    return made
