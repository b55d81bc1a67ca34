"""The demonstration: an encoder of handwritten digits, trained without labels in about a minute."""

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nearfar.api.run import Run

STEPS = 500


def demo(
    *,
    out: str | os.PathLike[str] | None = None,
    seed: int = 0,
    quiet: bool = False,
    device: str | None = None,
    threads: int | None = None,
    started: float | None = None,
) -> "Run":
    """Train on scikit-learn's built-in digits for a fixed number of steps, and judge the result; needs no network.

    Returns the run, written to `out` (made under `runs/` when not given). Raises UserError.
    """
    from nearfar.api.train import train

    return train(
        "digits",
        out=out,
        seed=seed,
        quiet=quiet,
        device=device,
        threads=threads,
        started=time.monotonic() if started is None else started,
        steps=STEPS,
        encoder="small_cnn",
        width=32,
        image_size=16,
        precision="fp32",
        batch_size=256,
        # A digit keeps its meaning when it is moved, scaled and turned a little; mirrored it is another sign.
        flip=0.0,
        rotate=15.0,
        crop_scale=0.4,
        views_strength=0.5,
        # The strong directions of so simple a set are its classes: with one label each, they are what one has.
        whiten=False,
    )
