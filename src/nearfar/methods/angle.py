"""AnglE: CoSENT of an angle in complex space, whose gradient does not fade where cosines are near 1 or -1.

Li & Li, "AnglE-optimized text embeddings", 2023, eq. 4 to 7: the first half of an encoder's dimensions is read as the
real part of a complex vector and the second as the imaginary one; pairs are ranked by the angle of their quotient.

Differs from the paper: its angle objective alone, without the CoSENT and the in-batch objective that it adds to it.
"""

from torch import Tensor

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.losses import angle
from nearfar.methods.graded import Graded
from nearfar.methods.options import AnglEOptions


class AnglE(Graded):
    """An encoder of an even number of dimensions under AnglE; raises ConfigError for one of an odd number."""

    Options = AnglEOptions
    options: AnglEOptions

    def __init__(self, encoder: Encoder, options: AnglEOptions | None = None) -> None:
        if encoder.dim % 2:
            raise ConfigError(
                f"The method angle halves the encoder's dimensions, of which there are {encoder.dim}: take another "
                "width, or the method cosent."
            )
        super().__init__(encoder, options)

    def compared(self, one: Tensor, other: Tensor, scores: Tensor) -> Tensor:
        """AnglE of these pairs."""
        return angle(one, other, scores=scores, scale=self.options.scale)


METHOD = AnglE
