"""Views by a user's own function, which makes one view of one sample, or of a whole batch, each time it is called.

Before each call the generators of torch, numpy and Python are seeded by the sample's key, so that views repeat when a
batch is embedded again, on any number of processes, and when a run goes on.
"""

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nearfar import randomness
from nearfar.contract import Inputs, Modality, Requirements, Rows, Views, inputs
from nearfar.errors import ConfigError

PER_BATCH = "per_batch"
"""A function with this attribute set is called with whole batches."""


def own_views(
    function: Callable[[Any], Any],
    modality: Modality,
    raw: Any,
    draws: Rows,
    *,
    requires: Requirements,
    seed: int,
    encoder: Any,
) -> Views:
    """The views of a raw batch, sample i keyed by (seed, draws[i], view), on the encoder's device.

    The function gets what `modality.plain` gives of a sample: of images a uint8 tensor `[c, h, w]`, of tables a
    standardised row `[d]`, of texts a text, of which it makes another. A whole batch is keyed by its first sample.
    """
    if not callable(function):
        raise ConfigError(f"views must be a function that makes a view of a sample, got {type(function).__name__}.")

    def make(view: int, start: int, stop: int) -> Inputs:
        with _kept():
            samples = modality.plain(raw, start, stop, encoder)
            if getattr(function, PER_BATCH, False):
                _seed(randomness.seed_of(seed, "own views", int(draws[start]), view))
                made = function(_together(samples))
            else:
                made = []
                for i, sample in zip(range(start, stop), samples, strict=True):
                    _seed(randomness.seed_of(seed, "own views", int(draws[i]), view))
                    made.append(function(sample))
                made = _together(made)
        count = len(made) if isinstance(made, list) else inputs.count(made) if isinstance(made, Tensor | Mapping) else 0
        if count != stop - start:
            raise ConfigError(
                f"views makes {type(made).__name__} of {stop - start} samples: a function of one's own gives one view, "
                "a tensor or a mapping of tensors, for each."
            )
        found: Inputs = modality.viewed(made, encoder)
        return found

    return Views(make, range(requires.wide + requires.small), 0, len(draws), requires.wide)


def _together(samples: Sequence[Any]) -> Inputs | list[str]:
    """Samples as a batch: tensors, mappings of tensors, arrays or pictures `[h, w, c]`; texts as a list.

    Raises ConfigError.
    """
    if all(isinstance(one, str) for one in samples):
        return list(samples)
    try:
        return inputs.stack([one if isinstance(one, Tensor | Mapping) else _tensor(one) for one in samples])
    except (RuntimeError, TypeError, KeyError) as error:
        raise ConfigError(
            f"views of a batch are of one kind and size, such as those that end with a RandomResizedCrop: {error}."
        ) from None


def _tensor(given: Any) -> Tensor:
    values = np.array(given)
    if values.dtype.kind not in "biuf":
        raise ConfigError(f"views gives {type(given).__name__}: a view is a tensor, an array of numbers or a picture.")
    array = torch.from_numpy(values)
    return array.movedim(-1, 0) if array.ndim == 3 else array[None] if hasattr(given, "convert") else array


def _seed(number: int) -> None:
    torch.default_generator.manual_seed(number)
    np.random.seed(number % 2**32)
    random.seed(number)


@contextmanager
def _kept() -> Iterator[None]:
    """The state of all generators is afterwards as it was: what the encoder draws does not depend on the views."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
