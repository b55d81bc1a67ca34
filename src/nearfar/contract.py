"""What the parts promise each other: views, batches, latents, encoders, modalities, methods.

    source --> views --> embed --> gather --> loss --> step

A modality opens data, makes views of its samples and offers encoders for them. A method turns encoded views into a
loss. Neither ever sees the other; the training frame stands between them.

Axes, here and everywhere: v = views, b = samples of a batch, n = samples of all ranks' batches, d = dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearfar.options import Choice, Facts

if TYPE_CHECKING:
    from nearfar.kernels.ring import Ring

Rows = NDArray[np.int64]
"""Numbers of samples."""


class Views(Sequence[Any]):
    """The views of a batch, made when first asked for.

    `views[i]` is one view of every sample, `[b, ...]`; `views[i:j]` some of the views; `views.part(start, stop)` and
    `views.take(at)` some of the samples. Wide views come first, small ones after them. `numbers` tells a slice which
    views it holds.
    """

    def __init__(
        self, make: Callable[[int, int, int], Any], numbers: Sequence[int], start: int, stop: int, wide: int
    ) -> None:
        self._make = make
        self._made: dict[int, Any] = {}
        self.numbers = tuple(numbers)
        self.start = start
        self.stop = stop
        self.wide = wide

    @property
    def samples(self) -> int:
        """The number of samples b."""
        return self.stop - self.start

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Views: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            some = Views(self._make, self.numbers[index], self.start, self.stop, self.wide)
            some._made = self._made
            return some
        number = self.numbers[index]
        if number not in self._made:
            self._made[number] = self._make(number, self.start, self.stop)
        return self._made[number]

    def part(self, start: int, stop: int) -> Views:
        """The same views of the samples `start` to `stop` of these."""
        return Views(self._make, self.numbers, self.start + start, min(self.start + stop, self.stop), self.wide)

    def take(self, at: Tensor) -> Views:
        """The same views of the samples at the places `at` [k], from those made for the whole batch."""
        places = dict(zip(self.numbers, range(len(self)), strict=True))
        return Views(
            lambda number, start, stop: self[places[number]][at[start:stop]], self.numbers, 0, len(at), self.wide
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a loss may know of a batch; it holds no inputs.

    `ids` [n] names what each row shows: equal ids are the same content, or positives of each other by the user's word
    (`--positives`), and never negatives of each other.
    `labels` [n] is -1 where there is none; `groups` [n] may be missing. Where the last wide view shows negatives that
    the user gives, `negative_ids` [n] names what they show, and `present` [v, n] says who has one. `rows` are this
    rank's own among the n rows, `world` the number of ranks, `progress` the share of the run that is done, in [0, 1].
    With a `ring`, the latents of the others stay with them: a loss sees those of its own rows alone.
    """

    ids: Tensor
    labels: Tensor
    groups: Tensor | None = None
    present: Tensor | None = None
    negative_ids: Tensor | None = None
    rows: slice = field(default_factory=lambda: slice(None))
    world: int = 1
    ring: Ring | None = None
    progress: float = 0.0


class Latents(dict[str, Tensor]):
    """Named tensors `[v, b, d]` that a loss compares, and the encoder's own `features` `[v, b, dim]` for health.

    Features are detached: a loss that needs them with gradient names them as a latent. Of a step that is done,
    `learning` names the latents that wanted a gradient.
    """

    def __init__(self, *, features: Tensor | None = None, **latents: Tensor) -> None:
        super().__init__(latents)
        self.features = None if features is None else features.detach()
        self.learning: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Losses:
    """This rank's share of the loss, a scalar whose sum over ranks is the global loss, and figures to log.

    `logs` are the same on all ranks; `parts` are this rank's shares of what the loss is made of.
    """

    total: Tensor
    logs: dict[str, Tensor] = field(default_factory=dict)
    parts: dict[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Requirements:
    """What a method asks of the views and of the sampler.

    With `samples_per_class` K, a batch is made of P classes with K samples each, P = batch size / K: samples without a
    label are left out. Where there are fewer classes than P, each gets more samples. So they are with `unlabelled`
    False, of a method that wants `labels`. With `negatives` there is one more wide view, the last, where the data gives
    negatives: it shows that of each sample.
    """

    wide: int = 2
    small: int = 0
    labels: bool = False
    unlabelled: bool = True
    samples_per_class: int = 0
    negatives: bool = False


class Encoder(nn.Module):
    """Maps inputs to vectors; `dim` is their length.

    A modality's encoder defines `features`, one view's inputs `[n, ...]` to `[n, dim]`; `prepare`, what a source
    fetches to such inputs; and `preprocess`, what a user has (paths, arrays, ...) to such inputs. `config` is all that
    is needed to build it again, as plain values. With `splits = False` the frame embeds a batch in one piece.
    """

    dim: int
    splits: bool = True
    config: dict[str, Any]

    def __init__(self) -> None:
        super().__init__()
        self.output: nn.Module = nn.Identity()
        """What follows the features in a finished encoder: nothing, or a `Whitening`."""

    def features(self, inputs: Any) -> Tensor:
        """One view's inputs `[n, ...]` to vectors `[n, dim]`."""
        raise NotImplementedError

    def vectors(self, inputs: Any) -> Tensor:
        """One view's inputs `[n, ...]` to the encoder's vectors `[n, dim]`: its features, whitened once finished."""
        found: Tensor = self.output(self.features(inputs))
        return found

    def prepare(self, raw: Any) -> Any:
        """A batch as `Source.fetch` gives it to the inputs of `features`, without randomness."""
        raise NotImplementedError

    def preprocess(self, inputs: Sequence[Any]) -> Any:
        """A list of samples as a user has them (paths, arrays, ...) to the inputs of `features`, without randomness."""
        raise NotImplementedError

    def is_sample(self, inputs: Any) -> bool:
        """Whether `inputs` is one sample, not a list of them."""
        return isinstance(inputs, str | PathLike)

    def forward(self, views: Sequence[Any] | Tensor) -> Tensor:
        """Views to `[v, b, dim]`; a bare tensor is one view, to `[b, dim]`.

        Views of one shape pass through the network together, and so share batch statistics.
        """
        if isinstance(views, Tensor):
            return self.vectors(views)
        inputs = [views[i] for i in range(len(views))]
        vectors: list[Tensor] = [torch.empty(0)] * len(inputs)
        by_shape: dict[torch.Size, list[int]] = {}
        for i, x in enumerate(inputs):
            by_shape.setdefault(x.shape[1:], []).append(i)
        for members in by_shape.values():
            together = inputs[members[0]] if len(members) == 1 else torch.cat([inputs[i] for i in members])
            parts = torch.split(self.vectors(together), [len(inputs[i]) for i in members])
            for i, part in zip(members, parts, strict=True):
                vectors[i] = part
        return torch.stack(vectors)

    @torch.no_grad()
    def encode(
        self,
        inputs: Any,
        batch_size: int = 64,
        normalize_embeddings: bool = False,
        show_progress_bar: bool | None = None,
    ) -> NDArray[np.float32]:
        """Raw samples (paths, arrays, ...) to vectors `[N, dim]`; one bare sample to `[dim]`.

        Runs in evaluation mode on the encoder's own device; `show_progress_bar=None` shows one in a terminal when
        there are many batches.
        """
        from nearfar.progress import track

        single = self.is_sample(inputs)
        samples = [inputs] if single else list(inputs)
        device = next(self.parameters()).device
        was_training = self.training
        self.eval()
        try:
            vectors = [torch.empty(0, self.dim)]
            for start in track(range(0, len(samples), batch_size), "encode", show=show_progress_bar):
                batch = self.preprocess(samples[start : start + batch_size])
                vectors.append(self.vectors(batch.to(device)).float().cpu())
        finally:
            self.train(was_training)
        found = torch.cat(vectors)
        if normalize_embeddings:
            found = nn.functional.normalize(found, dim=-1)
        return (found[0] if single else found).numpy()


@dataclass(frozen=True)
class Skipped:
    """An input that could not be used, and why."""

    key: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """What a report shows of a sample: a small encoded picture, a text, or both."""

    key: str
    label: str | None = None
    image: bytes | None = None
    text: str | None = None


@dataclass(frozen=True)
class Shards:
    """Containers that samples are read from: `numbers` [N] rise in reading order; all of them are `size` bytes."""

    numbers: Rows
    size: int


class Source(Protocol):
    """Opened data: N samples, read by row. `skipped` grows as unreadable ones are met."""

    name: str
    keys: Sequence[str]
    label_names: Sequence[str]
    skipped: list[Skipped]

    def __len__(self) -> int: ...

    @property
    def labels(self) -> Rows | None:
        """Class numbers [N] into `label_names`, -1 where a sample has none; None where none has."""

    @property
    def ids(self) -> Rows:
        """[N]: of the samples fetched so far, equal for those whose content is the same to the byte."""

    @property
    def groups(self) -> Rows | None:
        """[N]: equal for samples that the user says belong together; None where nothing is said."""

    @property
    def positives(self) -> Source | None:
        """[N]: the sample that the user gives as the positive of each, itself where none is or where it is unreadable.

        None where nothing is said.
        """

    @property
    def negatives(self) -> Source | None:
        """[N]: the sample that the user gives as a negative of each, as `positives` are given."""

    @property
    def shards(self) -> Shards | None:
        """Where samples lie, if reading them in another order costs more; else None."""

    @property
    def usable(self) -> Rows:
        """The rows not found unreadable so far, in order."""

    def load(self, config: Mapping[str, Any]) -> None:
        """Make the samples ready to be fetched as an encoder of this `config` needs them; may take long."""

    def fetch(self, rows: Rows) -> tuple[Any, Rows]:
        """These samples as one raw batch, and the rows that are in it: unreadable ones are left out and listed."""

    def take(self, rows: Rows) -> Source:
        """The same data, these rows only."""

    def vectors(self) -> Tensor:
        """The raw input as vectors [N, D] float32: the baseline that needs no encoder."""

    def cards(self, rows: Rows) -> list[Card]:
        """What a report shows of these samples."""


class Modality(Protocol):
    """One kind of data: how it is opened, what its views are, which encoders it offers."""

    name: str
    Options: type
    """A frozen dataclass of the options of the views and inputs; None stands for automatic."""
    encoders: Mapping[str, str]
    """Names of the encoders, and a line for each."""

    def open(self, data: str, **options: Any) -> Source:
        """Find the samples of `data`. Raises DataError where there is nothing to train on."""

    def splits(self, data: str) -> list[str]:
        """The names of the parts that the data itself says it has."""

    def settle(self, options: Any, source: Any, encoder: str | None, facts: Facts) -> tuple[Any, str, list[Choice]]:
        """Options without None, the encoder's name, and a line for each thing that was chosen."""

    def encoder(self, name: str, source: Source, options: Any, **more: Any) -> Encoder:
        """A new encoder for this data."""

    def restore(self, config: Mapping[str, Any]) -> Encoder:
        """The encoder that `config` describes, its weights not yet loaded."""

    def views(
        self, raw: Any, draws: Rows, *, requires: Requirements, seed: int, options: Any, encoder: Encoder
    ) -> Views:
        """The views of a raw batch, sample i keyed by (seed, draws[i], view), on the encoder's device."""

    def show(self, inputs: Any, encoder: Any) -> list[Card]:
        """What a report shows of one view's inputs; keys are empty."""


class Method(nn.Module):
    """A training objective around an encoder, cut at the embedding.

    `Options` is a frozen dataclass in the method's file; `requires` says which views it asks for, of the class what it
    asks for by default, of a method what it asks for under its options. Where these decide about labels, `required`
    says so before anything is settled. `rate` is its learning rate where none is given, in units of the optimiser's
    usual one. `ring` are the options that its loss needs to compare over a ring of ranks; None where it cannot. A
    method is made by `Method(encoder, options)`.
    """

    Options: ClassVar[type]
    rate: ClassVar[float] = 1.0
    ring: ClassVar[Mapping[str, Any] | None] = None
    requires: Requirements

    def __init__(self, encoder: Encoder, options: Any = None) -> None:
        super().__init__()
        self.encoder = encoder

    @classmethod
    def required(cls, options: Any) -> Requirements:
        """What it asks for under these options, settled or not."""
        return cls.requires

    @classmethod
    def rings(cls, options: Any) -> bool:
        """Whether its loss can compare over a ring of ranks under these options, settled or not."""
        return cls.ring is not None and all(getattr(options, name) == value for name, value in cls.ring.items())

    @classmethod
    def settle(cls, options: Any, facts: Facts, encoder: Encoder) -> tuple[Any, list[Choice]]:
        """Options without None for these facts, and a line for each thing that was chosen."""
        return options, []

    def embed(self, views: Views) -> Latents:
        """Latents that want gradients; called per micro-batch, under autocast, and perhaps twice."""
        raise NotImplementedError

    def targets(self, views: Views) -> Latents:
        """Latents without gradients (momentum towers); called once a micro-batch."""
        return Latents()

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """This rank's share of the loss from all ranks' latents, or its own on a ring, in fp32; changes no state."""
        raise NotImplementedError

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Called after the optimiser's step: the only place where a method's own state changes."""
