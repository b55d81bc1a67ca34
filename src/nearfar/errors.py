"""Every error that a user can meet.

NearfarError            carries the exit code of the command line
├── UserError           2: something asked for cannot be; says what, where, and what to do
│   ├── ConfigError     an option is out of range, or two options contradict
│   │   └── UnknownName no method, encoder, modality ... has that name
│   ├── DataError       an input file, folder, row or batch cannot be used
│   ├── RunError        a run folder is taken, empty, damaged or of another version
│   └── OutputError     a file or folder cannot be written where it was asked for
├── MissingExtra        2: a package of an extra is not installed
├── MachineError        1: the machine fell short (a full disk, no memory left)
└── TrainingError       1: a run cannot go on (a loss that is not finite)
"""

import difflib
from collections.abc import Iterable

_SHOWN = 60  # more names than this are no help


class NearfarError(Exception):
    """The base of all errors raised on purpose; its text is meant for the user."""

    exit_code = 1


class UserError(NearfarError, ValueError):
    """A mistake in what was asked for: nothing was done."""

    exit_code = 2


class ConfigError(UserError):
    """An option is out of range, or contradicts another."""


class UnknownName(ConfigError):
    """No `kind` has the name `name`; suggests the nearest of `known`, else where they are `listed`, or all of them."""

    def __init__(self, kind: str, name: str, known: Iterable[str], *, listed: str = ""):
        names = sorted(known)
        close = difflib.get_close_matches(name, names, n=1)
        more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
        every = f"{listed} shows all." if listed else f"Choose from: {', '.join(names[:_SHOWN])}{more}."
        hint = f"Did you mean {close[0]!r}?" if close else every
        super().__init__(f"No {kind} is named {name!r}. {hint}")


class DataError(UserError):
    """An input cannot be used: the text names the file, row or column."""


class RunError(UserError):
    """A run folder cannot be used as asked."""


class OutputError(UserError):
    """A file or folder cannot be written where it was asked for."""


class MissingExtra(NearfarError, ImportError):
    """`what` needs `package`, which comes with the extra `extra`."""

    exit_code = 2

    def __init__(self, what: str, package: str, extra: str):
        super().__init__(f"{what} needs the package {package!r}: pip install 'nearfar[{extra}]'")


class MachineError(NearfarError, RuntimeError):
    """The machine fell short: a full disk, no memory left; the text says what is kept and how to go on."""


class TrainingError(NearfarError, RuntimeError):
    """A run cannot go on; what was trained so far is kept."""


def must(ok: bool, what: str, *, got: object) -> None:
    """Check one setting: `must(x > 0, "temperature must be > 0", got=x)` raises ConfigError."""
    if not ok:
        raise ConfigError(f"{what}, got {got!r}.")
