"""Heads: small networks between an encoder's features and the space in which a loss compares."""

from itertools import pairwise

from torch import nn


def mlp(*dims: int, last_norm: bool = False) -> nn.Sequential:
    """Linear layers of widths `dims`, batch norm and ReLU between them; no bias where a norm would cancel it.

    `last_norm` adds a batch norm without affine parameters at the end (SimCLR v2 code, BYOL's and SimSiam's heads).
    """
    layers: list[nn.Module] = []
    for i, (inputs, outputs) in enumerate(pairwise(dims)):
        layers.append(nn.Linear(inputs, outputs, bias=False))
        if i < len(dims) - 2:
            layers += [nn.BatchNorm1d(outputs), nn.ReLU(inplace=True)]
        elif last_norm:
            layers.append(nn.BatchNorm1d(outputs, affine=False))
    return nn.Sequential(*layers)
