"""Adapt: a classifier for domains without labels, beside one that has not seen them, and one that has their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import numpy as np

from nearfar.contract import Method, Rows, Source
from nearfar.downstream.classify import ClassifyTask, Told
from nearfar.downstream.task import Judged, head_of
from nearfar.errors import ConfigError
from nearfar.evaluation.task import Row
from nearfar.methods.adapt import Adapt
from nearfar.training.norms import batch_norms, settle_norms

SOURCE, BOUND = "labels of the source alone", "labels of all domains"


class AdaptTask(ClassifyTask):
    """A linear head for samples of domains whose labels are not known."""

    name = "adapt"
    unlabelled = "are adapted to"
    needs = ("source_domain",)
    scratch = False
    others = MappingProxyType({SOURCE: {"method": "classify"}, BOUND: {"method": "classify", "every_domain": True}})
    meanings = MappingProxyType(
        {
            **ClassifyTask.meanings,
            SOURCE: "The same encoder, fine-tuned on the labels of the source domain alone for as many steps.",
            BOUND: "The same with the labels of all domains: what there is to gain. It does not count in the verdict.",
        }
    )

    def begin(self, method: Method, source: Source, labels: Rows, *, seed: int) -> None:
        """As for classes. Where statistics are to differ between domains, norms take those of the labelled samples.

        Raises ConfigError for an encoder without batch norms then.
        """
        made = head_of(method, Adapt)
        if made.options.align == "statistics":
            if not batch_norms(made.encoder):
                raise ConfigError(
                    f"--align statistics changes batch norms, and the encoder {made.encoder.config.get('encoder')!r} "
                    "has none: take --align coral or adversarial, or another encoder."
                )
            settle_norms(made.encoder, source.take(np.flatnonzero(labels >= 0)))
        super().begin(method, source, labels, seed=seed)

    def complete(self, method: Method, source: Source) -> bool:
        """Give batch norms the statistics of the samples of other domains, where these are to differ."""
        made, rows = head_of(method, Adapt), _others(source)
        if made.options.align != "statistics" or not len(rows):
            return False
        settle_norms(made.encoder, source.take(rows))
        return True

    def finish(
        self, method: Method, source: Source, held_back: Rows, judges: Source | None, folder: Path
    ) -> Told | None:
        """As for classes."""
        found, made = super().finish(method, source, held_back, judges, folder), head_of(method, Adapt)
        if found is not None and made.options.align == "statistics" and (count := len(_others(source))):
            found.notes.append(
                f"Batch norms have the statistics of {count} samples without a label: the encoder is one for samples "
                "like these."
            )
        return found

    def compare(self, found: Mapping[str, Sequence[Judged]], setting: Mapping[str, str | int]) -> list[Row]:
        """As for classes; what knows all labels is shown, and leads are not its own."""
        rows = super().compare(found, setting)
        return [replace(row, lead=None, role="shown") if row.system == BOUND else row for row in rows]


def _others(source: Source) -> Rows:
    """Samples without a label; where domains are known, those of domains that have none."""
    labels, domains = source.labels, source.domains
    assert labels is not None
    others = labels < 0
    if domains is not None:
        others &= ~np.isin(domains, domains[labels >= 0])
    found: Rows = np.flatnonzero(others)
    return found


TASK = AdaptTask()
