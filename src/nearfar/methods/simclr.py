"""SimCLR: two views of a sample attract, the views of all other samples of the batch repel.

Chen et al., "A simple framework for contrastive learning of visual representations", 2020, eq. 1 and algorithm 1:
z = projector(encoder(view)), loss = NT-Xent over the 2N projected views.

Differs from the paper: samples of equal content (`ids`) are not each other's negatives; hidden width and temperature
follow the size of the data and the batch when not given.

`variant` changes the sum that a positive is weighed against. decoupled: the positive is left out of it (Yeh et al.,
"Decoupled contrastive learning", 2022, eq. 6). debiased: the share `tau_plus` of negatives that are of the anchor's own
class is taken off (Chuang et al., "Debiased contrastive learning", 2020, eq. 7 and 8). hard: besides, negatives weigh
by e^(beta s / t), the nearest the most (Robinson et al., "Contrastive learning with hard negative samples", 2021,
section 3).

Masked views are an option of images, beside crops and colours: `--mask 1 --mask-views later` compares a picture with
its masked self, `--mask 1` masks both views. With `--crop-scale 1 --flip 0 --jitter 0 --greyscale 0 --blur 0` nothing
but masks is left.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.losses import dcl, debiased, hcl, nt_xent
from nearfar.methods.heads import Projected
from nearfar.methods.options import SimCLROptions
from nearfar.options import Facts, Settling


class SimCLR(Projected):
    """An encoder with a projector, under NT-Xent or a variant of it."""

    Options = SimCLROptions
    ring: ClassVar[Mapping[str, Any]] = {"variant": "nt_xent"}
    requires = Requirements(wide=2)
    options: SimCLROptions

    @classmethod
    def choose(cls, settling: Settling[SimCLROptions], facts: Facts, encoder: Encoder) -> None:
        """The temperature of small batches, and what the variant has."""
        super().choose(settling, facts, encoder)
        settling.choose("temperature", 0.2, "what batches of a few hundred learn best from")
        debiased, hard = settling.options.variant in ("debiased", "hard"), settling.options.variant == "hard"
        ten = "the chance where there are ten classes alike in size"
        settling.choose("tau_plus", *((0.1, ten) if debiased else (0.0, "")))
        settling.choose("beta", *((1.0, "near negatives weigh as their similarity says") if hard else (0.0, "")))

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """NT-Xent, or its variant, of the own rows against all ranks' views."""
        options = self.options
        shared: dict[str, Any] = {"temperature": options.temperature, "ids": batch.ids, "rows": batch.rows}
        one, two = z["z"][0], z["z"][1]
        match options.variant:
            case "nt_xent":
                return Losses(nt_xent(one, two, ring=batch.ring, **shared))
            case "decoupled":
                return Losses(dcl(one, two, **shared))
            case "debiased":
                return Losses(debiased(one, two, tau_plus=options.tau_plus, **shared))
            case "hard":
                return Losses(hcl(one, two, tau_plus=options.tau_plus, beta=options.beta, **shared))


METHOD = SimCLR
