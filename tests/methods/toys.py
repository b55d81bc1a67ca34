"""A toy encoder, and views and batches for it: for tests of one method at a time."""

import torch
from torch import nn

from nearfar.contract import Batch, Encoder, Map, Views
from nearfar.methods.registry import METHODS, load
from nearfar.options import Facts

OF_SAMPLES = [name for name in METHODS if load(name).requires.annotations is None]
"""Methods that need no annotations."""
OF_VECTORS = [name for name in METHODS if not load(name).requires.maps]
"""Methods that take any encoder; others need its maps."""
PLAIN = [
    name for name in METHODS if not (load(name).requires.scores or load(name).requires.targets or load(name).downstream)
]
"""Methods that need nothing but samples: no pairs with scores, no teacher; and that train no head to name things."""


class Toy(Encoder):
    """A linear layer, or any other `layer`, over vectors of 6; shorter ones, as of small views, are stretched.

    Its vectors, whose length is a multiple of 4, are also its map, of 2 x 2 cells. `seen` notes the shapes of what it
    was given.
    """

    def __init__(self, dim=12, layer=None):
        super().__init__()
        self.dim = dim
        self.layer = nn.Linear(6, dim) if layer is None else layer
        self.seen = []

    def features(self, inputs):
        self.seen.append(tuple(inputs.shape))
        return self.layer(inputs[:, :1].expand(-1, 6) if inputs.shape[1] < 6 else inputs)

    def features_and_maps(self, inputs):
        features = self.features(inputs)
        return features, [Map(features.view(len(features), -1, 2, 2), 1)]

    def maps(self, inputs):
        return self.features_and_maps(inputs)[1]

    def map_shapes(self):
        return [(self.dim // 4, 1)]


class Mapless(Encoder):
    """An encoder that gives vectors alone."""

    def __init__(self):
        super().__init__()
        self.dim, self.config = 6, {}

    def features(self, inputs):
        return inputs


def normed(dim=12, *more):
    """A toy with batch norm."""
    return Toy(dim, nn.Sequential(nn.Linear(6, dim), nn.BatchNorm1d(dim), *more))


def views_of(*views):
    """Views `[v n d]`, or one after the other where their widths differ; the first two are wide."""
    x = views[0] if len(views) == 1 else views
    return Views(lambda number, start, stop: x[number][start:stop], range(len(x)), 0, len(x[0]), wide=2)


def batch_of(ids, **more):
    """A batch of samples without labels; `ids` are theirs, or how many there are."""
    ids = torch.arange(ids) if isinstance(ids, int) else torch.as_tensor(list(ids))
    return Batch(ids=ids, labels=torch.full((len(ids),), -1), **more)


def facts_of(samples):
    return Facts(samples=samples, device="cpu", threads=1)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))
