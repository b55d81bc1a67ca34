"""One kind of data. Imports nothing heavy, so that a modality can be declared and its options listed without torch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar.errors import ConfigError, UnknownName

if TYPE_CHECKING:
    from nearfar.contract.annotations import Wanted
    from nearfar.contract.baseline import Baseline
    from nearfar.contract.batches import Requirements, Views
    from nearfar.contract.encoder import Encoder
    from nearfar.contract.reading import Rows
    from nearfar.contract.source import Card, Source
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.options import Choice, Facts


@dataclass(frozen=True)
class Builtin:
    """Data that comes with the package: `read` gives the samples of one of its `splits`, or of all for None."""

    read: Callable[[str | None], Samples]
    splits: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Opening:
    """How data is opened: `config` is that of the encoder that it is for, where there is one already."""

    config: Mapping[str, Any] | None
    options: Any
    """Of the modality."""
    columns: Mapping[str, Any]
    """Which split is taken, and what columns are for: arguments of `data.reader.open_samples`."""
    reading: Mapping[str, Any]
    """`cache`, `grow` and `threads`, as `Modality.source` takes them."""


class Modality(ABC):
    """One kind of data: how it is found and read, what its views are, which encoders it offers.

    It never opens a file of a manifest or an archive: `modalities.opening` finds the samples of any DATA by what is
    said here (`extensions` of files, lower case, `columns` of manifests, the first one present being taken) and hands
    them to `source`. With `inline` a cell of such a column is the sample itself, else its path.
    """

    name: ClassVar[str]
    Options: ClassVar[type]
    """A frozen dataclass of the options of inputs and views; None stands for automatic."""
    asked_by: ClassVar[Sequence[str]] = ()
    """Options by which users say that data is of this kind: where one of them is given, it is."""
    encoders: ClassVar[Mapping[str, str]]
    """Names of the encoders, and a line for each; the first is the usual one."""
    with_maps: ClassVar[Sequence[str]] = ()
    """Names of those that give `maps`, to take where a method learns from these."""
    extensions: ClassVar[frozenset[str]] = frozenset()
    columns: ClassVar[Sequence[str]] = ()
    inline: ClassVar[bool] = False
    further: ClassVar[Sequence[str] | None] = ()
    """Further columns that are read into `Samples.table`; None for all that have no other meaning."""
    builtins: ClassVar[Mapping[str, Builtin]] = {}
    method: ClassVar[str] = "simclr"
    """The method that trains it where none is given."""
    raw_baseline: ClassVar[str] = "raw input"
    """What an evaluation calls the baseline of `Source.vectors`, whose equal rows are copies."""
    tasks: ClassVar[Sequence[str]] = ("classify", "retrieve", "label_free")
    """How an encoder of this kind is judged: names of `evaluation.tasks`, of which those apply that the data allows."""
    recipes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Ways to make views, of which one is chosen for the data (`api.recipes`): values of options that are open, by the
    recipe's name, the usual one first. They leave inputs and encoder as they are."""
    recipe_options: ClassVar[Sequence[str]] = ()
    """Options by which users say themselves what recipes are about: where one is given, the usual recipe is taken."""
    gentle: ClassVar[Mapping[str, Any]] = {}
    """Options, where they are open, of views for methods that name classes: they leave more of a sample as it is."""
    named: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """Options for this kind of data, by the name of settings (`config.NAMED`)."""
    advice: ClassVar[Mapping[str, str]] = {}
    """What to change for this kind of data, by the name of the alarm."""

    def claims(self, found: Found) -> bool:
        """Whether data is of this kind, by what a glance at it shows: by default its own built-in data, files of its
        extensions and manifests with one of its columns."""
        named = not set(self.columns).isdisjoint(found.columns)
        return found.path in self.builtins or named or not self.extensions.isdisjoint(found.files)

    def recognise(self, head: Mapping[str, Sequence[str]]) -> Mapping[str, str | None]:
        """More on the columns of a table, by their names and first cells as text: a purpose, and the column for it.

        Purposes are content, positive, negative, score, label, group, domain and split; None: no column is for that. By
        default the names say all.
        """
        return {}

    def open(self, data: str, how: Opening) -> Source | None:
        """The samples of DATA where the modality finds them itself; by default None: they are found by what it reads.

        Raises DataError.
        """
        return None

    @abstractmethod
    def source(
        self,
        samples: Samples,
        *,
        options: Any = None,
        cache: str = "auto",
        grow: bool = True,
        threads: int | None = None,
    ) -> Source:
        """The samples as a source whose `fetch` works; raises DataError where they cannot be used.

        `options` are an instance of `Options`. `cache` (`auto`, `off` or a folder) is where what is costly to read may
        be kept; with `grow=False` nothing is added to it. `threads` may read at a time.
        """

    def annotated(self, source: Source, wanted: Wanted) -> Source:
        """The same samples with the annotations that are `wanted`; raises ConfigError or DataError without any."""
        raise ConfigError(f"Data of the kind {self.name} has no {wanted.kind}, which the method learns from.")

    def around(self, data: str, *, annotated: bool) -> str:
        """The samples in DATA that is a folder of samples and of their annotations; by default DATA itself.

        `annotated` says whether the annotations are wanted, too.
        """
        return data

    def settle(self, options: Any, source: Any, encoder: str | None, facts: Facts) -> tuple[Any, str, list[Choice]]:
        """Options without None, the encoder's name, and a line for each thing that was chosen; raises UnknownName."""
        from nearfar.options import Choice

        usual = next(iter(self.encoders))
        if encoder is None:
            return options, usual, [Choice("encoder", usual, "the usual one")]
        if encoder not in self.encoders:
            raise UnknownName("encoder", encoder, self.encoders)
        return options, encoder, []

    def recipes_for(self, source: Any) -> Sequence[str]:
        """The names of the recipes that differ for this data, the usual one first; by default all."""
        return tuple(self.recipes)

    def weights_of(self, encoder: str) -> str | None:
        """The file of weights that the name of an encoder stands for, such as that of a folder; None where none."""
        return None

    def as_published(self, options: Any) -> Any | None:
        """These options with those left open that published weights decide: how they look at samples as they came.

        None where weights are not adapted beside themselves unless that is asked for (`--teacher self`).
        """
        return None

    @abstractmethod
    def encoder(
        self, name: str, source: Any, options: Any, *, width: int | None = None, pretrained: str | None = None
    ) -> Encoder:
        """A new encoder for this data."""

    def published(self, name: str, weights: str | None) -> Encoder | None:
        """The trained encoder that a name such as `st:FOLDER` stands for; None where it is none of this kind.

        `weights` are a file of it, `hub` for those that the name's library publishes, which may be fetched, or None for
        those that are on this machine. Raises ConfigError where there are none.
        """
        return None

    @abstractmethod
    def restore(self, config: Mapping[str, Any]) -> Encoder:
        """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""

    @abstractmethod
    def views(self, raw: Any, draws: Rows, *, requires: Requirements, seed: int, options: Any, encoder: Any) -> Views:
        """The views of a raw batch, sample i keyed by (seed, draws[i], view), on the encoder's device."""

    def baselines(self) -> Sequence[Baseline]:
        """What every evaluation compares with, beside the untrained encoder: new ones, not yet fitted."""
        from nearfar.contract.baseline import RawInput

        return [RawInput(self.raw_baseline)]

    def plain(self, raw: Any, start: int, stop: int, encoder: Any) -> Sequence[Any]:
        """Samples of a raw batch as a user's own views take them: by default rows of the encoder's inputs."""
        from nearfar.contract import inputs as samples_of

        return samples_of.unstack(samples_of.part(encoder.prepare(raw), start, stop))

    def viewed(self, made: Any, encoder: Any) -> Any:
        """What a user's own views have made of a batch, as inputs on the encoder's device."""
        from nearfar.contract import inputs as samples_of

        return samples_of.move(made, encoder.device)

    def show(self, inputs: Any, encoder: Any) -> list[Card]:
        """What a report shows of one view's inputs; keys are empty."""
        from nearfar.contract import inputs as samples_of
        from nearfar.contract.source import Card

        return [Card(key="")] * samples_of.count(inputs)
