"""The methods there are: a name, which is also the file's, and a line for each. Imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.contract import Method

METHODS: dict[str, str] = {
    "simclr": "views of a sample attract, the views of all other samples of the batch repel (Chen et al., 2020)",
    "byol": "predict what a slow copy of the networks makes of another view; no negatives (Grill et al., 2020)",
    "simsiam": "predict what the same networks make of another view; no negatives, no copy (Chen & He, 2021)",
}


def known(name: str) -> str:
    """`name`, where a method has it; raises UnknownName."""
    if name not in METHODS:
        raise UnknownName("method", name, METHODS)
    return name


def load(name: str) -> "type[Method]":
    """The class of a method: `METHOD` of the file `nearfar/methods/<name>.py`; raises UnknownName."""
    method: type[Method] = import_module(f"nearfar.methods.{known(name)}").METHOD
    return method
