"""The layers of an encoder in the order of their depth, and how each of them learns."""

from collections.abc import Mapping
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from nearfar.config import Optimisation
from nearfar.contract import Encoder
from nearfar.errors import ConfigError


def layers_of(network: nn.Module) -> list[list[str]]:
    """The names of a network's parameters, layer by layer, in the order in which they are defined.

    A layer is what a numbered part holds (`blocks.3.1`, `layer2.0`, `encoder.layer.11`); what stands unnumbered between
    two of these, such as a stem, is one too. Norms belong to what stands before them.
    """
    parameters = dict(network.named_parameters())
    found: list[list[str]] = []
    for _, members in groupby(parameters, _layer):
        names = list(members)
        if found and all(parameters[name].ndim < 2 for name in names):
            found[-1] += names
        else:
            found.append(names)
    return found


def settle(encoder: Encoder, given: Optimisation) -> None:
    """Tag the encoder's parameters with their learning rates, and fix its first `freeze` layers.

    The last layer has the rate `encoder_rate`, that of the heads being 1, and each one before it `layer_decay`
    times that of the next (Howard and Ruder, "Universal language model fine-tuning for text classification", 2018,
    section 3.2); a rate of its own that a parameter has is multiplied with these. Norms of fixed layers, or with
    `fix_norms` all, keep their statistics. Raises ConfigError where all layers were fixed.
    """
    layers, freeze = layers_of(encoder), given.freeze
    if freeze and freeze >= len(layers):
        raise ConfigError(f"freeze must be below {len(layers)}, the layers of this encoder, got {freeze}.")
    parameters = dict(encoder.named_parameters())
    for depth, names in enumerate(layers):
        for name in names:
            parameter = parameters[name]
            if depth < freeze:
                parameter.requires_grad_(False)
            own = getattr(parameter, "nearfar_tags", {})
            tags = {"rate": own.get("rate", 1.0) * given.encoder_rate * given.layer_decay ** (len(layers) - 1 - depth)}
            tags |= {"decay": False} if given.anchor else {}
            parameter.nearfar_tags = {**own, **tags}  # type: ignore[attr-defined]
    fixed = {name for names in layers[:freeze] for name in names}
    encoder.fixed = [
        module
        for name, module in encoder.named_modules()
        if isinstance(module, nn.modules.batchnorm._NormBase)
        and (given.fix_norms or any(f"{name}.{inner}" in fixed for inner, _ in module.named_parameters()))
    ]


def anchor(optimizer: Optimizer, starts: Mapping[nn.Parameter, Tensor], strength: float) -> None:
    """Before each step, take parameters the share `strength` of the way back to where they started.

    At less than the peak of the learning rate, the share is less by as much. Li et al., "Explicit inductive bias for
    transfer learning with convolutional networks", 2018 (L2-SP), eq. 1, decoupled from the gradient as weight decay is
    in AdamW; `settle` takes their other decay from these parameters.
    """

    @torch.no_grad()
    def pull(optimizer: Optimizer, args: object, kwargs: object) -> None:
        for group in optimizer.param_groups:
            some = [parameter for parameter in group["params"] if parameter in starts]
            if some and not group["frozen"]:
                share = strength * group["lr"] / group["peak"]
                torch._foreach_lerp_(some, [starts[parameter] for parameter in some], share)

    optimizer.register_step_pre_hook(pull)


def _layer(name: str) -> str:
    """`network.blocks.3.1.conv.weight` to `network.blocks.3.1`; a name without a number to nothing."""
    parts = name.split(".")
    start = next((i for i, part in enumerate(parts) if part.isdigit()), None)
    if start is None:
        return ""
    stop = next((i for i in range(start, len(parts)) if not parts[i].isdigit()), len(parts))
    return ".".join(parts[:stop])
