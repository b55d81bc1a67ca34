"""What suits the data and the encoder where an option was not given: widths of heads, queues and momenta, with why."""

import math

from nearfar.contract import Encoder
from nearfar.errors import must
from nearfar.options import UNKNOWN, Facts

_CIFAR = 50_000
"""Samples up to which momentum is 0.99, as in solo-learn's and lightly's recipes for CIFAR."""


def projector_width(encoder: Encoder) -> tuple[int, str]:
    """The width of a projector's hidden layer: the encoder's dimensions, between 512 and 2048; and the reason."""
    return min(2048, max(512, encoder.dim)), f"for an encoder of {encoder.dim} dimensions"


def decorrelated_width(encoder: Encoder, facts: Facts) -> tuple[int, str]:
    """The width of a projector whose dimensions are decorrelated, a power of two, and the reason.

    Four times the encoder's dimensions and at most 8 sqrt(samples), between 512 and 8192. That gives the width of both
    Barlow Twins and VICReg for ResNet-50 on ImageNet, 8192, and of solo-learn's recipes for ResNet-18 on CIFAR, 2048.
    """
    fitting = min(4 * encoder.dim, 8 * math.sqrt(facts.samples))
    width = 2 ** round(math.log2(min(8192, max(512, fitting))))
    return width, f"for an encoder of {encoder.dim} dimensions and {facts.samples} samples"


def predictor_width(encoder: Encoder, facts: Facts) -> tuple[int, str]:
    """The width of the hidden layers of heads that predict, a power of two, and the reason.

    512 for 1,000 samples and twice as wide for each tenfold, up to BYOL's 4096 for ImageNet's million; no narrower than
    the encoder's dimensions.
    """
    fitting = 2 ** round(math.log2(512) + math.log10(max(1, facts.samples) / 1000))
    width = max(min(4096, max(512, fitting)), encoder.dim)
    return width, f"for an encoder of {encoder.dim} dimensions and {facts.samples} samples"


def queue_size(samples: int, most: int) -> tuple[int, str]:
    """The size of a queue, and the reason: half of the samples, at least 1 and at most the paper's `most`.

    A queue longer than the data holds each sample several times, as the encoder saw it epochs ago.
    """
    return max(1, min(most, samples // 2)), f"half of {samples:,} samples, at most {most:,}"


def check_queue(queue: int, facts: Facts) -> None:
    """Raise ConfigError for a queue that was given and is longer than the data."""
    if facts is not UNKNOWN:
        most = f"queue must be at most {facts.samples}, the number of samples: a longer one holds them several times"
        must(queue <= facts.samples, most, got=queue)


def momentum_for(samples: int) -> tuple[float, str]:
    """The momentum of a momentum encoder, to 4 digits: 0.99 up to 50,000 samples, nearer to 1 beyond; and the reason.

    1 - 0.01 (50,000 / samples)^0.4: 0.997 at ImageNet's size, between BYOL's 0.996 and MoCo's 0.999. Small data is
    trained for few steps, and a copy that follows more slowly than the run lasts never learns.
    """
    step: float = 0.01 * min(1.0, _CIFAR / max(1, samples)) ** 0.4
    return round(1 - step, 4), f"for {samples:,} samples"
