"""The methods there are: a name, which is also the file's, and a line for each. Imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.contract import Method

METHODS: dict[str, str] = {
    "simclr": "views of a sample attract, the views of all other samples of the batch repel (Chen et al., 2020)",
    "swav": "each view predicts the cluster code of the other, clusters of equal size (Caron et al., 2020)",
    "dino": "a student predicts what its moving average says of another view, centred (Caron et al., 2021)",
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
