"""What a kind of judgement is: a task takes systems and data, and gives rows. All that shows results knows rows alone.

A new task is one file in `evaluation/tasks/` and one line in its table.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor

from nearfar.errors import DataError
from nearfar.evaluation.intervals import Interval
from nearfar.evaluation.per_sample import name_of

if TYPE_CHECKING:
    from nearfar.contract import Baseline, Source

RAW, UNTRAINED, TRAINED = "raw input", "untrained encoder", "trained encoder"
PUBLISHED, STARTED = "published weights", "start of the run"
"""What the encoder started from, where that was no fresh one: weights that others made, or another run."""
STARTS = (UNTRAINED, PUBLISHED, STARTED)
"""Names of the usual systems: two baselines, and the one in question."""

Role = Literal["judged", "shown", "detail"]


@dataclass(frozen=True)
class Row:
    """One figure of one system."""

    system: str
    task: str
    metric: str
    setting: Mapping[str, str | int]
    """What else tells rows of the metric apart, e.g. {"probe": "kNN", "k": 20, "labels per class": "all"}."""
    value: Interval
    lead: Interval | None = None
    """The last system's value less this one's, paired on the same draws or test samples; None for the last itself."""
    higher_is_better: bool | None = True
    """None: the figure describes, neither direction is better."""
    share: bool = True
    """Whether the value is a share in [0, 1], written in percent."""
    role: Role = "judged"
    """"judged": counts in the verdict; "shown": stands beside it in the table; "detail": only folded away."""
    chance: float | None = None
    """What the value would be without any knowledge."""
    fault: str | None = None
    """What this figure shows to be wrong with the system, in words; it makes the verdict "bad"."""
    influence: Tensor | None = field(default=None, repr=False, compare=False)
    """[M]: by how much each test sample moves the lead's mean; rows with it are known to be related. Not stored."""
    by_draw: Tensor | None = field(default=None, repr=False, compare=False)
    """[R]: the value of each draw of labels, where there are several. Not stored."""
    over: str | None = field(default=None, compare=False)
    """Names the samples of `influence` (`per_sample.name_of`), where they are known. Not stored."""

    @property
    def key(self) -> tuple[str, str, tuple[tuple[str, str | int], ...]]:
        """What the rows of all systems for one figure have in common."""
        return self.task, self.metric, tuple(self.setting.items())

    @property
    def outcome(self) -> str | None:
        """Say whether the last system is "ahead" of this one, "behind", or "unclear"; None where there is no lead."""
        if self.lead is None or self.higher_is_better is None:
            return None
        return self.lead.outcome if self.higher_is_better else _OPPOSITE[self.lead.outcome]

    @property
    def name(self) -> str:
        """The figure in words: "kNN, k = 20, all labels"; the metric's name where nothing else is set."""
        return describe(self.setting) or self.metric


_OPPOSITE = {"ahead": "behind", "behind": "ahead", "unclear": "unclear"}


def describe(setting: Mapping[str, str | int]) -> str:
    """A setting in words: texts as they are, "all labels", "k = 20", "5 labels per class"."""
    words = []
    for name, value in setting.items():
        things, per, each = name.partition(" per ")
        if value == "all":
            words.append(f"all {things}")
        elif isinstance(value, str):
            words.append(value)
        elif len(name) <= 2:
            words.append(f"{name} = {value}")
        else:
            words.append(f"{value} {things.removesuffix('s') if value == 1 else things}{per}{each}")
    return ", ".join(words)


@dataclass(frozen=True)
class Listing:
    """A small table of a task's own that stands beside its rows, such as the accuracy of each class."""

    title: str
    columns: Sequence[str]
    lines: Sequence[Sequence[str | int | float]]
    """Shares are floats in [0, 1]."""


class Vectors:
    """Frozen embeddings of one system: train `[N, D]`, and test `[M, D]` where there is a test part.

    `embed` gives the system's vectors of any other samples. A `baseline` without vectors (train None) answers some
    tasks itself, and is left out of the others. Raises DataError where the two are not equally wide.
    """

    def __init__(
        self,
        train: Tensor | None,
        test: Tensor | None = None,
        *,
        embed: Callable[["Source"], Tensor] | None = None,
        baseline: "Baseline | None" = None,
    ) -> None:
        for part, x in (("train", train), ("test", test)):
            if x is not None and x.ndim != 2:
                raise DataError(f"The {part} vectors must be [N, D], got the shape {list(x.shape)}.")
        if train is not None and test is not None and train.shape[1] != test.shape[1]:
            raise DataError(
                f"Train vectors are {train.shape[1]} wide, test vectors {test.shape[1]}; both must come from one "
                "encoder."
            )
        self.baseline = baseline
        self.test = None if test is None else test.detach()
        self._train = None if train is None else train.detach()
        self._embed = embed
        self._others: dict[tuple[int, bytes], Tensor] = {}
        self._near: tuple[Tensor, Tensor] | None = None

    @property
    def known(self) -> bool:
        """Whether there are vectors."""
        return self._train is not None

    @property
    def train(self) -> Tensor:
        """Train vectors; raises DataError where there are none."""
        if self._train is None:
            raise DataError("There are no vectors: this baseline only answers tasks of its own.")
        return self._train

    @property
    def parts(self) -> tuple[Tensor, Tensor]:
        """Train and test vectors; raises DataError where there is no test part."""
        if self.test is None:
            raise DataError("There are no test vectors to judge by.")
        return self.train, self.test

    def of(self, source: "Source") -> Tensor:
        """Vectors `[K, D]` of other samples, such as the positives of the test samples; NaN where one is unreadable.

        They are made once. Raises DataError where the system makes none.
        """
        if self._embed is None:
            raise DataError("This system has no vectors of other samples than those that it was made with.")
        key = id(source.whole), source.at.tobytes()
        if key not in self._others:
            self._others[key] = self._embed(source).detach()
        return self._others[key]

    def parted(self, learnt: Tensor, held_out: Tensor) -> "Vectors":
        """The same system with rows of the train part as train and test part."""
        if self._train is None:
            return self
        first, second = (self._train[rows.to(self._train.device)] for rows in (learnt, held_out))
        return Vectors(first, second, embed=self._embed, baseline=self.baseline)

    def some(self, train: Tensor, test: Tensor | None) -> "Vectors":
        """The same system on some of the samples: rows of the train part, and of the test part."""
        if self._train is None:
            return self
        first = self._train[train.to(self._train.device)]
        second = None if test is None or self.test is None else self.test[test.to(self.test.device)]
        return Vectors(first, second, embed=self._embed, baseline=self.baseline)

    def nearest(self, k: int) -> tuple[Tensor, Tensor]:
        """The k train vectors most similar to each test vector, best first; searched for once for the largest k.

        Cosines `[M, k']` and rows `[M, k']`, k' being k, at most N; all tasks share them.
        """
        from nearfar.evaluation.knn import nearest

        if self._near is None or self._near[0].shape[1] < min(k, len(self.train)):
            self._near = nearest(*self.parts, k)
        similarities, rows = self._near
        return similarities[:, :k], rows[:, :k]


Systems = Mapping[str, Vectors]
"""Name -> vectors of the same samples; baselines first, the one in question last."""


def with_vectors(systems: Systems) -> Systems:
    """Those that have vectors."""
    return {name: one for name, one in systems.items() if one.known}


@dataclass
class TaskData:
    """What all tasks share beside the vectors; a task adds to `notes` and `listings`."""

    train_labels: Tensor | None = None
    """`[N]` numbers of `classes`, -1 unlabelled; on the CPU."""
    test_labels: Tensor | None = None
    """`[M]`, as `train_labels`."""
    classes: Sequence[str] = ()
    train_groups: Tensor | None = None
    """`[N]`: equal for samples that stand on one side of every split."""
    train: "Source | None" = None
    """The samples behind the train vectors, where they are at hand."""
    test: "Source | None" = None
    """The samples behind the test vectors, where there are some and they are at hand."""
    views: Mapping[str, tuple[Tensor, Tensor]] = field(default_factory=dict)
    """Of some systems: vectors `[V, D]` of a first and a second view of the same samples."""
    seed: int = 0
    draws: int = 20
    """How often few labels are drawn."""
    few: Sequence[int] = (1, 5)
    """Numbers of labels a class that probes are given, beside all."""
    few_in_all: Sequence[int] = ()
    """Numbers of labels in all that probes are given, beside those, of every class its share."""
    raw_baseline: str = RAW
    """The system whose vectors are the raw input, if it is there."""
    notes: list[str] = field(default_factory=list)
    listings: list[Listing] = field(default_factory=list)

    @cached_property
    def over(self) -> tuple[str, str] | None:
        """Names of the test samples, and of these with the draws of labels; None where they are not at hand."""
        if self.train is None or self.test is None:
            return None
        names = [
            name_of(source.keys, () if labels is None else [self.classes[label] for label in labels.tolist()])
            for source, labels in ((self.test, self.test_labels), (self.train, self.train_labels))
        ]
        return names[0], f"{names[0]}, {names[1]}, {self.seed}"

    @property
    def labels(self) -> tuple[Tensor, Tensor]:
        """Train and test labels; raises DataError where there are none."""
        if self.train_labels is None or self.test_labels is None:
            raise DataError("There are no labels to judge by.")
        return self.train_labels, self.test_labels

    @property
    def labelled(self) -> bool:
        """Whether there are labels to judge by."""
        return self.train_labels is not None and self.test_labels is not None

    def note(self, text: str) -> None:
        """Add a note for the reader, once."""
        if text not in self.notes:
            self.notes.append(text)


class Task:
    """One way to judge frozen embeddings; `name` stands in its rows."""

    name: str
    meanings: Mapping[str, str] = MappingProxyType({})
    """Words of its rows (metrics, texts of settings) -> what they mean, in a sentence."""
    of_test: ClassVar[bool] = True
    """Whether rows without a name of their samples are over the test samples."""
    of_pairs: ClassVar[bool] = False
    """Whether it judges by what belongs together: of data without test part and labels a fifth is then kept back."""

    def applies(self, data: TaskData) -> bool:
        """Whether the data has what the task needs."""
        raise NotImplementedError

    def protocol(self, data: TaskData) -> str:
        """How the figures are made."""
        raise NotImplementedError

    def run(self, systems: Systems, data: TaskData) -> list[Row]:
        """Judge all systems on the same samples: rows in the order to show, each figure's systems in their order."""
        raise NotImplementedError


def rows_over_samples(
    task: str,
    metric: str,
    setting: Mapping[str, str | int],
    values: Mapping[str, Tensor],
    *,
    chance: float | None = None,
    role: Role = "judged",
    seed: int = 0,
    at: Tensor | None = None,
    size: int | None = None,
    over: str | None = None,
) -> list[Row]:
    """Rows of a share with one value in [0, 1] a test sample `[M]` for each system, by bootstrap.

    Where only some samples have a value, `at` `[M]` numbers them among all `size` test samples. `over` names samples
    that are not the test samples.
    """
    from nearfar.evaluation.intervals import bootstrap_columns

    names, columns = list(values), [x.double().cpu() for x in values.values()]
    differences = [columns[-1] - column for column in columns[:-1]]
    intervals = bootstrap_columns(torch.stack([*columns, *differences], dim=1), seed=seed)
    leads = [*intervals[len(names) :], None]
    rows = []
    for name, value, lead, difference in zip(names, intervals, leads, [*differences, columns[-1]], strict=False):
        moved = (difference - difference.mean()) / len(difference)
        if at is not None and size is not None:
            moved = torch.zeros(size, dtype=moved.dtype).index_put_((at.cpu(),), moved)
        rows.append(Row(name, task, metric, setting, value, lead, role=role, chance=chance, influence=moved, over=over))
    return rows


def rows_over_draws(
    task: str,
    metric: str,
    setting: Mapping[str, str | int],
    values: Mapping[str, Tensor],
    *,
    chance: float | None,
    role: Role = "judged",
) -> list[Row]:
    """Rows of a share with values `[R, M]` for each system: R label draws, each judged on the same M test samples."""
    from nearfar.evaluation.intervals import crossed

    tables = [x.double().cpu() for x in values.values()]
    rows = []
    for name, table in zip(values, tables, strict=True):
        is_last = table is tables[-1]
        difference = table if is_last else tables[-1] - table
        by_sample = difference.mean(dim=0)
        moved = (by_sample - by_sample.mean()) / len(by_sample)
        lead = None if is_last else crossed(difference)
        value, draws = crossed(table), table.mean(dim=1)
        rows.append(
            Row(name, task, metric, setting, value, lead, role=role, chance=chance, influence=moved, by_draw=draws)
        )
    return rows
