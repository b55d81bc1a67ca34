"""What a text is made of: its words, each of one token or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nearfar.contract.parts import Parts, completed, packed

if TYPE_CHECKING:
    from nearfar.contract import Inputs


def words_of(ids: Sequence[int], decode: Callable[[Sequence[int]], str]) -> tuple[list[str], list[int]]:
    """The words that tokens say, and the number of the word [t] that each token is of.

    A token begins a word where a space comes before it when the text is decoded up to there. Where decoding changes
    what was said before, each token is a word of its own.
    """
    said = [decode(ids[: i + 1]) for i in range(len(ids))]
    if any(not later.startswith(earlier) for earlier, later in pairwise(said)):
        return [decode([one]).strip() or "?" for one in ids], list(range(len(ids)))
    words, of, before = list[str](), list[int](), ""
    for text in said:
        piece = text[len(before) :]
        if not words or piece[:1].isspace():
            words.append("")
        words[-1] += piece
        of.append(len(words) - 1)
        before = text
    return [word.strip() or "?" for word in words], of


def parts_of_words(
    words: Sequence[str],
    tokens: Tensor,
    of: Sequence[int],
    inputs: Callable[[Tensor, Tensor], Inputs],
    *,
    terms: Tensor | None = None,
    states: Tensor | None = None,
    features: Tensor | None = None,
) -> Parts:
    """The `words` of a text as parts; a text that has lost a word is that without its tokens.

    `tokens` `[t, ...]` are what the inputs hold of the text, each `of` the word [t]; `inputs` makes inputs of several
    texts from theirs, `[m, t, ...]`, and their lengths [m]. `terms` `[t, d]` are what each token adds to the `features`
    [d], or `states` `[t, d]` vectors to compare.
    """
    at = torch.tensor(of, dtype=torch.int64, device=tokens.device)

    def without(kept: Tensor) -> Inputs:
        return inputs(*packed(tokens, kept[:, at]))

    def by_word(values: Tensor) -> Tensor:
        return values.new_zeros(len(words), values.shape[1]).index_add_(0, at, values)

    whole, seen = None, None
    if terms is not None and features is not None and words:
        whole = completed(by_word(terms), features)
    elif states is not None and words:
        seen = by_word(states) / torch.bincount(at, minlength=len(words))[:, None]
    return Parts(names=words, without=without, terms=whole, tokens=seen, running=True)
