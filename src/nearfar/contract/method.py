"""A training objective around an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import nn

from nearfar.contract.batches import Batch, Latents, Losses, Requirements, Views
from nearfar.contract.encoder import Encoder
from nearfar.options import UNKNOWN, Choice, Facts, Options, Settling


class Method(nn.Module):
    """A training objective around an encoder, split at the embedding.

    `Options` is the class of its options. `requires` says which views it asks for: of the class what it asks for by
    default, of a method what it asks for under its options (`required`). `rate` is its learning rate where none is
    given, in units of the optimiser's usual one, `smallest_batch` the smallest batch that is chosen for it and
    `largest_batch` the largest. `gentle` says that it names samples and compares no views, which then leave samples
    much as they are (`Modality.gentle`), `downstream` which task has the head that it trains (`nearfar.downstream`).
    `ring` are the options that its loss needs to compare over a ring of ranks; None where it cannot. A method is made
    by `Method(encoder, options)`; options that were left open are settled as for data that is not known.
    """

    Options: ClassVar[type] = Options
    rate: ClassVar[float] = 1.0
    smallest_batch: ClassVar[int] = 32
    largest_batch: ClassVar[int | None] = None
    gentle: ClassVar[bool] = False
    downstream: ClassVar[str | None] = None
    ring: ClassVar[Mapping[str, Any] | None] = None
    requires: Requirements
    options: Any
    """All of them settled."""

    def __init__(self, encoder: Encoder, options: Any = None) -> None:
        super().__init__()
        self.encoder = encoder
        given = self.Options() if options is None else options
        self.options = given if getattr(given, "settled", False) else self.settle(given, UNKNOWN, encoder)[0]
        self.requires = self.required(self.options)

    @classmethod
    def required(cls, options: Any) -> Requirements:
        """What it asks for under these options, settled or not."""
        return cls.requires

    @classmethod
    def rings(cls, options: Any) -> bool:
        """Whether its loss can compare over a ring of ranks under these options, settled or not."""
        return cls.ring is not None and all(getattr(options, name) == value for name, value in cls.ring.items())

    @classmethod
    def compares_features(cls, options: Any) -> bool:
        """Whether its loss compares the encoder's own vectors under these options: nothing then changes them later."""
        return False

    @classmethod
    def settle(cls, options: Any, facts: Facts, encoder: Encoder) -> tuple[Any, list[Choice]]:
        """Options without None for these facts, and a line for each thing that was chosen."""
        settling = Settling(options)
        cls.choose(settling, facts, encoder)
        return settling.options, settling.choices

    @classmethod
    def choose(cls, settling: Settling[Any], facts: Facts, encoder: Encoder) -> None:
        """Settle the options that were not given; raises ConfigError for one that these facts do not allow."""

    def embed(self, views: Views) -> Latents:
        """Latents that want gradients; called per micro-batch, under autocast, and perhaps twice."""
        raise NotImplementedError

    def targets(self, views: Views) -> Latents:
        """Latents without gradients (momentum towers); called once a micro-batch."""
        return Latents()

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """This rank's share of the loss from all ranks' latents, or its own on a ring, in fp32; changes no state."""
        raise NotImplementedError

    def after_step(self, z: Latents, batch: Batch) -> None:
        """Called after the optimiser's step: the only place where a method's own state changes."""
