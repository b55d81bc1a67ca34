"""Methods that learn from pairs how alike two samples are, by a score that people have given each pair."""

from abc import abstractmethod
from typing import Any

from torch import Tensor

from nearfar.contract import Batch, Latents, Losses, Method, Requirements, Views


class Graded(Method):
    """A method whose one latent `z` [2 b d] is the encoder's own vectors of a sample and of its given partner.

    There is no projector: what is learnt is the cosine that users compare by. Pairs without a score take no part.
    """

    requires = Requirements(wide=2, scores=True)

    @classmethod
    def compares_features(cls, options: Any) -> bool:
        """Always: there is no projector."""
        return True

    def embed(self, views: Views) -> Latents:
        """The encoder's vectors of both views, which pass through it together."""
        features = self.encoder(views[:2])  # [2 b dim]
        return Latents(z=features, features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """The loss of all ranks' pairs with a score, shared equally by the ranks: it is no sum over pairs."""
        one, other = z["z"]
        if batch.scores is None or not (known := batch.scores.isfinite()).any():
            return Losses(z["z"].sum() * 0)
        return Losses(self.compared(one[known], other[known], batch.scores[known]) / batch.world)

    @abstractmethod
    def compared(self, one: Tensor, other: Tensor, scores: Tensor) -> Tensor:
        """The loss of pairs of vectors [m, d] with their scores [m]."""
