"""Low-rank adapters: a fixed network learns by small matrices beside its linear layers.

Hu et al., "LoRA: Low-rank adaptation of large language models", 2021, section 4.1; the matrices are peft's.
"""

import copy
from typing import TypeVar

from torch import nn

from nearfar.errors import ConfigError, MissingExtra

_Network = TypeVar("_Network", bound=nn.Module)


def add_adapters(network: nn.Module, rank: int, name: str) -> None:
    """Fix a transformer's weights, and put adapters of this rank beside its linear layers; scaled by two.

    Raises ConfigError for the encoder `name` where there are no such layers, MissingExtra without peft.
    """
    layers = [at for at, module in network.named_modules() if isinstance(module, nn.Linear)]
    if not layers:
        raise ConfigError(f"lora is for transformers: {name!r} has no linear layers. Leave it out.")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise MissingExtra("lora", "peft", "text") from None
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=layers), network)
    for parameter in (one for at, one in network.named_parameters() if "lora_" not in at):
        parameter.requires_grad_(False)


def merged(network: _Network) -> _Network:
    """A network without adapters, of which what they learnt is added to the layers beside them."""
    try:
        from peft.tuners.lora import LoraLayer
    except ImportError:
        return network
    found = copy.deepcopy(network)
    for name, module in list(found.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge()
            parent, _, last = name.rpartition(".")
            setattr(found.get_submodule(parent), last, module.get_base_layer())
    return found
