"""Say how good an encoder is, next to the raw input and to the same encoder untrained."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nearfar.errors import DataError
from nearfar.options import listed

if TYPE_CHECKING:
    from torch import Tensor

    from nearfar.api.systems import Measured
    from nearfar.contract import Encoder, Source
    from nearfar.evaluation.result import Evaluation


def evaluate(
    encoder: "Encoder | str | os.PathLike[str]",
    train: Any,
    test: Any = None,
    *,
    seed: int | None = None,
    baselines: bool = True,
    device: str | None = None,
    cache: str = "auto",
    label_column: str | None = None,
    group_column: str | None = None,
    labels: "Sequence[int]" = (),
    compile: bool = False,
) -> "Evaluation":
    """kNN and linear accuracy with few and with all labels of `train`, judged on `test`; with 95 % intervals.

    `encoder` is an encoder or a run folder; `train` and `test` are data as `nearfar.train` takes them. Without `test`,
    the data's own test split serves, else a stratified fifth of `train` keyed by the seed: by that of the run where
    none is given, which is the fifth whose labels no method saw. Data without labels gets the figures that need none.
    `labels` are numbers of labels, in all, that probes are given too, such as 100 and 1,000. `cache`, `label_column`,
    `group_column` and `compile` are as for `train`; several label columns, parted by commas, are judged one after the
    other in one evaluation. Samples that cannot be read are left out, and counted in the notes.
    Raises UserError.
    """
    from nearfar.api.judging import Judges, judges_of, parts_of, split_off
    from nearfar.api.load import load_on
    from nearfar.api.sources import open_for, tell_unreadable
    from nearfar.api.systems import measure
    from nearfar.modalities import registry
    from nearfar.modalities.opening import splits

    encoder, run = load_on(encoder, device, compile=compile)
    if len(columns := listed(label_column)) > 1:
        known = encoder if run is None else run
        shared: dict[str, Any] = {"seed": seed, "baselines": baselines, "device": device, "cache": cache}
        shared |= {"group_column": group_column, "labels": labels, "compile": compile}
        every = [evaluate(known, train, test, label_column=column, **shared) for column in columns]
        return together(columns, every)
    seed = int(encoder.config.get("seed", 0)) if seed is None else seed
    modality = registry.load(encoder.config["modality"])
    data, own_test = train, None
    if test is None and isinstance(data, str | os.PathLike):
        data, own_test = parts_of(os.fspath(data), splits(modality, os.fspath(data)))
    reading: dict[str, Any] = {"cache": cache, "label_column": label_column, "group_column": group_column}
    learnt = open_for(encoder, data, **reading)
    if test is None:
        learnt, taken_out = split_off(modality, learnt, own_test, seed)
        judges = judges_of(encoder, learnt, own_test, taken_out, seed=seed, **reading)
    else:
        judged = open_for(encoder, test, **reading)
        judges = Judges(test=judged)
        if judged.labels is None and learnt.labels is not None:
            raise DataError(f"{judged.name!r} has no labels to judge by.")
    measured = measure(encoder, learnt, judges, seed=seed, baselines=baselines, run=run)
    found = compare_systems(measured, seed=seed, few_in_all=labels)
    found.notes.extend(tell_unreadable(learnt, judges.test))
    steps, epochs = (encoder.config.get(name) for name in ("steps", "epochs"))
    if isinstance(steps, int) and isinstance(epochs, int | float):  # not of older runs
        found.steps, found.epochs = steps, float(epochs)
    return found


def together(columns: Sequence[str], every: "Sequence[Evaluation]") -> "Evaluation":
    """The evaluations by several label columns as one: each row says by which column; what needs no label comes once.

    Leads by different columns are taken to be unrelated, where the verdict tests all of them.
    """
    import numpy as np

    first = every[0]
    found = replace(first, rows=[], notes=[], listings=[], classes=[], correlations={})
    for column, one in zip(columns, every, strict=True):
        by_label = [row for row in one.rows if row.task != "label_free"]
        found.rows += [replace(row, setting={"column": column, **row.setting}) for row in by_label]
        found.classes += [f"{column}: {name}" for name in one.classes]
        found.notes += [f"{column}: {note}" for note in one.notes]
        found.listings += [replace(listing, title=f"{column}: {listing.title}") for listing in one.listings]
        found.seconds += 0.0 if one is first else one.seconds
    found.rows += [row for row in first.rows if row.task == "label_free"]
    for name in first.systems[:-1]:
        count = [len([row for row in one.judged(name) if row.task != "label_free"]) for one in every]
        related = np.zeros((sum(count), sum(count)))
        for number, one in enumerate(every):
            start, size = sum(count[:number]), count[number]
            own = np.array(one.correlations.get(name) or np.eye(size))[:size, :size]
            related[start : start + size, start : start + size] = own
        if sum(count) == len(found.judged(name)):
            found.correlations[name] = related.tolist()
    return found


def compare_systems(
    measured: "Measured",
    *,
    seed: int,
    views: "Mapping[str, tuple[Tensor, Tensor]] | None" = None,
    few_in_all: Sequence[int] = (),
) -> "Evaluation":
    """The evaluation of measured systems: by labels where both parts have them, else by the figures without.

    `views` are, for some of the systems, the vectors of two views of the same samples; `few_in_all` as for `TaskData`.
    """
    import torch

    from nearfar.evaluation.run import judge_systems
    from nearfar.evaluation.task import TaskData
    from nearfar.evaluation.tasks import load

    train, test, systems = measured.train, measured.test, measured.systems
    data = TaskData(seed=seed, notes=list(measured.notes), raw_baseline=measured.raw, train=train, test=test)
    data.few_in_all = few_in_all
    tasks = load(measured.tasks)
    if train.labels is None or not measured.has_labels:
        return judge_systems(systems, replace(data, views=views or {}), tasks)
    numbers = torch.from_numpy(train.labels)
    groups = None if train.groups is None else torch.from_numpy(train.groups)
    if test is None:
        assert measured.held_out is not None
        assert measured.learnt is not None
        learnt, held_out = torch.from_numpy(measured.learnt), torch.from_numpy(measured.held_out)
        data = replace(
            data,
            train_labels=numbers[learnt],
            test_labels=numbers[held_out],
            train_groups=None if groups is None else groups[learnt],
            classes=list(train.label_names),
            train=train.take(measured.learnt),
            test=train.take(measured.held_out),
        )
        return judge_systems({name: one.parted(learnt, held_out) for name, one in systems.items()}, data, tasks)
    classes, there = common_classes(train, test)
    data = replace(data, train_labels=numbers, test_labels=torch.tensor(there), train_groups=groups, classes=classes)
    return judge_systems(systems, data, tasks)


def common_classes(train: "Source", test: "Source") -> tuple[list[str], list[int]]:
    """The classes of both sources, the training ones first, and the test labels as numbers of these."""
    classes = list(train.label_names)
    classes += [name for name in test.label_names if name not in set(classes)]
    number = {name: i for i, name in enumerate(classes)}
    assert test.labels is not None
    there = [number[test.label_names[label]] if label >= 0 else -1 for label in test.labels.tolist()]
    return classes, there
