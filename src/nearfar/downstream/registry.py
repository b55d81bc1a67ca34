"""What encoders can be fine-tuned for: a name, which is also the file's, and a line for each."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.downstream.task import Downstream

DOWNSTREAM: dict[str, str] = {
    "classify": "which class a sample is of, with calibrated probabilities",
}


def load(name: str) -> "Downstream":
    """A task: `TASK` of the file `nearfar/downstream/<name>.py`; raises UnknownName."""
    if name not in DOWNSTREAM:
        raise UnknownName("task", name, DOWNSTREAM)
    found: Downstream = import_module(f"nearfar.downstream.{name}").TASK
    return found
