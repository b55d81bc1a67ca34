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

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from nearfar.contract import Batch, Encoder, Latents, Losses, Requirements
from nearfar.errors import must
from nearfar.losses import dcl, debiased, hcl, nt_xent
from nearfar.methods.projected import Projected, ProjectorOptions
from nearfar.options import Choice, Facts, Settling

Variant = Literal["nt_xent", "decoupled", "debiased", "hard"]


@dataclass(frozen=True, kw_only=True)
class SimCLROptions(ProjectorOptions):
    """Options of simclr; None stands for automatic."""

    temperature: float | None = None
    """Softmax temperature; lower weighs the hardest negatives more."""
    variant: Variant = "nt_xent"
    """What a positive is weighed against: all other views, negatives alone, debiased ones, or those by hardness."""
    tau_plus: float | None = None
    """Chance that a negative is of the anchor's own class, in [0, 1), for debiased and hard."""
    beta: float | None = None
    """How much more the nearest negatives weigh, for hard; 0 weighs all alike."""

    def __post_init__(self) -> None:
        super().__post_init__()
        must(self.temperature is None or self.temperature > 0, "temperature must be above 0", got=self.temperature)
        known = get_args(Variant)
        must(self.variant in known, f"variant must be one of {', '.join(known)}", got=self.variant)
        tau_plus, beta = self.tau_plus or 0.0, self.beta or 0.0
        must(0 <= tau_plus < 1, "tau_plus must be in [0, 1)", got=tau_plus)
        must(0 <= beta < math.inf, "beta must be 0 or more", got=beta)
        has_tau_plus, has_beta = self.variant in ("debiased", "hard"), self.variant == "hard"
        must(
            tau_plus == 0 or has_tau_plus, f"tau_plus needs variant debiased or hard, not {self.variant}", got=tau_plus
        )
        must(beta == 0 or has_beta, f"beta needs variant hard, not {self.variant}", got=beta)


class SimCLR(Projected):
    """An encoder with a projector, under NT-Xent or a variant of it."""

    Options = SimCLROptions
    ring: ClassVar[Mapping[str, Any]] = {"variant": "nt_xent"}
    requires = Requirements(wide=2)
    options: SimCLROptions

    @classmethod
    def settle(cls, options: Any, facts: Facts, encoder: Encoder) -> tuple[Any, list[Choice]]:
        """Fill in what was not given: the hidden layer as wide as makes sense, the temperature of small batches."""
        options, choices = super().settle(options, facts, encoder)
        settling = Settling(options)
        settling.choose("temperature", 0.2, "what batches of a few hundred learn best from")
        debiased, hard = options.variant in ("debiased", "hard"), options.variant == "hard"
        settling.choose("tau_plus", 0.1 if debiased else 0.0, "the chance where there are ten classes alike in size")
        settling.choose("beta", 1.0 if hard else 0.0, "near negatives weigh as their similarity says")
        return settling.options, choices + [choice for choice in settling.choices if choice.value]  # 0: not of this one

    def loss(self, z: Latents, batch: Batch) -> Losses:
        """NT-Xent, or its variant, of the own rows against all ranks' views."""
        options = self.options
        shared: dict[str, Any] = {"temperature": options.temperature, "ids": batch.ids, "rows": batch.rows}
        weighed: dict[str, Any] = {"tau_plus": options.tau_plus, **shared}
        one, two = z["z"][0], z["z"][1]
        match options.variant:
            case "nt_xent":
                return Losses(nt_xent(one, two, ring=batch.ring, **shared))
            case "decoupled":
                return Losses(dcl(one, two, **shared))
            case "debiased":
                return Losses(debiased(one, two, **weighed))
            case "hard":
                return Losses(hcl(one, two, **weighed | {"beta": options.beta}))


METHOD = SimCLR
