"""Objects of a user's own in the place of names: data, a network, a method, a function that makes views.

Settings are plain text: they are written to config.toml and sent between ranks. So an object goes by a name there, and
is held here, as long as the call lasts that was given it, to be looked up where it is used.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from os import PathLike
from typing import Any

from nearfar.errors import ConfigError

_PREFIX = "given as an object: "
_OPTIONS = {
    "data": "data",
    "encoder": "the network that is its encoder",
    "method": "the class of its method",
    "views": "the function that makes its views",
}
"""The options that may be objects, and what they are to a run."""

_held: dict[tuple[str, str], Any] = {}

Hold = Callable[..., Any]


@contextmanager
def holding() -> Iterator[Hold]:
    """Gives `hold(option, value, name=None)`, which returns the name that an object goes by as long as this lasts.

    What is a name or a path itself is returned as it is.
    """
    before = dict(_held)

    def hold(option: str, value: Any, name: str | None = None) -> Any:
        if value is None or isinstance(value, str | PathLike):
            return value
        name = name or _PREFIX + _described(option, value)
        _held[option, name] = value
        return name

    try:
        yield hold
    finally:
        _held.clear()
        _held.update(before)


def adopted(options: Mapping[str, Any], hold: Hold) -> dict[str, Any]:
    """The options of a run with names for objects; of a method, its class, and its options where they are not given."""
    found = dict(options)
    method = found.get("method")
    if method is not None and not isinstance(method, str | type):
        own = getattr(method, "options", None)
        declared = {field.name: getattr(own, field.name) for field in fields(own)} if is_dataclass(own) else {}
        found = declared | found | {"method": type(method)}
    return {name: hold(name, value) if name in _OPTIONS else value for name, value in found.items()}


def is_given(name: object) -> bool:
    """Whether a name stands for an object."""
    return isinstance(name, str) and name.startswith(_PREFIX)


def get(option: str, name: str) -> Any:
    """The object that goes by this name; raises ConfigError where it is not held, and says that it must be given."""
    if (option, name) not in _held:
        raise ConfigError(
            f"This run was given {_OPTIONS[option]} as an object ({name.removeprefix(_PREFIX)}), which is not saved "
            f"with it: give it again, as {option}=..."
        )
    return _held[option, name]


def short(name: str) -> str:
    """The name without the words before it."""
    return name.removeprefix(_PREFIX)


def _described(option: str, value: Any) -> str:
    """A class's or function's name, and of data its size."""
    name = getattr(value, "__name__", type(value).__name__)
    if option != "data":
        return str(name)
    if isinstance(value, tuple) and len(value) == 2 and hasattr(value[0], "shape"):
        return f"{_described(option, value[0])} with labels"
    if hasattr(value, "shape"):
        kind = f" {value.dtype}" if hasattr(value, "dtype") else ""
        return f"{name} {'x'.join(map(str, value.shape))}{kind}"
    return f"{name} of {len(value)}" if hasattr(value, "__len__") else str(name)
