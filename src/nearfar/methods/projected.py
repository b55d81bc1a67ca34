"""An encoder with a projector: the space in which the losses of several papers compare the views of a batch."""

from dataclasses import dataclass
from typing import Any

from nearfar.contract import Encoder, Latents, Method, Views
from nearfar.errors import must
from nearfar.methods.heads import mlp, usual
from nearfar.options import UNKNOWN, Choice, Facts, Settling


@dataclass(frozen=True, kw_only=True)
class ProjectorOptions:
    """Options of the projector; None stands for automatic."""

    projector_hidden: int | None = None
    """Width of the projector's hidden layer."""
    projector_out: int = 128
    """Dimensions of the space the loss is computed in."""

    def __post_init__(self) -> None:
        must(
            self.projector_hidden is None or self.projector_hidden >= 1,
            "projector_hidden must be at least 1",
            got=self.projector_hidden,
        )
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)


class Projected(Method):
    """A method whose one latent `z` [v b d] is the projected features of all views.

    Its `Options` are `ProjectorOptions` with more; it defines the loss, and settles what it adds.
    """

    def __init__(self, encoder: Encoder, options: Any) -> None:
        super().__init__(encoder)
        self.options, _ = self.settle(options, UNKNOWN, encoder)
        self.requires = self.required(self.options)
        self.projector = mlp(encoder.dim, self.options.projector_hidden, self.options.projector_out)

    @classmethod
    def settle(cls, options: Any, facts: Facts, encoder: Encoder) -> tuple[Any, list[Choice]]:
        """Fill in the hidden layer where it was not given, as wide as makes sense."""
        settling = Settling(options)
        settling.choose("projector_hidden", *usual(encoder))
        return settling.options, settling.choices

    def embed(self, views: Views) -> Latents:
        """Project the features of all views, which pass through the networks together."""
        features = self.encoder(views)  # [v b dim]
        v, b, _ = features.shape
        return Latents(z=self.projector(features.flatten(0, 1)).view(v, b, -1), features=features)
