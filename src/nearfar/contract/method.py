"""A training objective around an encoder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from torch import nn

from nearfar.contract.batches import Batch, Latents, Losses, Requirements, Views
from nearfar.contract.encoder import Encoder

if TYPE_CHECKING:
    from nearfar.options import Choice, Facts


class Method(nn.Module):
    """A training objective around an encoder, cut at the embedding.

    `Options` is a frozen dataclass in the method's file; `requires` says which views it asks for, of the class what it
    asks for by default, of a method what it asks for under its options. Where these decide about labels, `required`
    says so before anything is settled. `rate` is its learning rate where none is given, in units of the optimiser's
    usual one. `ring` are the options that its loss needs to compare over a ring of ranks; None where it cannot. A
    method is made by `Method(encoder, options)`.
    """

    Options: ClassVar[type]
    rate: ClassVar[float] = 1.0
    ring: ClassVar[Mapping[str, Any] | None] = None
    requires: Requirements

    def __init__(self, encoder: Encoder, options: Any = None) -> None:
        super().__init__()
        self.encoder = encoder

    @classmethod
    def required(cls, options: Any) -> Requirements:
        """What it asks for under these options, settled or not."""
        return cls.requires

    @classmethod
    def rings(cls, options: Any) -> bool:
        """Whether its loss can compare over a ring of ranks under these options, settled or not."""
        return cls.ring is not None and all(getattr(options, name) == value for name, value in cls.ring.items())

    @classmethod
    def settle(cls, options: Any, facts: Facts, encoder: Encoder) -> tuple[Any, list[Choice]]:
        """Options without None for these facts, and a line for each thing that was chosen."""
        return options, []

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
