"""A batch on its way through a step: views, latents, losses, and what a loss may know of the samples."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, overload

from torch import Tensor

from nearfar.contract import inputs

if TYPE_CHECKING:
    from nearfar.kernels.ring import Ring


class Views(Sequence[Any]):
    """The views of a batch, made when first asked for.

    `views[i]` is one view of every sample, `Inputs` `[b, ...]`; `views[i:j]` some of the views; `views.part(start,
    stop)` and `views.take(at)` some of the samples. Wide views come first, small ones after them. `numbers` tells a
    slice which views it holds.
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
    def made(self) -> dict[int, Any]:
        """The views made so far, by their numbers; slices of the same samples share them."""
        return self._made

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
            lambda number, start, stop: inputs.take(self[places[number]], at[start:stop]),
            self.numbers,
            0,
            len(at),
            self.wide,
        )


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a loss may know of a batch; it holds no inputs.

    `ids` [n] names what each row shows: equal ids are the same content, or positives of each other by the user's word
    (`--positives`), and never negatives of each other.
    `labels` [n] is -1 where there is none; `groups` [n] may be missing. `scores` [n] say how near a sample and the
    positive that the user gives for it are, NaN where that is not said. `targets` [n, d] are what a teacher makes of
    the samples as they are. Where the last wide view shows negatives that the user gives, `negative_ids` [n] names what
    they show, and `present` [v, n] says who has one. `log_q` [2, n] is the logarithm of how often what the first and
    the second view show comes among all samples. `weights` [n] say how much each counts, 1 in the mean of all samples.
    `view_ids` [2, n] name what the first and the second view show, where these are different things.
    `rows` are this rank's own among the n rows, `world` the number of ranks, `progress` the share of the run that is
    done, in [0, 1].
    With a `ring`, the latents of the others stay with them: a loss sees those of its own rows alone.
    """

    ids: Tensor
    labels: Tensor
    groups: Tensor | None = None
    scores: Tensor | None = None
    targets: Tensor | None = None
    present: Tensor | None = None
    negative_ids: Tensor | None = None
    log_q: Tensor | None = None
    weights: Tensor | None = None
    view_ids: Tensor | None = None
    rows: slice = field(default_factory=lambda: slice(None))
    world: int = 1
    ring: Ring | None = None
    progress: float = 0.0

    def first(self, count: int) -> Batch:
        """What is known of the first samples, as a batch of a single process."""
        by_view = ("present", "log_q", "view_ids")
        known: dict[str, Any] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                known[name] = value[:, :count] if name in by_view else value[:count]
        return Batch(progress=self.progress, **known)


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
    False, of a method that wants `labels`. With `mixed`, where some have no label, a batch holds equally many labelled
    samples and samples without a label of each domain: `--source-domain` says whose labels are known. One that wants
    `scores` learns from pairs that have one, in its first two views; one that wants `targets` needs a teacher. With
    `negatives` there is one more wide view, the last, where the data gives negatives: it shows that of each sample.
    One that wants `maps` takes encoders that give them. One that wants `annotations` of a kind (`masks`, `boxes`) gets
    views that hold them by name beside the samples, moved as these are, and only samples that have one.
    """

    wide: int = 2
    small: int = 0
    labels: bool = False
    unlabelled: bool = True
    mixed: bool = False
    samples_per_class: int = 0
    negatives: bool = False
    scores: bool = False
    targets: bool = False
    maps: bool = False
    annotations: str | None = None
