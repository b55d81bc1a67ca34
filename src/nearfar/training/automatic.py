"""Settings that nobody gave: from the size of the data, the length of the run and the device, each with its reason."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch

from nearfar.config import Machine, Optimisation
from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.options import Choice, Facts, Settling

LARGEST_LARS = 1024
STEPS_A_SAMPLE = 22
"""How many steps a run has, at least, for each sample of its batch; see docs/automatic.md."""

Steps = Callable[[int], float]
"""How many steps a run will have with batches of a size."""


def device_of(asked: str | None) -> tuple[str, str | None]:
    """The device to run on, and why when it was not given; raises ConfigError when it is not there."""
    if asked in (None, "auto"):
        if torch.cuda.is_available():
            return "cuda", "a GPU is here"
        if torch.backends.mps.is_available():
            return "mps", "Apple's GPU is here"
        return "cpu", "no GPU is here"
    try:
        device = torch.device(str(asked))
    except RuntimeError:
        raise ConfigError(f"device must be auto, cpu, cuda, cuda:1 or mps, got {asked!r}.") from None
    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available() and (device.index or 0) < torch.cuda.device_count(),
        "mps": torch.backends.mps.is_available(),
    }
    if not there.get(device.type, False):
        raise ConfigError(f"device {asked!r} is not on this machine; --device auto takes what is.")
    return str(asked), None


def machine(given: Machine) -> tuple[Machine, list[Choice]]:
    """The device where it was not given; raises ConfigError when it is not there."""
    device, why = device_of(given.device)
    choices = [] if why is None else [Choice("device", device, why)]
    return replace(given, device=device), choices


def batch_size(facts: Facts, steps: Steps | None, *, smallest: int, largest: int | None = None) -> tuple[int, str]:
    """The size of a batch, a power of two but for data that has fewer samples, and the reason.

    The largest that leaves a run STEPS_A_SAMPLE steps for each sample of its batch, from `smallest` up to that or 256
    (512 on a GPU) or `largest`, and a quarter of the data. Where `steps` is None the run has so many steps whatever the
    batch: then the largest.
    """
    most = largest or (512 if facts.device.startswith("cuda") else 256)
    # Enough steps an epoch that every epoch shuffles who meets whom, and never more than the data.
    fitting = 2 ** max(1, int(math.log2(max(2, facts.samples / 4))))
    top = min(facts.samples, max(most, smallest), max(32, fitting))
    if steps is None:
        return top, f"{facts.samples} samples on {facts.device}"
    size = top
    while size // 2 >= smallest and steps(size) < STEPS_A_SAMPLE * size:
        size = 2 ** math.ceil(math.log2(size) - 1)
    why = f"for {facts.samples} samples" if size == top else "a larger batch would leave too few"
    return size, f"about {steps(size):,.0f} steps; {why}"


def by_layer(given: Optimisation, facts: Facts) -> tuple[Optimisation, list[Choice]]:
    """How fast each layer of the encoder learns, where it was not given."""
    settling = Settling(given)
    known = facts.weights is not None
    settling.choose("encoder_rate", *((0.1, "it starts from published weights") if known else (1.0, "")))
    settling.choose("layer_decay", *((0.9, "early layers of published weights suit most data") if known else (1.0, "")))
    settling.choose("freeze", 0, "")
    settling.choose("fix_norms", known, "statistics of published weights say more than small batches" if known else "")
    return settling.options, settling.choices


def optimisation(
    given: Optimisation,
    facts: Facts,
    encoder: Encoder,
    *,
    rate: float = 1.0,
    smallest_batch: int = 32,
    largest_batch: int | None = None,
    pace: Callable[[], Steps | None] | None = None,
) -> tuple[Optimisation, list[Choice]]:
    """Batch size, optimiser, learning rate, decay and warm-up where they were not given.

    `rate` is the learning rate of method and encoder in units of the optimiser's usual one, and `smallest_batch` the
    smallest that is chosen for them, `largest_batch` the largest. `pace` measures how many steps the budget holds.
    """
    settling = Settling(given)
    if given.batch_size is None:
        steps: Steps | None = None
        if pace is not None:
            steps = pace()
        elif facts.epochs is not None:
            samples = facts.epochs * facts.samples
            steps = lambda size: samples / size  # noqa: E731
        settling.choose("batch_size", *batch_size(facts, steps, smallest=smallest_batch, largest=largest_batch))
    if settling.options.batch_size > facts.samples:
        raise ConfigError(
            f"batch_size {settling.options.batch_size} is more than the {facts.samples} samples that there are; "
            f"give --batch-size {facts.samples} or less."
        )
    if settling.options.batch_size > LARGEST_LARS and encoder.optimizer == "sgd":
        settling.choose("optimizer", "lars", "batches above 1,024 want layer-wise rates")
    elif encoder.optimizer == "sgd":
        settling.choose("optimizer", "sgd", "what convolutional networks with batch norm learn best from")
    else:
        settling.choose("optimizer", "adamw", "for networks without batch norm between convolutions")
    batches = settling.options.batch_size / 256
    rates = {"sgd": 0.25 * batches, "lars": 0.3 * batches, "adamw": 1e-3 * math.sqrt(batches)}
    times = "" if rate == 1 else f", {rate:g} times for this method and encoder"
    why = f"{settling.options.optimizer}'s rate for batches of {settling.options.batch_size}{times}"
    settling.choose("lr", round(rate * rates[settling.options.optimizer], 6), why)
    decays = {"sgd": 5e-4, "lars": 1e-4, "adamw": 1e-2}
    settling.choose("weight_decay", decays[settling.options.optimizer], f"usual with {settling.options.optimizer}")
    settling.choose("warmup", 0.05, "a twentieth of the run")
    return settling.options, settling.choices
