"""Judging systems: check that they share their samples, run the tasks, and put their rows into one evaluation."""

import time
from collections.abc import Sequence
from dataclasses import replace

from nearfar.errors import DataError
from nearfar.evaluation.copies import notes_across
from nearfar.evaluation.joint import correlations_of
from nearfar.evaluation.result import Evaluation
from nearfar.evaluation.task import Row, Systems, Task, TaskData, with_vectors
from nearfar.evaluation.tasks import load

_FEW_TEST = 100


def judge_systems(systems: Systems, data: TaskData, tasks: Sequence[Task] | None = None) -> Evaluation:
    """Run tasks (the usual ones where none are given) on systems: baselines first, the one in question last.

    Unlabelled samples take no part where there are labels. Raises DataError where systems do not share their samples,
    labels are out of range, or vectors cannot be used.
    """
    began = time.perf_counter()
    if not systems:
        raise DataError("There is nothing to evaluate: no system was given.")
    systems, data = _labelled(systems, data)
    judged = list(systems.values())[-1]
    applying = [task for task in (load() if tasks is None else tasks) if task.applies(data)]
    if any(task.of_pairs for task in applying):
        data = replace(data, views={})  # pairs that people have made say more than views that were made of samples
    found = Evaluation(
        protocol=" ".join(
            ["Frozen vectors.", *(task.protocol(data) for task in applying), _AHEAD, f"Seed {data.seed}."]
        ),
        systems=list(systems),
        train=len(judged.train) if data.train is None else len(data.train),
        test=len(judged.test) if judged.test is not None else 0 if data.test is None else len(data.test),
        classes=list(data.classes),
        seed=data.seed,
    )
    for task in applying:
        found.rows += [_named(row, data) if task.of_test else row for row in task.run(systems, data)]
        found.meanings |= task.meanings
    answering = {row.system for row in found.rows}
    found.systems = [name for name in found.systems if name in answering or name == list(systems)[-1]]
    if data.labelled:
        for note in notes_across(judged, with_vectors(systems).get(data.raw_baseline), len(data.classes)):
            data.note(note)
    found.correlations = {name: correlations_of(rows) for name in found.systems[:-1] if (rows := found.judged(name))}
    found.notes, found.listings = list(data.notes), list(data.listings)
    found.seconds = time.perf_counter() - began
    return found


def _named(row: Row, data: TaskData) -> Row:
    """The row with the name of its samples, the test samples, where these are at hand."""
    if row.over is not None or row.influence is None or data.over is None:
        return row
    return replace(row, over=data.over[0 if row.by_draw is None else 1])


_AHEAD = (
    "A row's lead is paired: on the same draws and test samples; the verdict tests all leads over a baseline together, "
    "corrected for their number."
)


def _labelled(systems: Systems, data: TaskData) -> tuple[Systems, TaskData]:
    """Check numbers of samples and labels, and leave unlabelled samples out where labels judge."""
    for name, vectors in with_vectors(systems).items():
        parts = (("train", data.train_labels, vectors.train), ("test", data.test_labels, vectors.test))
        for part, labels, x in parts:
            count = 0 if x is None else len(x)
            if labels is not None and len(labels) != count:
                raise DataError(f"There are {len(labels)} {part} labels, but {count} {part} vectors of {name!r}.")
    if data.train_labels is None or data.test_labels is None:
        return systems, replace(data, train_labels=None, test_labels=None, train_groups=None)
    train, test = data.train_labels.cpu().long(), data.test_labels.cpu().long()
    kept = [(labels >= 0).nonzero().flatten() for labels in (train, test)]
    for part, labels, rows in (("train", train, kept[0]), ("test", test, kept[1])):
        if len(labels) and int(labels.max()) >= len(data.classes):
            raise DataError(
                f"The {part} labels hold {int(labels.max())}, but there are {len(data.classes)} classes "
                f"(0..{len(data.classes) - 1})."
            )
        if not len(rows):
            raise DataError(f"There are no labelled {part} samples; give labelled data, or evaluate without labels.")
    data = replace(
        data,
        train_labels=train[kept[0]],
        test_labels=test[kept[1]],
        train_groups=None if data.train_groups is None else data.train_groups[kept[0]],
        train=None if data.train is None else data.train.take(kept[0].numpy()),
        test=None if data.test is None else data.test.take(kept[1].numpy()),
    )
    lost = len(train) - len(kept[0]), len(test) - len(kept[1])
    if any(lost):
        data.note(f"Unlabelled and left out: {lost[0]} train and {lost[1]} test samples.")
        systems = {name: one.some(*kept) for name, one in systems.items()}
    if len(kept[1]) < _FEW_TEST:
        data.note(f"There are only {len(kept[1])} test samples: the intervals are rough.")
    return systems, data
