"""How cells become what a network reads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from nearfar.modalities.table.columns import Column


class Inputs(nn.Module):
    """Cells `[b, C]` to what a network reads, `[b, D]`; holds the columns' statistics and no weights.

    The dimensions of a column stand together, `column` [D] numbers them. Of a number they are: the number standardised
    with the training rows' statistics; one for each piece between its edges, 0 below it, 1 above it, and rising in it
    (Gorishniy et al., "On embeddings for numerical features in tabular deep learning", 2022, eq. 1); sine and cosine
    of the time within each period of a date; and where cells were missing, whether it is. A missing number is at the
    median. Categories are one-hot, all zeros where missing or unknown.
    """

    median: Tensor
    mean: Tensor
    scale: Tensor
    column: Tensor
    number_of: Tensor
    code_of: Tensor
    code: Tensor
    piece_of: Tensor
    low: Tensor
    length: Tensor
    wave_of: Tensor
    turn: Tensor
    phase: Tensor
    gap_of: Tensor
    order: Tensor

    def __init__(self, columns: Sequence[Column]) -> None:
        super().__init__()
        numbers = [i for i, column in enumerate(columns) if column.values is None]
        codes = [(i, j) for i, column in enumerate(columns) for j in range(len(column.values or ()))]
        pieces = [(i, low, high - low) for i, column in enumerate(columns) for low, high in pairwise(column.edges)]
        waves = [
            (i, 2 * math.pi / period, 2 * math.pi * (column.origin % period) / period + quarter)
            for i, column in enumerate(columns)
            for period in column.periods
            for quarter in (0.0, math.pi / 2)
        ]
        gaps = [i for i, column in enumerate(columns) if column.gaps]
        of = [*numbers, *(i for i, *_ in [*codes, *pieces, *waves]), *gaps]
        order = sorted(range(len(of)), key=of.__getitem__)
        self.width = len(of)
        places = {
            "number_of": numbers,
            "code_of": [i for i, _ in codes],
            "piece_of": [i for i, *_ in pieces],
            "wave_of": [i for i, *_ in waves],
            "gap_of": gaps,
            "order": order,
            "column": [of[place] for place in order],
        }
        figures = {
            "median": [float("nan") if column.values is not None else column.median for column in columns],
            "mean": [columns[i].mean for i in numbers],
            "scale": [columns[i].scale for i in numbers],
            "code": [code for _, code in codes],
            "low": [low for _, low, _ in pieces],
            "length": [length for *_, length in pieces],
            "turn": [turn for _, turn, _ in waves],
            "phase": [phase for *_, phase in waves],
        }
        for name, at in places.items():
            self.register_buffer(name, torch.tensor(at, dtype=torch.long), persistent=False)
        for name, values in figures.items():
            self.register_buffer(name, torch.tensor(values, dtype=torch.float32), persistent=False)

    def forward(self, cells: Tensor) -> Tensor:
        """Cells to finite numbers; nothing in them is missing."""
        filled = torch.where(cells.isnan(), self.median, cells)
        parts = [
            (filled[:, self.number_of] - self.mean) * self.scale,
            (filled[:, self.code_of] == self.code).float(),
            ((filled[:, self.piece_of] - self.low) / self.length).clamp(0, 1),
            torch.sin(filled[:, self.wave_of] * self.turn + self.phase),
            cells[:, self.gap_of].isnan().float(),
        ]
        return torch.cat(parts, dim=1)[:, self.order]

    def cells(self, inputs: Tensor) -> Tensor:
        """The way back, `[b, D]` to cells `[b, C]`: a number where it was missing is its median, a value is NaN."""
        parts = inputs[:, self.order.argsort()]
        n = len(self.number_of)
        found = torch.full((len(inputs), len(self.median)), float("nan"), device=inputs.device)
        found[:, self.number_of] = torch.where(self.scale > 0, parts[:, :n] / self.scale, 0) + self.mean
        for place, (column, code) in enumerate(zip(self.code_of.tolist(), self.code.tolist(), strict=True), n):
            found[:, column] = torch.where(parts[:, place] > 0.5, code, found[:, column])
        return found


def plain(columns: Sequence[Column]) -> list[Column]:
    """The columns as the raw input has them: numbers standardised, dates as numbers, categories one-hot."""
    return [replace(column, edges=(), periods=(), gaps=False) for column in columns]
