"""A command of which one rank fails; run as a program by torchrun."""

from typing import Any

import nearfar
from nearfar import cli, torchrun
from nearfar.training import ranks


def train(*_: Any, **__: Any) -> None:
    with ranks.opened("cpu") as all_ranks:
        all_ranks.any(False)
        if all_ranks.rank == 1:
            raise KeyError("weights")
        all_ranks.any(False)


if __name__ == "__main__":
    nearfar.train = train
    torchrun.leave(cli.main(["train", "digits"]))
