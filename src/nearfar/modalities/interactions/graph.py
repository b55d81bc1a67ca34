"""Spreading embeddings over the graph of who had what.

He et al., "LightGCN: simplifying and powering graph convolution network for recommendation", 2020, equations 3 and 8:
each node becomes the sum of its neighbours, divided by the square roots of both degrees, and the embeddings of all
layers are averaged. https://arxiv.org/abs/2002.02126
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


class Graph:
    """An undirected graph of `nodes` nodes with the edges `one` [N], `other` [N], its adjacency normalised by degrees.

    Without `edges` [N], which say which of them are there, all are.
    """

    def __init__(self, one: Tensor, other: Tensor, nodes: int, edges: Tensor | None = None) -> None:
        if edges is not None:
            one, other = one[edges], other[edges]
        from_, to = torch.cat([one, other]), torch.cat([other, one])
        degrees = torch.bincount(from_, minlength=nodes)
        order = from_.argsort(stable=True)
        self.to = to[order]
        self.starts = degrees.cumsum(0) - degrees
        self.weights = (degrees[from_] * degrees[to]).float().rsqrt()[order]

    def spread(self, x: Tensor) -> Tensor:
        """The normalised adjacency times `x` [nodes, d]; a node without neighbours becomes zero."""
        found: Tensor = _Spread.apply(x, self)
        return found

    def product(self, x: Tensor) -> Tensor:
        """As `spread`, without a gradient."""
        return F.embedding_bag(self.to, x, self.starts, mode="sum", per_sample_weights=self.weights.to(x.dtype))


class _Spread(torch.autograd.Function):
    """The adjacency is symmetric: the gradient is spread as the embeddings are, which is ten times quicker than torch's
    own backward of an `embedding_bag`."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, graph: Graph) -> Tensor:
        ctx.graph = graph
        return graph.product(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        return ctx.graph.product(grads[0].contiguous()), None
