"""What the parts promise each other: inputs, views, batches, sources, encoders, modalities, methods.

    source --> views --> embed --> gather --> loss --> step

A modality opens data, makes views of its samples and offers encoders for them. A method turns encoded views into a
loss. Neither ever sees the other; the training frame stands between them.

Axes, here and everywhere: v = views, b = samples of a batch, n = samples of all ranks' batches, d = dimensions.

Names are imported when they are first asked for: a modality can be declared, and its options listed, without torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nearfar.contract import inputs as inputs
    from nearfar.contract.annotations import Annotations as Annotations
    from nearfar.contract.annotations import Wanted as Wanted
    from nearfar.contract.baseline import Baseline as Baseline
    from nearfar.contract.baseline import RawInput as RawInput
    from nearfar.contract.batches import Batch as Batch
    from nearfar.contract.batches import Latents as Latents
    from nearfar.contract.batches import Losses as Losses
    from nearfar.contract.batches import Requirements as Requirements
    from nearfar.contract.batches import Views as Views
    from nearfar.contract.encoder import Encoder as Encoder
    from nearfar.contract.encoder import Map as Map
    from nearfar.contract.encoder import Recommendation as Recommendation
    from nearfar.contract.encoder import Recommended as Recommended
    from nearfar.contract.inputs import Inputs as Inputs
    from nearfar.contract.method import Method as Method
    from nearfar.contract.modality import Builtin as Builtin
    from nearfar.contract.modality import Modality as Modality
    from nearfar.contract.modality import Opening as Opening
    from nearfar.contract.parts import Parts as Parts
    from nearfar.contract.reading import Reading as Reading
    from nearfar.contract.reading import Rows as Rows
    from nearfar.contract.reading import Skipped as Skipped
    from nearfar.contract.reading import Unreadable as Unreadable
    from nearfar.contract.source import Card as Card
    from nearfar.contract.source import Matched as Matched
    from nearfar.contract.source import Relation as Relation
    from nearfar.contract.source import Shards as Shards
    from nearfar.contract.source import Source as Source

_HOME = {
    "inputs": ("Inputs",),
    "annotations": ("Annotations", "Wanted"),
    "baseline": ("Baseline", "RawInput"),
    "batches": ("Batch", "Latents", "Losses", "Requirements", "Views"),
    "encoder": ("Encoder", "Map", "Recommendation", "Recommended"),
    "method": ("Method",),
    "modality": ("Builtin", "Modality", "Opening"),
    "parts": ("Parts",),
    "reading": ("Reading", "Rows", "Skipped", "Unreadable"),
    "source": ("Card", "Matched", "Relation", "Shards", "Source"),
}
_FILES = {name: file for file, names in _HOME.items() for name in names}

__all__ = [*_FILES, "inputs"]


def __getattr__(name: str) -> Any:
    if name in _FILES:
        return getattr(import_module(f"nearfar.contract.{_FILES[name]}"), name)
    if name == "inputs":
        return import_module("nearfar.contract.inputs")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
