"""Representations by contrast: train an encoder on data without labels, see how good it is, and use it.

>>> import nearfar as nf                               # costs nothing until used
>>> run = nf.train("photos/", budget="10m")            # doctest: +SKIP

Every name is imported when first asked for, so that `import nearfar` needs neither torch nor numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfar.errors import NearfarError
    from nearfar.evaluation.embeddings import Embeddings
    from nearfar.face.demo import demo
    from nearfar.face.embed import embed, embed_file
    from nearfar.face.evaluate import evaluate
    from nearfar.face.load import load
    from nearfar.face.report import report
    from nearfar.face.search import search
    from nearfar.face.train import train

__version__ = "0.1.0"

__all__ = [
    "Embeddings",
    "NearfarError",
    "__version__",
    "demo",
    "embed",
    "embed_file",
    "evaluate",
    "load",
    "report",
    "search",
    "train",
]

_HOMES = {
    "Embeddings": "nearfar.evaluation.embeddings",
    "NearfarError": "nearfar.errors",
    "demo": "nearfar.face.demo",
    "embed": "nearfar.face.embed",
    "embed_file": "nearfar.face.embed",
    "evaluate": "nearfar.face.evaluate",
    "load": "nearfar.face.load",
    "report": "nearfar.face.report",
    "search": "nearfar.face.search",
    "train": "nearfar.face.train",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
