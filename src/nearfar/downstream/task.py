"""What an encoder can be fine-tuned for: a method with a head is trained by the usual loop, the task does the rest.

The method (`methods/`) has head and loss, cut at the embedding as all methods are. The task gives the head its start,
writes it beside the encoder once it is trained, and makes predictions of what it says. A new task is a method with
`downstream` set to the task's name, one file here, and one line in `registry.py`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from nearfar.contract import Encoder, Method, Rows, Source
from nearfar.errors import RunError
from nearfar.evaluation.task import Row
from nearfar.files import read_json

HEAD = "head"
"""Folder of a run that holds what its method has put on the encoder."""
Record = Mapping[str, Any]
"""What is said of one sample, by name."""
Write = Callable[[Sequence[Mapping[str, Any]]], None]
"""Writes the records of a batch; each has the `key` of its sample."""
Kind = TypeVar("Kind", bound=Method)


class Writer(Protocol):
    """Writes predictions in a form of the task's own; where it `draws`, records come with a `card`."""

    @property
    def draws(self) -> bool:
        """Whether records must come with one."""

    def drawn(self, record: Record) -> Mapping[str, Any]:
        """What is drawn over the sample of a record, as annotations have it."""

    def check(self) -> None:
        """Raise ConfigError and OutputError where the place cannot be written to, before any work."""

    def writing(self) -> AbstractContextManager[Write]:
        """A function that writes records; raises as `files.write`."""

    def count(self, record: Record) -> Sequence[str]:
        """What of a record is counted by name, such as the classes that are in it."""


class Predictor:
    """An encoder with a trained head: what it says of samples, one record each."""

    encoder: Encoder
    fields: Mapping[str, type]
    """Names of a record's values, and whether they are `str` or `float`, in the order to write them."""
    wants: ClassVar[str | None] = None
    """The kind of annotations that the raw batches must have, such as `sizes`; None for none."""

    def predict(self, raw: Any) -> list[Record]:
        """The records of a raw batch, as `Source.fetch` gives it."""
        raise NotImplementedError

    def writer(self, out: Path) -> Writer | None:
        """What writes the records to `out`; None where they are rows of a table."""
        return None


class Judged:
    """What a trained head is worth on the samples that judge; as JSON it can be compared with others later."""

    notes: list[str]

    @property
    def rows(self) -> Sequence[Row]:
        """Of it alone."""
        raise NotImplementedError

    def to_json(self) -> dict[str, Any]:
        """Plain values, of which the task's `judged` makes it again."""
        raise NotImplementedError


class Downstream:
    """One thing that encoders are fine-tuned for."""

    name: ClassVar[str]
    """Of the task, and of the method that has its head."""
    needs: ClassVar[Sequence[str]] = ()
    """Options that must be given."""
    scratch: ClassVar[bool] = True
    """Whether it is compared with the same network without its weights."""
    others: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Further trainings that it is compared with: options that differ, by the name of the system."""
    steps: ClassVar[int] = 200
    """Of each training of a comparison, where no length is given."""
    probes: ClassVar[bool] = False
    """Whether `probe` judges an encoder as it is."""
    protocol: ClassVar[str] = ""
    """What else to know of how its figures are made."""
    meanings: ClassVar[Mapping[str, str]] = {}
    """Its metrics, and what each means in a sentence."""

    def hold_back(self, labels: Rows, at: Rows, seed: int) -> Rows:
        """Rows of the labelled samples (`labels` [N], -1 for none) that the method is not shown; by default none.

        `at` [N] numbers the samples for good.
        """
        return labels[:0]

    def begin(self, method: Method, source: Source, labels: Rows, *, seed: int) -> None:
        """Give the head of a new method its start, from the samples that it may learn from; by default nothing."""

    def complete(self, method: Method, source: Source) -> bool:
        """Change the trained encoder before it is written; whether it did, by default not."""
        return False

    def finish(
        self, method: Method, source: Source, held_back: Rows, judges: Source | None, folder: Path
    ) -> Judged | None:
        """Write the trained head into `folder`, and judge it on `judges`, which it has never seen; None without."""
        raise NotImplementedError

    def judged(self, stored: Mapping[str, Any]) -> Judged:
        """What `Judged.to_json` gave; raises DataError where it is something else."""
        raise NotImplementedError

    def probe(
        self, encoder: Encoder, source: Source, labels: Rows, held_back: Rows, judges: Source, *, seed: int
    ) -> Judged | None:
        """What the encoder is worth as it is, under a head that is fitted to its vectors; None where there is none."""
        return None

    def compare(self, found: Mapping[str, Sequence[Judged]], setting: Mapping[str, str | int]) -> list[Row]:
        """Rows of several systems under one setting, each judged once a draw; the last is the one in question."""
        raise NotImplementedError

    def predictor(self, encoder: Encoder, folder: Path) -> Predictor:
        """What `finish` wrote into `folder`, on its encoder; raises RunError where it is damaged."""
        raise NotImplementedError

    def shown(self, method: Method, judges: Source, rows: Rows) -> Iterator[tuple[int, Sequence[Mapping[str, Any]]]]:
        """What a page shows of some samples that judge: each row, and the annotations to draw over it, the true first.

        By default nothing.
        """
        return iter(())


def head_of(method: Method, kind: type[Kind]) -> Kind:
    """The part of a method that has the head: itself, or what it is made of."""
    return next(part for part in method.modules() if isinstance(part, kind))


def configured(path: Path) -> Mapping[str, Any]:
    """What `config.json` beside a head says; raises RunError."""
    try:
        config = read_json(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{str(path)!r} does not describe a head: {str(error)[:200]}") from None
    if not isinstance(config, dict):
        raise RunError(f"{str(path)!r} does not describe a head: it is no object.")
    return config
