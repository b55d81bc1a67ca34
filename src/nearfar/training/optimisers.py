"""The optimisers of a run, which parameters they treat otherwise, and their state as named tensors.

A parameter says how it differs by an attribute, `parameter.nearfar_tags = {...}`, with any of

    decay         False: free of weight decay (biases, norms and scalars are, without being tagged)
    fixed_lr      True: its rate stays at the peak (SimSiam's predictor)
    rate          its rate in units of the others', under any optimiser (layers of an encoder that was trained before)
    frozen_until  the share of the run before which it does not move (prototypes, logit scale)
    sgd_rate      its rate in units of the others', under sgd and lars: their steps grow with the gradient, and that of
                  a scalar sums over a whole batch (logit scale, bias); adamw's steps do not, and take no notice
"""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW, Optimizer

from nearfar.errors import RunError, UnknownName
from nearfar.training.lars import LARS

MOMENTUM = 0.9
BETAS = (0.9, 0.95)
"""AdamW's: 0.95 forgets a gradient's size within 20 steps, as in MAE (He et al. 2022) and SigLIP (Zhai et al. 2023);
0.999 would remember it longer than a short run lasts."""

_TAGS = {"rate": 1.0, "decay": True, "fixed_lr": False, "frozen_until": 0.0, "sgd_rate": 1.0}
_FUSED_ON = ("cpu", "cuda")


def build(
    method: nn.Module, *, name: Literal["sgd", "lars", "adamw"] | str, lr: float, weight_decay: float
) -> Optimizer:
    """The optimiser of all parameters that want gradients; raises UnknownName.

    sgd: Nesterov momentum 0.9; lars: momentum 0.9, eta 0.001; adamw: betas 0.9 and 0.95, decoupled decay.
    """
    groups = _groups(method, lr, weight_decay, adaptive=name == "adamw")
    kinds = {parameter.device.type for group in groups for parameter in group["params"]}
    fused = True if kinds <= set(_FUSED_ON) else None
    optimizer: Optimizer
    if name == "sgd":
        optimizer = SGD(groups, lr, momentum=MOMENTUM, nesterov=True, fused=fused)
        _fill_buffers(optimizer)
    elif name == "lars":
        optimizer = LARS(groups, lr, momentum=MOMENTUM)
    elif name == "adamw":
        optimizer = AdamW(groups, lr, betas=BETAS, fused=fused)
    else:
        raise UnknownName("optimizer", name, ("sgd", "lars", "adamw"))
    optimizer.register_step_pre_hook(_before_step)
    return optimizer


def state_tensors(optimizer: Optimizer, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """The optimiser's state as `parameter/entry` -> tensor: its own tensors, to be written before the next step."""
    return {
        f"{name}/{entry}": value.detach()
        for name, parameter in parameters.items()
        for entry, value in optimizer.state.get(parameter, {}).items()
        if isinstance(value, Tensor)
    }


@torch.no_grad()
def load_state_tensors(
    optimizer: Optimizer, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Fill the optimiser with what `state_tensors` gave; raises RunError where it does not fit the parameters."""
    optimised = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        name, _, entry = key.rpartition("/")
        parameter = parameters.get(name)
        if parameter is None or id(parameter) not in optimised:
            raise RunError(f"The checkpoint's optimiser holds {name!r}, which this run does not train.")
        if entry != "step" and value.shape != parameter.shape:
            raise RunError(
                f"The checkpoint's optimiser state of {name!r} has shape {list(value.shape)}, the parameter "
                f"{list(parameter.shape)}: it belongs to another encoder or method."
            )
        found.setdefault(name, {})[entry] = value
    entries = {"step", "exp_avg", "exp_avg_sq"} if isinstance(optimizer, AdamW) else {"momentum_buffer"}
    wrong = next((name for name, state in found.items() if state.keys() != entries), None)
    if wrong is not None:
        raise RunError(
            f"The checkpoint's optimiser is another: {wrong!r} has {', '.join(sorted(found[wrong]))}, "
            f"{type(optimizer).__name__} keeps {', '.join(sorted(entries))}."
        )
    fused = any(group.get("fused") for group in optimizer.param_groups)
    for name, parameter in parameters.items():
        if id(parameter) not in optimised:
            continue
        optimizer.state.pop(parameter, None)
        for entry, value in found.get(name, {}).items():
            if entry == "step":  # torch keeps it on the processor, but beside the weights when fused
                restored = value.to(parameter.device if fused else "cpu", copy=True)
            else:
                restored = torch.empty_like(parameter, requires_grad=False).copy_(value)  # in the parameter's layout
            optimizer.state[parameter][entry] = restored
    if isinstance(optimizer, SGD):
        _fill_buffers(optimizer)


def _groups(method: nn.Module, lr: float, weight_decay: float, *, adaptive: bool) -> list[dict[str, Any]]:
    groups: dict[tuple[Any, ...], dict[str, Any]] = {}
    for name, parameter in method.named_parameters():
        if not parameter.requires_grad:
            continue
        given: Mapping[str, Any] = getattr(parameter, "nearfar_tags", {})
        assert not given.keys() - _TAGS.keys(), f"{name} has unknown tags {sorted(given.keys() - _TAGS.keys())}"
        tags = {**_TAGS, **given}
        tags["decay"] = tags["decay"] and parameter.ndim > 1
        rate = tags["rate"] * (1.0 if adaptive else tags["sgd_rate"])
        group = groups.setdefault(
            tuple(tags.values()),
            {
                "params": [],
                "lr": rate * lr,
                "peak": rate * lr,
                "rate": rate,
                "weight_decay": weight_decay if tags["decay"] else 0.0,
                "fixed_lr": tags["fixed_lr"],
                "frozen_until": tags["frozen_until"],
                "frozen": False,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def _fill_buffers(optimizer: SGD) -> None:
    """Start momentum from zeros, which is torch's own first step.

    Without, the fused step fails where some parameters of a group get their first gradient later than others.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if "momentum_buffer" not in optimizer.state[parameter]:
                optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)


def _before_step(optimizer: Optimizer, args: Any, kwargs: Any) -> None:
    """Frozen parameters lose their gradients; gradients take their parameter's memory layout.

    torch's fused steps read both as they lie in memory: a contiguous gradient of a channels_last weight is applied to
    the wrong entries, without an error.
    """
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            grad = parameter.grad
            if grad is None:
                continue
            if group["frozen"]:
                parameter.grad = None
            elif grad.stride() != parameter.stride():
                parameter.grad = torch.empty_like(parameter, requires_grad=False).copy_(grad)
