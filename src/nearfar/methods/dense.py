"""Dense: what methods have in common whose head says something of every place of a picture, from the encoder's maps."""

from typing import Any

from torch import nn

from nearfar.contract import Encoder, Method
from nearfar.methods.options import SegmentOptions
from nearfar.options import Facts, Settling

_UNKNOWN = 10  # classes, where nothing is known of the data
_NARROW, _WIDE = 64, 256  # channels of the head


class Dense(Method):
    """An encoder with a head on its maps, which learn from gently altered pictures with annotations.

    A subclass makes the head and has the loss.
    """

    gentle = True
    smallest_batch = 8
    largest_batch = 16
    options: SegmentOptions

    def __init__(self, encoder: Encoder, options: Any = None) -> None:
        super().__init__(encoder, options)
        self.head = self.head_for(encoder, self.options.classes, self.options.head_width)
        if self.options.frozen:
            encoder.freeze()

    @staticmethod
    def head_for(encoder: Encoder, classes: int, width: int) -> nn.Module:
        """The head for the encoder's maps, with its first weights; `width` are the channels of its layers."""
        raise NotImplementedError

    @classmethod
    def compares_features(cls, options: Any) -> bool:
        """Its maps are those of the encoder, which nothing may change later."""
        return True

    @classmethod
    def choose(cls, settling: Settling[Any], facts: Facts, encoder: Encoder) -> None:
        """A score for each class of the data; a head that is as wide as the encoder's last map, within bounds."""
        settling.choose("classes", facts.classes or _UNKNOWN, "")
        width = min(_WIDE, max(_NARROW, encoder.map_shapes()[-1][0]))
        settling.choose("head_width", width, "as the encoder's last map")
