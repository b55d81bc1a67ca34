"""Which samples make up which step: keyed by the seed, a function of the step alone, so that a run resumes exactly."""

from typing import Protocol

import numpy as np

from nearfar import randomness
from nearfar.contract import Rows
from nearfar.errors import must


class Order:
    """Steps of `batch_size` rows out of `samples`; what is left over at an epoch's end waits for another shuffle.

    A sample's draw is its running number in the run: step * batch_size + place.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        must(2 <= batch_size <= samples, f"batch_size must be between 2 and the {samples} samples", got=batch_size)
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.steps_per_epoch = samples // batch_size
        self._epoch = -1
        self._shuffled: Rows = np.empty(0, dtype=np.int64)

    def epoch(self, step: int) -> int:
        """The epoch that a step belongs to, from 0."""
        return step // self.steps_per_epoch

    def rows(self, step: int) -> Rows:
        """The samples of a step, `[batch_size]`."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if epoch != self._epoch:
            self._shuffled = self._shuffle(epoch)
            self._epoch = epoch
        return self._shuffled[place * self.batch_size : (place + 1) * self.batch_size]

    def draws(self, step: int) -> Rows:
        """The running numbers of a step's samples, `[batch_size]`."""
        return np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)

    def part(self, rank: int, world: int) -> "Steps":
        """What one of `world` ranks takes of every step."""
        return Part(self, rank, world)

    def _shuffle(self, epoch: int) -> Rows:
        return randomness.permutation(self.seed, "order", epoch, self.samples)


class Steps(Protocol):
    """The samples of each step, and their running numbers."""

    def rows(self, step: int) -> Rows:
        """The samples of a step."""

    def draws(self, step: int) -> Rows:
        """The running numbers of a step's samples."""


class Part:
    """A run of every step's rows: what a rank takes, so that all ranks see what one alone would."""

    def __init__(self, order: Order, rank: int, world: int) -> None:
        self._order = order
        size = order.batch_size
        self._own = slice(size * rank // world, size * (rank + 1) // world)

    def rows(self, step: int) -> Rows:
        """The rank's samples of a step."""
        return self._order.rows(step)[self._own]

    def draws(self, step: int) -> Rows:
        """The running numbers of these samples in the whole run."""
        return self._order.draws(step)[self._own]


class Streamed(Order):
    """Samples shard after shard: shards are shuffled whole, samples within windows of `buffer` of them.

    Each of `world` ranks reads a share of its own of every epoch's sequence, of equal length, so that a shard is read
    by one rank, or by two at the border of their shares. The order is the same again at the same world size only.
    `batch_size` is the rank's own. Draws are running numbers over all ranks.
    """

    def __init__(self, shards: Rows, batch_size: int, seed: int, *, buffer: int, rank: int = 0, world: int = 1) -> None:
        super().__init__(len(shards) // world, batch_size, seed)
        self._shards = shards
        must(buffer >= 1, "shuffle_buffer must be at least 1", got=buffer)
        self.buffer = buffer
        self.rank = rank
        self.world = world
        self._numbers, at = np.unique(shards, return_inverse=True)
        self._sorted = np.argsort(at, kind="stable")
        self._bounds = np.searchsorted(at[self._sorted], np.arange(len(self._numbers) + 1))

    def draws(self, step: int) -> Rows:
        """The running numbers of a step's samples, `[batch_size]`: a rank's follow those of the ranks before it."""
        return super().draws(step * self.world + self.rank)

    def part(self, rank: int, world: int) -> Steps:
        """What one of `world` ranks takes, shards of its own; raises ConfigError for a batch of another multiple."""
        must(
            self.batch_size % world == 0,
            f"batch_size must be a multiple of the {world} ranks where data is streamed",
            got=self.batch_size,
        )
        return Streamed(self._shards, self.batch_size // world, self.seed, buffer=self.buffer, rank=rank, world=world)

    def _shuffle(self, epoch: int) -> Rows:
        shards = randomness.permutation(self.seed, "shards", epoch, len(self._numbers))
        parts = [self._sorted[self._bounds[shard] : self._bounds[shard + 1]] for shard in shards]
        start = self.rank * self.samples
        rows = np.concatenate(parts)[start : start + self.samples]
        for window, first in enumerate(range(0, self.samples, self.buffer)):
            size = min(self.buffer, self.samples - first)
            number = (epoch * self.world + self.rank) * self.samples + window
            rows[first : first + size] = rows[first + randomness.permutation(self.seed, "window", number, size)]
        return rows


class Labelled(Order):
    """Steps of labelled samples alone (`labels` [N], -1 for none): of all of them where they are fewer than a batch."""

    def __init__(self, labels: Rows, batch_size: int, seed: int) -> None:
        self._rows = np.flatnonzero(labels >= 0)
        super().__init__(len(self._rows), min(batch_size, len(self._rows)), seed)

    def _shuffle(self, epoch: int) -> Rows:
        chosen: Rows = self._rows[super()._shuffle(epoch)]
        return chosen


class Balanced(Order):
    """Steps of P classes with K samples each, out of the labelled samples (`labels` [N], -1 for none).

    P is batch_size // samples_per_class, or the number of classes where that is smaller; K is batch_size // P, and the
    batch P * K. Each round visits every class once, in an order of its own; classes left over at a round's end wait
    for another. At each visit a class gives its next K samples, reshuffled when fewer than K are left; a class with
    fewer than K gives all of them, as often as it takes (equal `ids`, other views). An epoch is as many steps as
    labelled samples fill.
    """

    def __init__(self, labels: Rows, batch_size: int, seed: int, *, samples_per_class: int) -> None:
        must(samples_per_class >= 1, "samples_per_class must be at least 1", got=samples_per_class)
        labelled = np.flatnonzero(labels >= 0)
        numbers, at = np.unique(labels[labelled], return_inverse=True)
        must(len(numbers) >= 2, "a balanced batch needs at least 2 classes", got=len(numbers))
        must(
            batch_size >= 2 * samples_per_class,
            f"batch_size must be at least {2 * samples_per_class}: 2 classes of {samples_per_class} samples",
            got=batch_size,
        )
        self.classes = min(len(numbers), batch_size // samples_per_class)
        self.samples_per_class = batch_size // self.classes
        super().__init__(max(len(labelled), batch_size), self.classes * self.samples_per_class, seed)
        self._rows = [labelled[at == number] for number in range(len(numbers))]
        self._rounds = len(numbers) // self.classes
        self._round = -1
        self._visited: Rows = np.empty(0, dtype=np.int64)

    def rows(self, step: int) -> Rows:
        """The samples of a step, `[P * K]`, class after class."""
        number, place = divmod(step, self._rounds)
        if number != self._round:
            self._visited = randomness.permutation(self.seed, "classes", number, len(self._rows))
            self._round = number
        classes = self._visited[place * self.classes : (place + 1) * self.classes]
        return np.concatenate([self._given(int(one), number) for one in classes])

    def _given(self, one: int, visit: int) -> Rows:
        """The K samples that a class gives at a visit, by their rows."""
        rows, k = self._rows[one], self.samples_per_class
        shuffle, part = divmod(visit, max(1, len(rows) // k))
        order = randomness.permutation(self.seed, f"class {one}", shuffle, len(rows))
        given: Rows = rows[np.resize(order, max(k, len(rows)))[part * k : (part + 1) * k]]
        return given
