"""Matryoshka: vectors that may be cut to their first dimensions, with any method.

Kusupati et al., "Matryoshka representation learning", 2022, eq. 1 with equal weights: the sum over widths of the
method's loss of what the encoder gives, all but its first dimensions set to zero. Where the method compares the
encoder's own vectors, that is the loss of vectors cut short. Heads, slow copies and queues are shared by all widths.

Differs from the paper: a queue of earlier batches holds what whole vectors gave, and is compared with all widths.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn

from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Views
from nearfar.errors import ConfigError


class Matryoshka(Method):
    """A method whose loss is summed over the first dimensions `widths` of the encoder's vectors, and all of them."""

    def __init__(self, method: Method, widths: Sequence[int]) -> None:
        nn.Module.__init__(self)
        self.method = method
        self.options, self.requires = method.options, method.requires
        self.widths = (method.encoder.dim, *sorted(widths, reverse=True))
        self._encoders = [module for module in method.modules() if isinstance(module, Encoder)]

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        """The method's encoder."""
        return self.method.encoder

    @property
    def rate(self) -> float:  # type: ignore[override]
        """The method's."""
        return self.method.rate

    @property
    def smallest_batch(self) -> int:  # type: ignore[override]
        """The method's."""
        return self.method.smallest_batch

    @property
    def largest_batch(self) -> int | None:  # type: ignore[override]
        """The method's."""
        return self.method.largest_batch

    @property
    def gentle(self) -> bool:  # type: ignore[override]
        """The method's."""
        return self.method.gentle

    @property
    def downstream(self) -> str | None:  # type: ignore[override]
        """The method's."""
        return self.method.downstream

    def embed(self, views: Views) -> Latents:
        """The method's latents for whole vectors, by their names, and for each width w, as `name@w`."""
        return self._of_each(self.method.embed, views)

    def targets(self, views: Views) -> Latents:
        """As `embed`, of latents without gradients."""
        return self._of_each(self.method.targets, views)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The sum of the method's losses; logs and parts are those of whole vectors."""
        whole, *others = (self.method.loss(self._of(z, width), batch) for width in self.widths)
        return Losses(torch.stack([whole.total, *(one.total for one in others)]).sum(), whole.logs, whole.parts)

    def after_step(self, z: Latents, batch: Batch) -> None:
        """The method's own state follows the latents of whole vectors."""
        self.method.after_step(self._of(z, self.widths[0]), batch)

    def _of(self, z: Latents, width: int) -> Latents:
        names = [name for name in z if "@" not in name]
        found = Latents(**{name: z[self._name(name, width)] for name in names})
        found.features, found.learning = z.features, z.learning & set(names)
        return found

    def _name(self, name: str, width: int) -> str:
        return name if width == self.widths[0] else f"{name}@{width}"

    def _of_each(self, made: Callable[[Views], Latents], views: Views) -> Latents:
        """Latents of each width. The encoders run once: what they gave is cut, and the heads run again on it."""
        found, given = dict[int, Latents](), list[Tensor]()
        device = self.encoder.device
        devices = [device] if device.type == "cuda" else []
        for width in reversed(self.widths):
            # Each width draws the same numbers (groups of samples, dropout of heads); the generators move once.
            with torch.random.fork_rng(devices, enabled=width != self.widths[0]), self._cut(width, given):
                found[width] = made(views)
        whole = Latents()
        for width in self.widths:  # whole vectors first: health looks at these
            whole.update({self._name(name, width): latent for name, latent in found[width].items()})
        whole.features = found[self.widths[0]].features
        return whole

    @contextmanager
    def _cut(self, width: int, given: list[Tensor]) -> Iterator[None]:
        """Let the encoders give vectors that are zero beyond `width`, from those `given` before, in order, if any."""
        first, number = not given, count()

        def forward(encoder: Encoder) -> Callable[..., Tensor]:
            whole = encoder.forward

            def call(*args: Any, **kwargs: Any) -> Tensor:
                if first:
                    given.append(whole(*args, **kwargs))
                vectors = given[next(number)]
                kept = torch.arange(vectors.shape[-1], device=vectors.device) < width
                return vectors * kept

            return call

        for encoder in self._encoders:
            vars(encoder)["forward"] = forward(encoder)
        try:
            yield
        finally:
            for encoder in self._encoders:
                del vars(encoder)["forward"]


def widths_of(text: str, dim: int) -> list[int]:
    """`64,128` as numbers in ascending order; raises ConfigError for what is none, or not below `dim`."""
    try:
        found = sorted({int(word) for word in text.split(",")})
    except ValueError:
        raise ConfigError(f"matryoshka must be dimensions with commas between, such as 64,128, got {text!r}.") from None
    if not found or not found[0] > 0 or not found[-1] < dim:
        raise ConfigError(f"matryoshka must be dimensions below the encoder's {dim}, got {text!r}.")
    return found
