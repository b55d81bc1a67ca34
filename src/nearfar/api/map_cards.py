"""What a map shows of its samples: their cards, where the data is still there."""

import os
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from nearfar import given
from nearfar.contract import Card, Encoder, Rows, Source
from nearfar.data.embeddings import Embeddings
from nearfar.errors import UserError
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

if TYPE_CHECKING:
    from collections.abc import Sequence


class Cards:
    """Cards of the samples of an embedding, from the `data` that it was made of, opened as the encoder's kind."""

    def __init__(self, embeddings: Embeddings, data: str | None, encoder: Encoder | None) -> None:
        self._embeddings, self._data, self._encoder = embeddings, data, encoder
        self.notes: list[str] = []
        self._sources = self._opened()

    @property
    def folder(self) -> str | None:
        """The folder that keys are paths from, where samples are files of their own."""
        origin = self._embeddings.origin
        if origin is None or not len(self._embeddings):
            return None
        return origin if os.path.isfile(os.path.join(origin, self._embeddings.keys[0])) else None

    def bare(self, rows: Rows) -> list[Card]:
        """The key and the label of each row."""
        keys, labels = self._embeddings.keys, self._embeddings.labels
        return [Card(key=keys[row], label=None if labels is None else labels[row]) for row in rows.tolist()]

    def of(self, rows: Rows) -> list[Card]:
        """The card of each row; of one that the data does not have, its key and label alone."""
        found = self.bare(rows)
        for source, places in zip(self._sources, self._places, strict=True):
            at = [i for i, one in enumerate(found) if one.key in places]
            there = source.cards(np.array([places[found[i].key] for i in at], dtype=np.int64)) if at else []
            for i, card in zip(at, there, strict=True):
                found[i] = replace(card, key=found[i].key, label=found[i].label)
        return found

    @cached_property
    def _places(self) -> list[dict[str, int]]:
        return [{key: row for row, key in enumerate(source.keys)} for source in self._sources]

    def _opened(self) -> "Sequence[Source]":
        """The data, and its sides where it has several; none where it is gone or has changed."""
        data = self._data
        if data is None or given.is_given(data):
            self.notes.append("It is not known what data this embedding is of: samples are shown by their keys.")
            return []
        try:
            config = None if self._encoder is None else self._encoder.config
            modality = registry.load(registry.find(data) if config is None else config["modality"])
            source = open_source(modality, data, config=config, split="all", grow=False).shown
        except UserError as error:
            self.notes.append(f"The data cannot be opened, so that samples are shown by their keys: {error}")
            return []
        return [*list(source.sides.values())[1:], source]
