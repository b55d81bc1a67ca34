"""Networks over ids and masks `[n, t]`, as other libraries have them, in place of ids and lengths."""

from typing import Any

import torch
from torch import Tensor, nn

from nearfar.contract.program import Program, ProgramInput

_PREPARING = """\
from tokenizers import Tokenizer

tokenizer = Tokenizer.from_file("tokenizer.json")
tokenizer.enable_truncation({longest})
tokenizer.enable_padding()
texts = ["one text", "and one that is longer"]
tokens = tokenizer.encode_batch([({text}){lower} for text in texts])
ids, mask = np.array([one.ids for one in tokens]), np.array([one.attention_mask for one in tokens])
"""


class Pooled(nn.Module):
    """A transformer, the pooling of its last states, and unit length where the encoder has it."""

    def __init__(self, network: Any, pooling: str, unit: bool) -> None:
        super().__init__()
        self.network = network
        self.pooling = pooling
        self.unit = unit

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and masks, 1 where there is a token, to vectors `[n, dim]`."""
        states: Tensor = self.network(input_ids=ids, attention_mask=mask).last_hidden_state
        found = self._pooled(states, mask[..., None].to(states.dtype))
        return nn.functional.normalize(found, dim=-1) if self.unit else found

    def _pooled(self, states: Tensor, mask: Tensor) -> Tensor:
        count = mask.sum(1)
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "last":
            places = mask.cumsum(1)
            return (states * (mask * (places == count[:, None]))).sum(1)
        if self.pooling == "max":
            return (states + (mask - 1) * torch.finfo(states.dtype).max).amax(1)
        total = (states * mask).sum(1)
        return total / (count.sqrt() if self.pooling == "mean_sqrt_len" else count)


class WeightedMean(nn.Module):
    """The mean of the vectors of tokens, each times its weight."""

    def __init__(self, table: Tensor) -> None:
        super().__init__()
        self.table = nn.Embedding(table.shape[0], table.shape[1], _weight=table)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Ids and masks, 1 where there is a token, to vectors `[n, dim]`."""
        there = mask[..., None].to(self.table.weight.dtype)
        found: Tensor = (self.table(ids) * there).sum(1) / there.sum(1).clamp_min(1)
        return found


def program(module: nn.Module, tokens: int, longest: int, *, lower: bool = False, prompt: str = "") -> Program:
    """The program of such a network over the numbers of `tokens`, at most the `longest` of them a text.

    Texts are made `lower` case, and a `prompt` put before them, ahead of the tokenizer.
    """
    ids = torch.randint(0, tokens, (3, min(7, longest)))
    mask = torch.ones_like(ids)
    mask[1, 3:] = 0
    axes = {0: "batch", 1: "length"}
    return Program(
        module,
        {
            "ids": ProgramInput(ids, axes, f"tokens [n, t] as tokenizer.json numbers them, at most {longest} a text"),
            "mask": ProgramInput(mask, axes, "1 where there is a token, 0 behind the end of a text; as ids"),
        },
        _PREPARING.format(longest=longest, text=f"{prompt!r} + text" if prompt else "text", lower=".lower()" * lower),
    )
