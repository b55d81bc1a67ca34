"""SimCLR: two views of a sample attract, the views of all other samples of the batch repel.

Chen et al., "A simple framework for contrastive learning of visual representations", 2020, eq. 1 and algorithm 1:
z = projector(encoder(view)), loss = NT-Xent over the 2N projected views.

Differs from the paper: samples of equal content (`ids`) are not each other's negatives; hidden width and temperature
follow the size of the data and the batch when not given.
"""

from dataclasses import dataclass, replace

from nearfar.contract import Batch, Choice, Encoder, Facts, Latents, Losses, Method, Views, Wants
from nearfar.errors import must
from nearfar.losses import nt_xent
from nearfar.methods.heads import mlp


@dataclass(frozen=True, kw_only=True)
class SimCLROptions:
    """Options of simclr; None stands for automatic."""

    temperature: float | None = None
    """Softmax temperature; lower weighs the hardest negatives more."""
    projector_hidden: int | None = None
    """Width of the projector's hidden layer."""
    projector_out: int = 128
    """Dimensions of the space the loss is computed in."""

    def __post_init__(self) -> None:
        must(self.temperature is None or self.temperature > 0, "temperature must be above 0", got=self.temperature)
        must(
            self.projector_hidden is None or self.projector_hidden >= 1,
            "projector_hidden must be at least 1",
            got=self.projector_hidden,
        )
        must(self.projector_out >= 2, "projector_out must be at least 2", got=self.projector_out)


class SimCLR(Method):
    """An encoder with a projector, under NT-Xent."""

    Options = SimCLROptions
    wants = Wants(wide=2)

    def __init__(self, encoder: Encoder, options: SimCLROptions) -> None:
        super().__init__(encoder)
        options, _ = self.settle(options, None, encoder)
        assert options.temperature is not None
        assert options.projector_hidden is not None
        self.temperature = options.temperature
        self.projector = mlp(encoder.dim, options.projector_hidden, options.projector_out)

    @classmethod
    def settle(
        cls, options: SimCLROptions, facts: Facts | None, encoder: Encoder
    ) -> tuple[SimCLROptions, list[Choice]]:
        """Fill in what was not given: the hidden layer as wide as makes sense, the temperature of small batches."""
        choices = []
        if options.temperature is None:
            options = replace(options, temperature=0.2)
            choices.append(Choice("temperature", 0.2, "what batches of a few hundred learn best from"))
        if options.projector_hidden is None:
            hidden = min(2048, max(512, encoder.dim))
            options = replace(options, projector_hidden=hidden)
            choices.append(Choice("projector_hidden", hidden, f"for an encoder of {encoder.dim} dimensions"))
        return options, choices

    def embed(self, views: Views) -> Latents:
        """Project the features of all views, which pass through the networks together."""
        features = self.encoder(views)  # [v b dim]
        v, b, _ = features.shape
        return Latents(z=self.projector(features.flatten(0, 1)).view(v, b, -1), features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """NT-Xent of the own rows against all ranks' views."""
        return Losses(nt_xent(z["z"][0], z["z"][1], temperature=self.temperature, ids=batch.ids, rows=batch.rows))


METHOD = SimCLR
