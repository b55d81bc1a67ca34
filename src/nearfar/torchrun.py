"""What torchrun tells a process of itself, by its environment."""

import os
from typing import NamedTuple


class Place(NamedTuple):
    """This process's rank among `world`, and its rank on this machine among its `neighbours`, itself included.

    `restarts` says how often all were started anew, `most_restarts` how often they may be.
    """

    rank: int = 0
    world: int = 1
    local: int = 0
    neighbours: int = 1
    restarts: int = 0
    most_restarts: int = 0


def place() -> Place:
    """This process's place; that of one alone without torchrun."""
    return Place(*(int(os.environ.get(name, default)) for name, default in zip(_NAMES, Place(), strict=True)))


_NAMES = (
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "TORCHELASTIC_RESTART_COUNT",
    "TORCHELASTIC_MAX_RESTARTS",
)
