"""What encoders can be fine-tuned for: a name, which is also the file's, and a line for each."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.downstream.task import Downstream

DOWNSTREAM: dict[str, str] = {
    "classify": "which class a sample is of, with calibrated probabilities",
    "adapt": "the same in domains without labels, by the labels of another one",
    "segment": "a class for each pixel of a picture",
    "detect": "boxes around the things in a picture, and their classes",
}


def known(name: str) -> str:
    """`name`, where a task has it; raises UnknownName."""
    if name not in DOWNSTREAM:
        raise UnknownName("task", name, DOWNSTREAM)
    return name


def load(name: str) -> "Downstream":
    """A task: `TASK` of the file `nearfar/downstream/<name>.py`; raises UnknownName."""
    found: Downstream = import_module(f"nearfar.downstream.{known(name)}").TASK
    return found
