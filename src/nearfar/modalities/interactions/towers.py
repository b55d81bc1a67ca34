"""What makes vectors of users and of items, which lie in one space: their cosine says how well they go together."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nearfar.memory import check_weights
from nearfar.modalities.interactions.graph import Graph
from nearfar.options import whole

_START = 0.1
"""Standard deviation of embeddings before training."""
_HEADS, _LAYERS = 2, 2


class Tower(nn.Module):
    """Vectors `[n, dim]` of users and of items, as many and as long as a `config` says.

    `often` [items] says how often each item stands in what is learnt from.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.users, self.items, self.dim = len(config["users"]), len(config["items"]), whole(config, "dimensions")
        self.register_buffer("often", torch.zeros(self.items, dtype=torch.int32))
        self.often: Tensor

    def table(self, count: int) -> nn.Embedding:
        """New embeddings."""
        check_weights(count * self.dim, "number of dimensions", trained=True)
        made = nn.Embedding(count, self.dim)
        nn.init.normal_(made.weight, std=_START)
        return made

    def of_users(self, user: Tensor, history: Tensor) -> Tensor:
        """Of users `[n]`, who had `history` `[n, L]`: items in order of time, -1 behind its end."""
        raise NotImplementedError

    def of_items(self, item: Tensor) -> Tensor:
        """Of items `[n]`."""
        raise NotImplementedError


class Embedding(Tower):
    """An embedding of each user and each item."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.nodes = self.table(self.users + self.items)

    def spread(self) -> Tensor:
        """The vectors of all users, and of all items behind them: `[users + items, dim]`."""
        return self.nodes.weight

    def of_users(self, user: Tensor, history: Tensor) -> Tensor:
        """Their embeddings; of a user that is not known, the mean direction of what was had."""
        nodes = self.spread()
        found = F.embedding(user.clamp_max(self.users - 1), nodes)
        known = user < self.users
        if bool(known.all()):
            return found
        there = history >= 0
        had = F.normalize(F.embedding(history.clamp_min(0) + self.users, nodes), dim=-1)
        return torch.where(known[:, None], found, (had * there[..., None]).sum(1) / there.sum(1).clamp_min(1)[:, None])

    def of_items(self, item: Tensor) -> Tensor:
        """Their embeddings."""
        return F.embedding(item + self.users, self.spread())


class LightGCN(Embedding):
    """Embeddings that are spread over the graph of the training interactions: the mean of all layers.

    In training each edge is left out with the chance `edge_dropout` (SGL: Wu et al., "Self-supervised graph learning
    for recommendation", 2021, section 3.1), and noise of the length `graph_noise`, its signs those of the node, is
    added to each node at each layer (SimGCL: Yu et al., "Are graph augmentations necessary?", 2022, equations 7 and 8).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.layers = whole(config, "graph_layers", least=0)
        self.noise, self.dropout = (float(config[name]) for name in ("graph_noise", "edge_dropout"))
        self.register_buffer("edges", torch.zeros(2, whole(config, "edges"), dtype=torch.int32))
        self.edges: Tensor
        self._step: Tensor | None = None
        self._still: tuple[object, Tensor] = (None, self.edges)
        self._whole: tuple[object, Graph | None] = (None, None)

    @contextmanager
    def once(self) -> Iterator[None]:
        """Within it, all vectors come of one pass over the graph."""
        self._step = self.spread()
        try:
            yield
        finally:
            self._step = None

    def spread(self) -> Tensor:
        """The vectors of all nodes; without gradients, they are kept as long as the weights stay."""
        if self._step is not None:
            return self._step
        if self.training or torch.is_grad_enabled():
            return self._spread()
        now = (self.nodes.weight._version, id(self.edges), self.edges._version, self.edges.device)
        if self._still[0] != now:
            self._still = (now, self._spread())
        return self._still[1]

    def _spread(self) -> Tensor:
        graph = self._graph()
        x = total = self.nodes.weight
        for _ in range(self.layers):
            x = graph.spread(x)
            if self.training and self.noise:
                x = x + x.sign() * F.normalize(torch.rand_like(x), dim=-1) * self.noise
            total = total + x
        return total / (self.layers + 1)

    def _graph(self) -> Graph:
        one, other = self.edges.long()
        nodes = self.users + self.items
        if self.training and self.dropout:
            return Graph(one, other + self.users, nodes, torch.rand(len(one), device=one.device) >= self.dropout)
        now = (id(self.edges), self.edges._version, self.edges.device)
        if self._whole[0] != now or self._whole[1] is None:
            self._whole = (now, Graph(one, other + self.users, nodes))
        assert self._whole[1] is not None
        return self._whole[1]


class History(Tower):
    """A user is the weighted mean of embeddings of the items that were had; items have others to be found by.

    The weights are learned, one an item, from the start of 1 / sqrt(how often it was had).
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.had, self.found = self.table(self.items), self.table(self.items)
        self.weight = nn.Parameter(torch.zeros(self.items))

    def of_users(self, user: Tensor, history: Tensor) -> Tensor:
        """By what they had alone; zero where that is nothing."""
        there = history >= 0
        items = history[there]
        weights = self.weight[items].exp() * self.often[items].clamp_min(1).float().rsqrt()
        starts = there.sum(1).cumsum(0) - there.sum(1)
        return F.embedding_bag(items, self.had.weight, starts, mode="sum", per_sample_weights=weights)

    def of_items(self, item: Tensor) -> Tensor:
        """Their embeddings."""
        found: Tensor = self.found(item)
        return found


class Sequence(Tower):
    """A user is what a small transformer makes of the last items in their order, the last one counted from.

    Kang and McAuley, "Self-attentive sequential recommendation", 2018, with one vector for the whole sequence.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__(config)
        self.found = self.table(self.items)
        self.places = self.table(whole(config, "history"))
        layer = nn.TransformerEncoderLayer(self.dim, _HEADS, 2 * self.dim, 0.2, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(layer, _LAYERS, enable_nested_tensor=False)

    def of_users(self, user: Tensor, history: Tensor) -> Tensor:
        """By their last items alone; zero where there is none."""
        there = history >= 0
        length = there.sum(1, keepdim=True)
        back = (length - 1 - torch.arange(history.shape[1], device=history.device)).clamp_min(0)  # 0 is the last
        x = self.found(history.clamp_min(0)) + self.places(back.clamp_max(self.places.num_embeddings - 1))
        nothing = ~there
        nothing[:, 0] &= length[:, 0] > 0  # attention over nothing is not a number
        x = self.blocks(x, src_key_padding_mask=nothing)
        last = x[torch.arange(len(x), device=x.device), (length[:, 0] - 1).clamp_min(0)]
        found: Tensor = last * (length > 0)
        return found

    def of_items(self, item: Tensor) -> Tensor:
        """Their embeddings."""
        found: Tensor = self.found(item)
        return found


TOWERS: dict[str, type[Tower]] = {
    "lightgcn": LightGCN,
    "embedding": Embedding,
    "history": History,
    "sequence": Sequence,
}
