"""Queues: how many earlier embeddings a method remembers (`losses.memory.Queue` holds them)."""

from nearfar.errors import must
from nearfar.options import UNKNOWN, Facts


def largest_share(samples: int, most: int) -> tuple[int, str]:
    """The size that suits the data, and the reason: half of the samples, at least 1 and at most the paper's `most`.

    A queue longer than the data holds each sample several times, as the encoder saw it epochs ago.
    """
    return max(1, min(most, samples // 2)), f"half of {samples:,} samples, at most {most:,}"


def must_fit(queue: int, facts: Facts) -> None:
    """Raise ConfigError for a queue that was given and is longer than the data."""
    if facts is not UNKNOWN:
        most = f"queue must be at most {facts.samples}, the number of samples: a longer one holds them several times"
        must(queue <= facts.samples, most, got=queue)
