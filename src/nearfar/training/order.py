"""Which samples make up which step: a new shuffle each epoch, a function of (seed, step) alone."""

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
            self._shuffled = randomness.permutation(self.seed, "order", epoch, self.samples)
            self._epoch = epoch
        return self._shuffled[place * self.batch_size : (place + 1) * self.batch_size]

    def draws(self, step: int) -> Rows:
        """The running numbers of a step's samples, `[batch_size]`."""
        return np.arange(step * self.batch_size, (step + 1) * self.batch_size, dtype=np.int64)
