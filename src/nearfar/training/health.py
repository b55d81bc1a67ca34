"""Health: figures of a run from each batch's own latents, without labels. `alarms.py` judges them."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm

from nearfar import diagnostics
from nearfar.contract import Batch, Latents, Method

_ROWS = 256  # more samples than this say little more and cost time


@torch.no_grad()
def figures(z: Latents, batch: Batch, *, compares_views: bool = True) -> dict[str, float]:
    """What a batch's latents and features are like; see `nearfar.diagnostics` for each figure.

    Alignment, uniformity, view retrieval and agreement are of the first latent's two first views, effective rank, dead
    dimensions and mean cosine of the features of the first view; repeats are the batch's. One that does not exist is
    left out, and so are those of two views where the method does not compare these.
    """
    found = {"repeats": diagnostics.repeats(batch.ids[:_ROWS])}
    latent = next(iter(z.values()), None)
    if compares_views and latent is not None and latent.shape[0] >= 2 and latent.shape[1] >= 2:
        first, second = latent[0, :_ROWS], latent[1, :_ROWS]
        ids = batch.ids[: len(first)]
        found["alignment"] = diagnostics.alignment(first, second)
        found["uniformity"] = diagnostics.uniformity(first)
        found["view_retrieval"] = diagnostics.view_retrieval(first, second, ids=ids)
        found["agreement"] = diagnostics.agreement(first, second, ids=ids)
    if z.features is not None:
        features = z.features[0, :_ROWS]
        found["dead_dimensions"] = diagnostics.dead_dimensions(features)
        found["effective_rank"] = diagnostics.effective_rank(features)
        found["mean_cosine"] = diagnostics.mean_cosine(features)
    values = {name: value.item() for name, value in found.items()}
    return {name: value for name, value in values.items() if math.isfinite(value)}


@torch.no_grad()
def collapse_gain(method: Method, z: Latents, batch: Batch) -> float:
    """How much lower the loss would be, were all latents that learn at one point; of a batch's first samples.

    Above 0 the loss rewards collapse. Below 0 something holds samples apart: negatives, a variance, or targets that do
    not move along, such as those behind a stop-gradient.
    """
    some = {name: latent[:, :_ROWS] for name, latent in z.items()}
    points: dict[int, Tensor] = {}
    together = {}
    for name in sorted(z.learning):
        point = points.setdefault(some[name].shape[-1], some[name][:1, :1])
        together[name] = point.expand_as(some[name]).contiguous()
    count = next((latent.shape[1] for latent in some.values()), 0)
    batch = batch.first(count)
    with torch.autocast(batch.ids.device.type, enabled=False):
        now, then = (method.loss(Latents(**latents), batch).total for latents in (some, some | together))
    return (now - then).item()


class Change:
    """What an optimiser's step changes: made before it, from the batch's latents; `figures` are asked for after it."""

    def __init__(self, method: Method, z: Latents, batch: Batch) -> None:
        self._gain = collapse_gain(method, z, batch)
        self._weights = kernels(method.encoder)
        self._before = [weight.clone() for weight in self._weights]

    def figures(self) -> dict[str, float]:
        """The gain of a collapse, the norm of the encoder's weights before the step, and their relative change."""
        ratio, norm = update_ratio(self._before, self._weights), get_total_norm(self._before).item()
        return {"collapse_gain": self._gain, "update_ratio": ratio, "weight_norm": norm}


def kernels(network: nn.Module) -> list[Tensor]:
    """The network's trainable matrices and convolutions: its weights but for norms and biases."""
    return [weight.detach() for weight in network.parameters() if weight.ndim >= 2 and weight.requires_grad]


def update_ratio(before: Sequence[Tensor], after: Sequence[Tensor]) -> float:
    """Norm of the change of the weights over their norm before, all of them as one vector; NaN where that is 0.

    Karpathy, "Neural networks part 3: learning and evaluation" (CS231n, Stanford), section "Ratio of weights:updates".
    """
    if not before:
        return math.nan
    own, change = get_total_norm(before), get_total_norm(torch._foreach_sub(list(after), list(before)))
    return (change / own).item() if own > 0 else math.nan
