"""torch.compile for an encoder's network alone; where it fails, the network runs as it is and a warning says so.

Views, sampling and losses are never traced: what is compiled are the modules that the encoder is made of.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

_log = logging.getLogger("nearfar")


def compile_network(encoder: nn.Module, *args: Any, **kwargs: Any) -> None:
    """Compile each child module of `encoder` that has parameters, at its first call (which takes long).

    An error of the compiler, then or at a later call, is logged, and the module runs uncompiled from then on. The
    state dict and copies of the encoder are as they were; copies are not compiled. The arguments are those of
    `torch.compile`.
    """
    from torch._functorch import config

    # The backward pass too is compiled at the first call, within reach of the fallback.
    config.force_non_lazy_backward_lowering = True
    for child in encoder.children():
        if any(True for _ in child.parameters()):
            # What `nn.Module.compile` sets: neither pickled nor copied.
            child._compiled_call_impl = _Compiled(child, *args, **kwargs)


class _Compiled:
    """A module's call, compiled; uncompiled after the first error of the compiler."""

    def __init__(self, module: nn.Module, *args: Any, **kwargs: Any) -> None:
        self._module = module
        self._plain: Callable[..., Any] = module._call_impl
        self._compiled: Callable[..., Any] = torch.compile(module._call_impl, *args, **kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return self._compiled(*args, **kwargs)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # torch's compilers raise nearly anything
            found = self._plain(*args, **kwargs)  # an error of the network itself is raised here
            self._module._compiled_call_impl = None
            reason = " ".join(str(error).split("\n\n")[0].split())[:200]
            _log.warning("The network cannot be compiled here (%s): it runs uncompiled.", reason)
            return found
