"""A toy encoder with batch norm, and batches for it: for methods whose views have statistics of their own."""

import torch
from torch import nn

from nearfar.contract import Batch, Encoder, Views
from nearfar.options import Facts


class Toy(Encoder):
    def __init__(self, dim=12):
        super().__init__()
        self.dim = dim
        self.layer = nn.Linear(6, dim)
        self.norm = nn.BatchNorm1d(dim)

    def features(self, inputs):
        return self.norm(self.layer(inputs))


def views_of(x):
    return Views(lambda number, start, stop: x[number, start:stop], range(len(x)), 0, x.shape[1], wide=2)


def batch_of(n, **more):
    return Batch(ids=torch.arange(n), labels=torch.full((n,), -1), **more)


def facts_of(samples):
    return Facts(samples=samples, device="cpu", threads=1)
