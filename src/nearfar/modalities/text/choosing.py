"""What is chosen for texts where nothing is asked for: the encoder, its sizes, and how views are made."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from nearfar.modalities.text.making import kind_of
from nearfar.modalities.text.options import TextOptions
from nearfar.options import Choice, Facts, Settling

if TYPE_CHECKING:
    from nearfar.modalities.text.source import TextSource


def settled(
    options: TextOptions, source: TextSource, encoder: str | None, facts: Facts
) -> tuple[TextOptions, str, list[Choice]]:
    """Options without None, the encoder's name, and what was chosen; raises UnknownName and ConfigError."""
    settling = Settling(options)
    if encoder is None:
        encoder = "bag"
        settling.choices.append(Choice("encoder", encoder, "the quickest, and good on little data"))
    kind, place = kind_of(encoder)
    longest, why = 128, "tokens, which most sentences do not reach"
    if kind in ("bag", "static"):
        longest, why = 256, "words, which most texts do not reach"
    elif kind == "st":
        from nearfar.modalities.text.folders import of_sentences

        recipe = of_sentences(os.path.expanduser(place))
        longest, why = recipe.max_length or longest, "as its folder says" if recipe.max_length else why
        settling.choose("pooling", recipe.pooling or "mean", "as its folder says")
    settling.choose("max_length", longest, why)
    words = kind in ("bag", "static")
    if facts.scored:
        settling.choose("word_deletion", 0.0, "scores are of whole texts")
        settling.choose("span_scale", 1.0, "scores are of whole texts")
    if facts.paired:
        settling.choose("word_deletion", 0.1, "few words: the other side shows what they say")
        settling.choose("span_scale", 1.0, "the other side shows the whole")
    settling.choose("word_deletion", *((0.2, "texts stay what they say") if words else (0.1, "beside the dropout")))
    settling.choose("span_scale", *((0.6, "views share most of their words") if words else (1.0, "")))
    # Scores say which words count; without them contrast would have rare words count all the more.
    settling.choose("weight_rate", *((30.0, "scores say which words count") if facts.scored else (1.0, "")))
    scratch = kind == "transformer"
    size = 8_000 if facts.samples < 50_000 else 30_000
    settling.choose("vocabulary", size, f"of {facts.samples} texts" if scratch else "")
    settling.choose("depth", 4, "small, for training from scratch" if scratch else "")
    settling.choose("pooling", "mean", "says more of a text than one token" if not words else "")
    return settling.options, encoder, settling.choices
