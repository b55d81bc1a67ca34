"""Adapt: a classifier for domains without labels, beside one that has not seen them, and one that has their labels."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from nearfar.downstream.classify import ClassifyTask
from nearfar.downstream.task import Judged
from nearfar.evaluation.task import Row

SOURCE, BOUND = "labels of the source alone", "labels of all domains"


class AdaptTask(ClassifyTask):
    """A linear head for samples of domains whose labels are not known."""

    name = "adapt"
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

    def compare(self, found: Mapping[str, Sequence[Judged]], setting: Mapping[str, str | int]) -> list[Row]:
        """As for classes; what knows all labels is shown, and leads are not its own."""
        rows = super().compare(found, setting)
        return [replace(row, lead=None, role="shown") if row.system == BOUND else row for row in rows]


TASK = AdaptTask()
