"""The methods there are: a name, which is also the file's, and a line for each. Imports nothing heavy."""

from importlib import import_module
from typing import TYPE_CHECKING

from nearfar.errors import UnknownName

if TYPE_CHECKING:
    from nearfar.contract import Method

METHODS: dict[str, str] = {
    "simclr": "views of a sample attract, the views of all other samples of the batch repel (Chen et al., 2020)",
    "supcon": "samples of a class attract, other classes repel; also for data labelled in part (Khosla et al., 2020)",
    "siamese": "pairs that belong together attract, others repel up to a margin (Hadsell et al., 2006)",
    "triplet": "an anchor is nearer to its positive than to its negative by a margin (Schroff et al., 2015)",
    "infonce": "an anchor finds its positive among those of all anchors (van den Oord et al., 2018)",
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
