"""How many samples are embedded with one autograd graph: as many as the free memory allows."""

import torch
from torch import Tensor

from nearfar.contract import Method, Views
from nearfar.memory import available_memory
from nearfar.options import Choice
from nearfar.training.statistics import Statistics

_PROBED = 16  # samples, which show what each takes
_LARGEST = 512
"""Of a batch that is embedded in pieces: larger ones are no faster, and batch norm has enough samples."""


def choose(
    method: Method, views: Views, batch_size: int, *, processes: int = 1, autocast: torch.dtype | None = None
) -> Choice:
    """The micro-batch for batches of `batch_size`: all of it where its graph fits, else a power of 2 up to 512.

    What a sample takes is measured on some of `views`. Graphs may take half of a GPU's free memory, or a quarter of the
    machine's, which `processes` share.
    """
    device = next(method.parameters()).device
    some = views.part(0, min(views.samples, _PROBED))
    each = max(1, graph_bytes(method, some, autocast=autocast) // some.samples)
    on_gpu = device.type == "cuda"
    allowed = torch.cuda.mem_get_info(device)[0] // 2 if on_gpu else available_memory() // (4 * processes)
    whole = each * batch_size
    why = f"graphs of the whole batch take {_gb(whole)} of {_gb(allowed)} GB"
    if whole <= allowed or not method.encoder.splits:
        return Choice("micro_batch", batch_size, why)
    fitting = max(2, min(_LARGEST, allowed // each))
    return Choice("micro_batch", 1 << (fitting.bit_length() - 1), why)


def graph_bytes(method: Method, views: Views, *, autocast: torch.dtype | None = None) -> int:
    """Bytes that embedding these views keeps for the backward pass, parameters apart."""
    own = {tensor.untyped_storage().data_ptr() for tensor in [*method.parameters(), *method.buffers()]}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    kind = next(method.parameters()).device.type
    statistics = Statistics(method)
    was_training = method.training
    method.train()
    hooks = torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor)
    with hooks, torch.autocast(kind, autocast or torch.bfloat16, enabled=autocast is not None):
        method.embed(views)
    method.train(was_training)
    statistics.begin()
    return sum(kept.values())


def _gb(size: int) -> str:
    return f"{size / 2**30:.2g}"
