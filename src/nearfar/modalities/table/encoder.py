"""Encoders of rows: a network, and how cells become its input."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar import given
from nearfar.contract import Encoder, Parts
from nearfar.contract.program import Program, ProgramInput
from nearfar.data.values import MISSING, spelling
from nearfar.errors import ConfigError, DataError
from nearfar.memory import check_weights
from nearfar.modalities.network import OwnNetwork
from nearfar.modalities.table import dates
from nearfar.modalities.table.columns import Column, from_config, same_layout
from nearfar.modalities.table.encoding import Inputs
from nearfar.modalities.table.networks import Transformer, Wide, mlp
from nearfar.modalities.table.options import MOST_LAYERS
from nearfar.modalities.table.recognition import lay_out_table
from nearfar.modalities.table.source import Cells, shown
from nearfar.options import whole


class TableEncoder(Encoder):
    """A network over rows of numbers `[n, D]` as `Inputs` makes them; `config["columns"]` says what the columns are."""

    cheaper = "a smaller encoder (--hidden, --layers)"

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.columns = from_config(config["columns"])
        self.inputs = Inputs(self.columns)
        self._places = [{spelling(value): i for i, value in enumerate(c.values or ())} for c in self.columns]
        self.network: nn.Module
        if given.is_given(config["encoder"]):
            self.dim = whole(config, "dim") if "dim" in config else 0
            self.network = OwnNetwork(config["encoder"])
            return
        name, hidden, layers = config["encoder"], whole(config, "hidden"), whole(config, "layers", most=MOST_LAYERS)
        width, wrong = self.inputs.width, "hidden or number of layers"
        if name == "transformer":
            check_weights(8 * hidden * hidden * layers + hidden * width * len(self.columns), wrong)
            self.dim, self.network = hidden, Transformer(self.inputs, hidden, layers)
            return
        check_weights(width * hidden + hidden * hidden * (layers - 1), wrong)
        self.dim, self.network = hidden, mlp(width, hidden, layers)
        if name == "wide":
            self.whitens = False  # pieces next to each other say much the same; few labels go furthest where they may
            self.dim, self.network = hidden + width, Wide(self.network)

    def features(self, inputs: Tensor) -> Tensor:
        """Rows of numbers `[n, D]` to vectors `[n, dim]`."""
        found: Tensor = self.network(inputs)
        return found

    def as_used(self) -> None:
        """The row stands behind the network's vector in training, too."""
        if isinstance(self.network, Wide):
            self.network.as_used = True

    def tokens(self, inputs: Tensor) -> Tensor:
        """The transformer's output for each column, `[n, C, dim]`; raises ConfigError for another encoder."""
        if not isinstance(self.network, Transformer):
            raise ConfigError(f"The encoder {self._name!r} has no tokens: take the transformer.")
        return self.network.tokens(inputs)

    def parts(self, inputs: Tensor) -> Parts:
        """The cells of one row; one that is taken away is missing."""
        cells, column = self.inputs.cells(inputs)[0].cpu().numpy(), self.inputs.column
        missing = self.inputs(torch.full((1, len(self.columns)), float("nan"), device=inputs.device))

        def without(kept: Tensor) -> Tensor:
            return torch.where(kept[:, column], inputs, missing)

        tokens = self.network.tokens(inputs)[0] if isinstance(self.network, Transformer) else None
        names = [f"{one.name}: {shown(one, float(cell))}" for one, cell in zip(self.columns, cells, strict=True)]
        return Parts(names=names, without=without, tokens=tokens)

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """Of rows of numbers `[n, D]`, or with preprocessing of cells `[n, C]`, categories as their numbers."""
        if not preprocessing:
            names = ", ".join(self.columns[i].name for i in dict.fromkeys(self.inputs.column.tolist()))
            meaning = f"encoded columns [n, {self.inputs.width}], side by side in the order {names}"
            given = ProgramInput(torch.randn(3, self.inputs.width), {0: "batch"}, meaning)
            return {"encoder": Program(self.network, {"encoded": given})}
        meaning = f"cells [n, {len(self.columns)}], NaN where missing: {'; '.join(map(_cell_meaning, self.columns))}"
        cells = (torch.arange(3 * len(self.columns)) % 4).float().view(3, -1)
        cells[0, -1] = torch.nan
        given = ProgramInput(cells, {0: "batch"}, meaning)
        return {"encoder": Program(nn.Sequential(self.inputs, self.network), {"cells": given})}

    def prepare(self, raw: Cells) -> Tensor:
        """Cells to rows of numbers `[n, D]` on the encoder's device."""
        if not same_layout(raw.columns, self.columns):
            raise DataError(
                "The table's columns are not those of the encoder: fetch from source.suited(encoder.config)."
            )
        found: Tensor = self.inputs(raw.rows.to(self.inputs.mean.device))
        return found

    def measure(self, raw: Cells) -> None:
        """Learn the length of the features of a user's own network, by what it makes of real rows."""
        assert isinstance(self.network, OwnNetwork)
        self.dim = self.config["dim"] = self.network.width(self.prepare(raw))

    def preprocess(self, inputs: Sequence[Any]) -> Tensor:
        """Rows as dicts by column name, or as lists or arrays in the order of training, to `[n, D]`.

        None, NaN and empty texts are missing cells. An Arrow table, and an array where all columns are numbers, are
        read as a whole, and what is no number in them is missing. Raises DataError naming the row and column that
        cannot be read.
        """
        if (whole := self._whole(inputs)) is not None:
            return whole
        cells = np.empty((len(inputs), len(self.columns)), dtype=np.float32)
        for i, row in enumerate(inputs):
            if hasattr(row, "to_dict"):  # a row of a pandas data frame
                row = {str(name): cell for name, cell in row.to_dict().items()}
            if isinstance(row, Mapping):
                lacking = [c.name for c in self.columns if c.name not in row]
                if lacking:
                    raise DataError(f"Input {i} has no column {lacking[0]!r}; the encoder needs all it was trained on.")
                row = [row[c.name] for c in self.columns]
            elif isinstance(row, Tensor):
                row = row.detach().cpu().numpy()
            if np.ndim(row) != 1 or len(row) != len(self.columns):
                raise DataError(
                    f"Input {i} must be a row of {len(self.columns)} cells ({', '.join(self._names())}), "
                    f"got shape {list(np.shape(row))}."
                )
            cells[i] = [self._cell(i, j, cell) for j, cell in enumerate(row)]
        found: Tensor = self.inputs(torch.from_numpy(cells).to(self.inputs.mean.device))
        return found

    def _whole(self, inputs: Any) -> Tensor | None:
        """Many rows at once; None for what is read row by row."""
        cells = None
        if hasattr(inputs, "column_names"):
            cells = lay_out_table(inputs, self.columns, "The table")
        elif getattr(inputs, "ndim", 0) == 2 and inputs.shape[1] == len(self.columns):
            numbers = isinstance(inputs, np.ndarray) and inputs.dtype.kind in "biuf"
            if numbers and all(c.values is None and not c.dates for c in self.columns):
                with np.errstate(over="ignore"):
                    origins = np.array([column.origin for column in self.columns])
                    cells = (inputs - origins).astype(np.float32)
        if cells is None:
            return None
        if (infinite := np.isinf(cells)).any():
            row, column = (int(at[0]) for at in np.nonzero(infinite))
            raise DataError(f"Input {row}: the cell of column {self.columns[column].name!r} is no finite number.")
        found: Tensor = self.inputs(torch.from_numpy(cells).to(self.inputs.mean.device))
        return found

    def typed(self, words: str) -> Any | None:
        """A row as JSON; None where it is none."""
        try:
            row = json.loads(words)
        except (ValueError, RecursionError):
            return None
        return row if isinstance(row, dict) else None

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one row: a dict, an array of one axis, or a list of cells."""
        if isinstance(inputs, Mapping):
            return True
        if hasattr(inputs, "ndim"):
            return bool(inputs.ndim == 1)
        return len(inputs) > 0 and (inputs[0] is None or isinstance(inputs[0], str | Real))

    def _names(self) -> list[str]:
        names = [c.name for c in self.columns]
        return names if len(names) <= 8 else [*names[:8], "..."]

    def _cell(self, i: int, j: int, cell: Any) -> float:
        column = self.columns[j]
        if cell is None or cell != cell or (isinstance(cell, str) and cell.strip().lower() in MISSING):
            return float("nan")
        if column.values is not None:
            return float(self._places[j].get(spelling(str(cell)), float("nan")))
        try:
            if column.dates:
                number = dates.days([spelling(str(cell))], column.dates).item()
                number = number if number == number else float("inf")
            else:
                number = float(cell)
        except (TypeError, ValueError):
            number = float("inf")
        if abs(number) > float(np.finfo(np.float32).max):
            raise DataError(f"Input {i}: the cell {cell!r} of column {column.name!r} is no finite number or date.")
        return number - column.origin


def _cell_meaning(column: Column) -> str:
    """What the number in a cell of a column stands for."""
    if column.values is not None:
        numbers = ", ".join(f"{i} {value!r}" for i, value in enumerate(column.values))
        return f"{column.name} as {numbers}"
    what = "days since 1970 (UTC)" if column.dates else "the number"
    return f"{column.name}, {what}" + (f" less {column.origin:g}" if column.origin else "")
