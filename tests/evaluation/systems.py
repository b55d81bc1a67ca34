"""Made-up systems: vectors of classes about their centres, with more or less noise, and rows with given leads."""

from collections.abc import Mapping

import torch

from nearfar.evaluation import Evaluation, Interval, Row, TaskData, Vectors
from nearfar.evaluation.task import RAW, TRAINED, UNTRAINED

CLASSES = ["cat", "dog", "owl", "pig"]


def labels(train: int = 160, test: int = 120, classes: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.arange(train) % classes, torch.arange(test) % classes


def blobs(noise: float, *, train: int = 160, test: int = 120, classes: int = 4, seed: int = 0) -> Vectors:
    """The same samples for every noise and seed: systems of one evaluation."""
    generator = torch.Generator().manual_seed(seed)
    centres = 2 * torch.eye(classes, 8)
    first, second = (
        centres[y] + noise * torch.randn(len(y), 8, generator=generator) for y in labels(train, test, classes)
    )
    return Vectors(first, second)


def data_of(train: int = 160, test: int = 120, **more: object) -> TaskData:
    return TaskData(*labels(train, test), CLASSES, **more)  # type: ignore[arg-type]


def interval(mean: float, error: float = 0.005, freedom: float = 300) -> Interval:
    return Interval(mean, mean - 2 * error, mean + 2 * error, "bootstrap over test samples", 300, error, freedom)


def evaluation(leads: Mapping[str, Mapping[str, float]], *, reached: float = 0.8, chance: float = 0.1) -> Evaluation:
    """Rows of figures with leads over baselines: figure -> baseline -> lead; every error is half a point."""
    rows = []
    for name, over in leads.items():
        for system in (RAW, UNTRAINED):
            if system in over:
                lead = interval(over[system])
                rows.append(Row(system, "classify", "accuracy", {"probe": name}, interval(reached - lead.mean), lead))
        rows.append(Row(TRAINED, "classify", "accuracy", {"probe": name}, interval(reached), chance=chance))
    named = [s for s in (RAW, UNTRAINED) if any(s in over for over in leads.values())]
    return Evaluation("", [*named, TRAINED], rows, classes=CLASSES)
