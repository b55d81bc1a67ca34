"""What the cosine of two samples loses with a part of one of them.

Zeiler and Fergus, "Visualizing and understanding convolutional networks", 2014, section 4.2, with the cosine in the
place of a class. It asks the encoder itself, whatever it is, and so is what other methods are compared with.
"""

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from nearfar.contract import Encoder, Parts
from nearfar.contract import inputs as samples_of


def vector_of(encoder: Encoder, parts: Parts) -> Tensor:
    """The vector [dim] of the sample that has these parts."""
    whole = parts.without(torch.ones(1, len(parts), dtype=torch.bool, device=encoder.device))
    return encoder.vectors(samples_of.move(whole, encoder.device))[0].float()


def cosines_of(encoder: Encoder, parts: Parts, kept: Tensor, other: Tensor) -> Tensor:
    """The cosine with `other` [dim] of the sample with the parts that are `kept` `[m, P]`: [m] on the CPU."""
    found = []
    for some in torch.split(kept.to(encoder.device), encoder.embed_batch):
        vectors = encoder.vectors(samples_of.move(parts.without(some), encoder.device))
        found.append(cosine_similarity(vectors.float(), other[None]).cpu())
    return torch.cat(found) if found else torch.empty(0)


def occlusion(encoder: Encoder, parts: Parts, other: Tensor) -> Tensor:
    """By how much the cosine with `other` [dim] falls when each part is taken away: [P]."""
    kept = torch.cat([torch.ones(1, len(parts)).bool(), ~torch.eye(len(parts)).bool()])
    found = cosines_of(encoder, parts, kept, other)
    return found[0] - found[1:]
