"""Zero-shot classification: samples are compared with their classes' names, no label being learnt from.

Radford et al., "Learning transferable visual models from natural language supervision", 2021, section 3.1: the name of
a class stands in each of some templates; the class's vector is the mean of the unit vectors of these sentences, and a
sample is of the class whose vector is nearest by cosine.
"""

from types import MappingProxyType

import torch
from torch import Tensor
from torch.nn.functional import normalize

from nearfar.contract import Source
from nearfar.errors import DataError
from nearfar.evaluation.task import Row, Systems, Task, TaskData, Vectors, rows_over_samples


class ZeroShot(Task):
    """Accuracy by the names of the classes."""

    name = "zero_shot"
    meanings = MappingProxyType(
        {"zero-shot accuracy": "How often the name of a sample's class is nearer to it than all others."}
    )

    def applies(self, data: TaskData) -> bool:
        """Whether test samples have labels, and can be compared with names."""
        return data.labelled and data.test is not None and data.test.named(data.classes) is not None

    def protocol(self, data: TaskData) -> str:
        """What is compared."""
        assert data.test is not None
        named = data.test.named(data.classes)
        assert named is not None
        sentences = len(named[1]) // len(data.classes)
        return (
            f"Zero-shot: each test sample is of the class whose name is nearest by cosine, {sentences} "
            f"{'sentence' if sentences == 1 else 'sentences'} a class; 95 % interval by bootstrap over test samples."
        )

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """The accuracy of all systems that can compare samples with names."""
        assert data.test is not None
        named = data.test.named(data.classes)
        assert named is not None
        names, of_class = named[0], torch.from_numpy(named[1])
        labels = data.labels[1]
        right = {}
        for name, vectors in systems.items():
            scores = _scores(vectors, data.test, names, of_class, len(data.classes))
            if scores is not None:
                right[name] = scores.argmax(1) == labels
        chance = float(torch.bincount(labels).max()) / len(labels)
        return rows_over_samples(self.name, "zero-shot accuracy", {}, right, chance=chance, seed=data.seed)


def _scores(vectors: Vectors, test: Source, names: Source, of_class: Tensor, classes: int) -> Tensor | None:
    """How near each sample is to each class `[M, C]`; None where the system cannot say."""
    if vectors.baseline is not None and (found := vectors.baseline.rank(test, names)) is not None:
        means = torch.zeros(len(found), classes).index_add_(1, of_class, found.float().cpu())
        return means / torch.bincount(of_class, minlength=classes)
    if vectors.baseline is not None or vectors.test is None:
        return None
    try:
        sentences = normalize(vectors.of(names).float().cpu(), dim=1)
    except DataError:  # a system of the samples alone
        return None
    by_class = torch.zeros(classes, sentences.shape[1]).index_add_(0, of_class, sentences)
    return normalize(vectors.test.float().cpu(), dim=1) @ normalize(by_class, dim=1).T
