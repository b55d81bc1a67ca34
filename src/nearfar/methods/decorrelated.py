"""What the methods that decorrelate dimensions share: a projector of three layers, and each view by itself."""

from typing import Any

from torch import nn

from nearfar.contract import Encoder, Latents, Views
from nearfar.methods.batchnorm import in_groups
from nearfar.methods.heads import Projected, apart, mlp
from nearfar.methods.sizes import decorrelated_width
from nearfar.options import Facts, Settling


class Decorrelated(Projected):
    """A method whose one latent `z` [v b d] is the projected features, each view with batch statistics of its own."""

    smallest_batch = 128  # a correlation of few samples is noise

    def head(self) -> nn.Sequential:
        """The projector: two hidden layers."""
        hidden = self.options.projector_hidden
        return mlp(self.encoder.dim, hidden, hidden, self.options.projector_out)

    @classmethod
    def choose(cls, settling: Settling[Any], facts: Facts, encoder: Encoder) -> None:
        """A projector as wide as suits the encoder and the data."""
        for name in ("projector_hidden", "projector_out"):
            settling.choose(name, *decorrelated_width(encoder, facts))

    def embed(self, views: Views) -> Latents:
        """Project the features of each view, which passes through the networks alone."""
        features = in_groups(self.encoder, views)  # [v b dim]
        return Latents(z=apart(self.projector, features), features=features)
