"""Representations by contrast: train an encoder on data without labels, see how good it is, and use it.

>>> import nearfar as nf                               # costs nothing until used
>>> run = nf.train("photos/", budget="10m")            # doctest: +SKIP

Every name is imported when first asked for, so that `import nearfar` needs neither torch nor numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfar.api.audit import audit
    from nearfar.api.collection import add, delete
    from nearfar.api.demo import demo
    from nearfar.api.embed import embed, embed_file
    from nearfar.api.evaluate import evaluate
    from nearfar.api.explain import explain
    from nearfar.api.export import export
    from nearfar.api.finetune import finetune
    from nearfar.api.load import load
    from nearfar.api.map import map
    from nearfar.api.predict import predict, predict_file
    from nearfar.api.recommend import recommend
    from nearfar.api.report import report
    from nearfar.api.search import search, search_run
    from nearfar.api.serving import serve
    from nearfar.api.similarity import similarity
    from nearfar.api.train import train
    from nearfar.api.tune import tune
    from nearfar.data.embeddings import Embeddings
    from nearfar.errors import NearfarError

__version__ = "0.1.0"

__all__ = [
    "Embeddings",
    "NearfarError",
    "__version__",
    "add",
    "audit",
    "delete",
    "demo",
    "embed",
    "embed_file",
    "evaluate",
    "explain",
    "export",
    "finetune",
    "load",
    "map",
    "predict",
    "predict_file",
    "recommend",
    "report",
    "search",
    "search_run",
    "serve",
    "similarity",
    "train",
    "tune",
]

_HOMES = {
    "Embeddings": "nearfar.data.embeddings",
    "NearfarError": "nearfar.errors",
    "add": "nearfar.api.collection",
    "audit": "nearfar.api.audit",
    "delete": "nearfar.api.collection",
    "demo": "nearfar.api.demo",
    "embed": "nearfar.api.embed",
    "embed_file": "nearfar.api.embed",
    "evaluate": "nearfar.api.evaluate",
    "explain": "nearfar.api.explain",
    "export": "nearfar.api.export",
    "finetune": "nearfar.api.finetune",
    "load": "nearfar.api.load",
    "map": "nearfar.api.map",
    "predict": "nearfar.api.predict",
    "predict_file": "nearfar.api.predict",
    "recommend": "nearfar.api.recommend",
    "report": "nearfar.api.report",
    "search": "nearfar.api.search",
    "search_run": "nearfar.api.search",
    "serve": "nearfar.api.serving",
    "similarity": "nearfar.api.similarity",
    "train": "nearfar.api.train",
    "tune": "nearfar.api.tune",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'nearfar' has no attribute {name!r}")
    found = getattr(import_module(_HOMES[name]), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
