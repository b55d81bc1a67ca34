"""Networks over rows of numbers and one-hot categories, `[n, D]` to `[n, dim]`."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from nearfar.modalities.table.encoding import Inputs


def mlp(width: int, hidden: int, layers: int) -> nn.Sequential:
    """Linear layers of one width with ReLU between them, none after the last, and no normalisation.

    A vector never depends on the other rows of its batch, and any micro-batch gives the same gradients.
    """
    made: list[nn.Module] = []
    for wide, next_wide in pairwise([width] + [hidden] * layers):
        made += [nn.Linear(wide, next_wide), nn.ReLU()]
    return nn.Sequential(*made[:-1])


class Wide(nn.Module):
    """What a network makes of a row, and behind it the row itself: `[n, D]` to `[n, hidden + D]`.

    Cheng et al., "Wide & deep learning for recommender systems", 2016, section 3: what each column says alone is kept
    beside what the network has found in them together. While it is trained, the network's own vector, repeated, stands
    in the place of the row: else a loss is read off the row, and the network learns little.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.as_used = False
        """Whether the row stands behind it in training, too, where a head learns on both."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Rows to vectors."""
        found: Tensor = self.network(inputs)
        if self.training and not self.as_used:
            inputs = found[:, torch.arange(inputs.shape[1], device=found.device) % found.shape[1]]
        return torch.cat([found, inputs], dim=1)


class Transformer(nn.Module):
    """A transformer over the columns of a row, each a token, and one more whose output is the vector: `[n, hidden]`.

    Gorishniy et al., "Revisiting deep learning models for tabular data", 2021, section 3.3 (FT-Transformer): a token is
    an affine map of what its column holds, so that a category has an embedding for each value; layers normalise before
    attention and before their feed-forward part, whose width is twice the tokens'.
    """

    at: Tensor

    def __init__(self, inputs: Inputs, hidden: int, layers: int) -> None:
        super().__init__()
        heads = next(heads for heads in (8, 4, 2, 1) if hidden % heads == 0 and (hidden >= 8 * heads or heads == 1))
        column = inputs.column
        columns = int(column.max()) + 1
        sizes = torch.bincount(column, minlength=columns)
        widest = int(sizes.max())
        within = torch.arange(len(column)) - (sizes.cumsum(0) - sizes)[column]
        self.register_buffer("at", column * widest + within, persistent=False)  # its place among columns x widest
        self.columns, self.widest = columns, widest
        self.weight = nn.Parameter(torch.randn(columns, widest, hidden) / hidden**0.5)
        self.bias = nn.Parameter(torch.randn(columns, hidden) / hidden**0.5)
        self.summary = nn.Parameter(torch.randn(hidden) / hidden**0.5)
        layer = nn.TransformerEncoderLayer(
            hidden, heads, 2 * hidden, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(hidden)

    def tokens(self, inputs: Tensor) -> Tensor:
        """The output of each column, `[n, C, hidden]`."""
        return self._run(inputs)[:, 1:]

    def forward(self, inputs: Tensor) -> Tensor:
        """Rows to vectors."""
        return self._run(inputs)[:, 0]

    def _run(self, inputs: Tensor) -> Tensor:
        cells = inputs.new_zeros(len(inputs), self.columns * self.widest).index_copy(1, self.at, inputs)
        tokens = torch.einsum("ncw,cwd->ncd", cells.view(-1, self.columns, self.widest), self.weight) + self.bias
        found: Tensor = self.norm(self.layers(torch.cat([self.summary.expand(len(inputs), 1, -1), tokens], dim=1)))
        return found
