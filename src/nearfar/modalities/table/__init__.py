"""Tables: rows of numbers and categories.

A source is a `.csv`, `.tsv`, `.jsonl`, `.parquet`, `.npy` or `.npz` file, or several; a view is a row with some cells
drawn from other rows (SCARF).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar import given
from nearfar.contract import Modality
from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities.table.options import ENCODERS, TableOptions

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.contract import Baseline, Card, Requirements, Rows, Views
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.modalities.table.encoder import TableEncoder
    from nearfar.modalities.table.source import Cells, TableSource
    from nearfar.options import Choice, Facts

__all__ = ["MODALITY", "Table"]

log = logging.getLogger("nearfar")

BINS = 64
"""Most pieces that numbers are cut into where nothing is asked for."""


class Table(Modality):
    """The modality `table`."""

    name = "table"
    Options = TableOptions
    encoders = ENCODERS
    further = None
    gentle: ClassVar[Mapping[str, Any]] = {"corruption": 0.1}
    advice: ClassVar[Mapping[str, str]] = {
        "inputs alike": "such as columns of one value",
        "views unrelated": "lower --corruption",
        "too easy": "raise --corruption",
    }

    def claims(self, found: Found) -> bool:
        """Whether it is rows of numbers and categories, by the columns' names and the first cells."""
        return found.kind.name == self.name

    def source(self, samples: Samples, **reading: Any) -> TableSource:
        """The rows, and a line that says which columns are inputs; raises DataError where too few can be used."""
        from nearfar.modalities.table.source import TableSource

        options = reading.get("options")
        source = TableSource(samples, dates=options is None or options.dates)
        names = [column.name for column in source.columns]
        log.info("%s: inputs are %s", source.name, ", ".join(names[:20]) + (", ..." if len(names) > 20 else ""))
        if samples.label_column is None:
            log.info("%s: no column is named as labels are: --label-column NAME says which one holds them", source.name)
        return source

    def settle(
        self, options: TableOptions, source: TableSource, encoder: str | None, facts: Facts
    ) -> tuple[TableOptions, str, list[Choice]]:
        """Options without None, the encoder's name, and what was chosen."""
        from nearfar.modalities.table.views import CORRUPTION
        from nearfar.options import Choice, Settling

        few, settling = facts.samples < 2000, Settling(options)
        own = encoder is not None and given.is_given(encoder)
        pieces = 0 if own else min(BINS, max(4, facts.samples // 64))
        settling.choose("bins", pieces, "a network of one's own sees standardised numbers" if own else "by the rows")
        settling.choose("corruption", CORRUPTION, "two views have half of their cells in common")
        settling.choose("hidden", 128 if few else 256, "few rows" if few else "SCARF's width")
        settling.choose("layers", 2 if few else 3, "few rows" if few else "many rows")
        usual = next(iter(ENCODERS))
        if not encoder:
            settling.choices.append(Choice("encoder", usual, "the encoder of tables"))
        self._check(encoder or usual)
        return settling.options, encoder or usual, settling.choices

    def encoder(
        self,
        name: str,
        source: TableSource,
        options: TableOptions,
        *,
        width: int | None = None,
        pretrained: str | None = None,
    ) -> TableEncoder:
        """A new encoder for these columns; `width` stands for `hidden`. Raises UnknownName and ConfigError."""
        import numpy as np

        from nearfar.modalities.table.columns import to_config
        from nearfar.modalities.table.encoder import TableEncoder

        self._check(name)
        if pretrained is not None:
            raise ConfigError("pretrained has no meaning for tables: no published weights know their columns.")
        config = {
            "modality": self.name,
            "encoder": name,
            "hidden": width or options.hidden or 256,
            "layers": options.layers or 3,
            "bins": options.bins or 0,
            "dates": options.dates,
            "columns": to_config(source.measured(options.bins or 0, gaps=options.replace_by == "nothing")),
        }
        made = TableEncoder(config)
        if given.is_given(name):
            made.measure(source.suited(config).fetch(np.arange(2))[0])
        return made

    def restore(self, config: Mapping[str, Any]) -> TableEncoder:
        """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.table.encoder import TableEncoder
        from nearfar.options import text

        self._check(text(config, "encoder"))
        if config.get("labels_in") is not None:
            text(config, "labels_in")
        return TableEncoder(config)

    def baselines(self) -> Sequence[Baseline]:
        """The raw input, whose linear probe is logistic regression on scaled columns, and gradient boosting."""
        from nearfar.contract.baseline import RawInput
        from nearfar.modalities.table.baselines import Boosting

        return [RawInput(self.raw_baseline), Boosting()]

    def views(
        self,
        raw: Cells,
        draws: Rows,
        *,
        requires: Requirements,
        seed: int,
        options: TableOptions,
        encoder: TableEncoder,
    ) -> Views:
        """The views of a raw batch, row i keyed by (seed, draws[i], view), on the encoder's device."""
        from nearfar.modalities.table.views import CORRUPTION, make_views

        corruption = CORRUPTION if options.corruption is None else options.corruption
        return make_views(
            raw,
            draws,
            requires=requires,
            seed=seed,
            corruption=corruption,
            swaps=options.replace_by == "others",
            encoder=encoder,
        )

    def show(self, inputs: Tensor, encoder: TableEncoder) -> list[Card]:
        """The rows of one view, as the encoder sees them: a line for each of the first twelve columns."""
        from nearfar.contract import Card
        from nearfar.modalities.table.source import as_text

        rows = encoder.inputs.cells(inputs).cpu().numpy()
        return [Card(key="", text=as_text(encoder.columns, row)) for row in rows]

    def _check(self, encoder: str) -> None:
        if encoder not in self.encoders and not given.is_given(encoder):
            raise UnknownName("encoder", encoder, self.encoders)


MODALITY = Table()
