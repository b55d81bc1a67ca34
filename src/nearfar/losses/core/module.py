"""Modules of loss functions, made from their fields: the settings."""

import dataclasses
import inspect
import typing
from collections.abc import Callable
from typing import Any, ClassVar, Self, dataclass_transform

from torch import Tensor, nn

from nearfar.losses.core.settings import Rule, rules_of, settle


@dataclass_transform(eq_default=False)
class LossModule(nn.Module):
    """A loss function with settings: `class NTXentLoss(LossModule, of=nt_xent)`, whose fields are its settings.

    Fields are attributes, arguments of `__init__` in their order, and checked as the function's settings are by what
    their annotations say. A setting that is a Parameter is one of the module's. What else the function takes is given
    to `forward`.
    """

    _function: ClassVar[Callable[..., Tensor]]
    _accepted: ClassVar[frozenset[str]]
    _fields: ClassVar[tuple[str, ...]] = ()
    _rules: ClassVar[dict[str, Rule]]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A module before its fields are set, as parameters need it to be."""
        self = super().__new__(cls)
        nn.Module.__init__(self)
        return self

    def __init_subclass__(cls, of: Callable[..., Tensor] | None = None) -> None:
        super().__init_subclass__()
        made = "__init__" not in cls.__dict__
        dataclasses.dataclass(eq=False, repr=False)(cls)
        cls._fields = tuple(field.name for field in dataclasses.fields(cls))  # type: ignore[arg-type]
        cls._rules = {name: rule for name, rule in rules_of(cls).items() if name in cls._fields}
        for name in cls._fields:
            if name in cls.__dict__:  # a default, which would stand in the way of a parameter
                delattr(cls, name)
        if made:  # help shows plain types
            cls.__init__.__annotations__ = typing.get_type_hints(cls.__init__) | {"return": None}
            cls.__init__.__doc__ = "Take the settings."
        if of is not None:
            cls._function = staticmethod(of)
            cls._accepted = frozenset(inspect.signature(of).parameters)
            if cls.forward is nn.Module.forward:
                cls.forward = _forward_of(cls, of)

    def __post_init__(self) -> None:
        """Check the settings."""
        self.check_settings()

    def check_settings(self) -> None:
        """Raise ConfigError for a field out of range."""
        settle(self._rules, {name: getattr(self, name, None) for name in self._rules})

    def compute(self, *inputs: Any, **options: Any) -> Tensor:
        """The function of these inputs and options, with the fields that it takes as settings."""
        settings = {name: getattr(self, name) for name in self._fields if name in self._accepted}
        return type(self)._function(*inputs, **settings, **options)

    def extra_repr(self) -> str:
        """Show the settings."""
        shown = {name: getattr(self, name, None) for name in self._fields}
        return ", ".join(f"{k}={v!r}" for k, v in shown.items() if not isinstance(v, (Tensor, nn.Module)))


def _forward_of(cls: type[LossModule], function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def forward(self: LossModule, *inputs: Any, **options: Any) -> Tensor:
        return self.compute(*inputs, **options)

    signature = inspect.signature(function)
    mine = [p for name, p in signature.parameters.items() if name not in cls._fields]
    itself = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    forward.__signature__ = signature.replace(parameters=[itself, *mine])  # type: ignore[attr-defined]
    forward.__doc__ = f"`{function.__name__}` of these inputs, with the settings of the module."
    return forward
