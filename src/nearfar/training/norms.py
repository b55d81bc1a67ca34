"""Batch norms of an encoder, and the running statistics that they normalise by in use."""

import numpy as np
import torch
from torch import nn

from nearfar.contract import Encoder, Source

_BATCHES, _BATCH = 8, 256


def batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    """The norms that have running statistics."""
    found = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    return [norm for norm in found if norm.track_running_stats]


@torch.no_grad()
def settle_norms(encoder: Encoder, source: Source) -> None:
    """Set the running statistics of batch norms to those of up to 2,048 samples, evenly taken, those fixed, too.

    They are the mean over batches of 256 to 511 samples, or one of all where there are fewer, each normalised by its
    own statistics on its way; nothing else of the encoder is in training mode.
    """
    norms = batch_norms(encoder)
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    encoder.eval()
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    rows = np.unique(np.linspace(0, len(source) - 1, min(len(source), _BATCHES * _BATCH)).astype(np.int64))
    for part in np.array_split(rows, max(1, len(rows) // _BATCH)):
        raw, kept = source.fetch(part)
        if len(kept) > 1:
            encoder.features(encoder.prepare(raw))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    encoder.eval()
