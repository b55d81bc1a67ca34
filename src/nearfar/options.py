"""What all option classes share: a field is declared once, and its checks, its flag, its help and config.toml follow.

    @dataclass(frozen=True, kw_only=True)
    class Optimisation(Options):
        batch_size: int = automatic("Samples a step, over all processes.", least=2)
        clip: float | None = option(None, "Largest norm of the gradient; off when not given.", above=0)

`option` has a default. `automatic` is chosen for the data and the machine where it is not given: None until `Settling`
has chosen it, and of its type from then on.
"""

from __future__ import annotations

import csv
import math
import os
import types
from collections.abc import Collection, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, Generic, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from nearfar.errors import ConfigError, UnknownName

T = TypeVar("T")
Given = TypeVar("Given")

MOST = 2**63 - 1
"""The largest whole number that config.toml can hold."""
_WORDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


@dataclass(frozen=True)
class Span:
    """Where the values of an option lie that are worth trying (`nearfar tune`): from `low` to `high`, both included.

    With `log` all factors are as likely, else all values. With `times` they are in units of what is chosen where the
    option is not given.
    """

    low: float
    high: float
    log: bool = False
    times: bool = False


def option(
    default: T,
    help: str,
    *,
    least: float | None = None,
    above: float | None = None,
    most: float | None = None,
    below: float | None = None,
    reason: str = "",
    off: str = "",
    basic: bool = False,
    **more: Any,
) -> T:
    """A field of an option class.

    Numbers lie in [`least`, `most`], or in (`above`, `below`); `reason` is added to the message where they do not.
    `off` is the help of the flag that switches off what is on by default. `basic` options are in the short help. `more`
    is for the command line (`nearfar.cli.form`), but for `before`: what the option is in runs that go on and were
    made before there was the option; and `tuned`, a `Span`: what `nearfar tune` tries.
    """
    about = dict(help=help, least=least, above=above, most=most, below=below, reason=reason, off=off, basic=basic)
    found: Any = field(default=default, metadata={**about, **more})
    return found  # type: ignore[no-any-return]


def automatic(help: str, **declared: Any) -> Any:
    """A field that is None until it is settled; its annotation is its type from then on. See `option`."""
    return option(None, help, automatic=True, **declared)


@dataclass(frozen=True)
class Option:
    """A declared field: the plain types or the choices that a value has, and its range."""

    name: str
    kinds: tuple[type, ...] = ()
    choices: tuple[Any, ...] = ()
    """The values of a Literal."""
    optional: bool = False
    """None is a value, too."""
    default: Any = None
    required: bool = False
    about: Mapping[str, Any] = field(default_factory=dict)
    """What `option` was told."""

    @property
    def automatic(self) -> bool:
        """Whether the program chooses it where it is not given."""
        return bool(self.about.get("automatic"))

    def read(self, value: Any) -> Any:
        """`value` as a plain value of this option: numpy's scalars and paths are taken. Raises ConfigError."""
        if value is None and self.optional:
            return None
        if isinstance(value, os.PathLike):
            value = os.fspath(value)
        elif isinstance(value, list | tuple) and self.about.get("listed") and all(isinstance(n, str) for n in value):
            value = ",".join(
                '"' + name.replace('"', '""') + '"' if "," in name or '"' in name else name for name in value
            )
        elif hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # numpy's and torch's scalars
            value = value.item()
        if isinstance(value, str | int) and not isinstance(value, bool) and value in self.choices:
            return value
        if self.choices and not self.kinds:
            raise UnknownName(f"choice for {self.name}", str(value), map(str, self.choices))
        if float in self.kinds and isinstance(value, int) and not isinstance(value, bool):
            value = float(value) if abs(value) <= MOST else math.inf
        if not isinstance(value, self.kinds) or (isinstance(value, bool) and bool not in self.kinds):
            wanted = [str(choice) for choice in self.choices] + [_WORDS.get(kind, kind.__name__) for kind in self.kinds]
            raise ConfigError(f"{self.name} must be {' or '.join(wanted)}, got {value!r}.")
        if isinstance(value, str) and "\0" in value:
            raise ConfigError(f"{self.name} must be text without a NUL character, got {value!r}.")
        if isinstance(value, int | float) and not isinstance(value, bool):
            self._check_range(value)
        return value

    def parse(self, text: str) -> Any:
        """The value that a word of the command line stands for; raises ConfigError."""
        value: Any = text
        for kind in (int, float):
            if kind in self.kinds and text not in self.choices:
                try:
                    value = kind(text)
                except ValueError:
                    continue
                break
        return self.read(value)

    def _check_range(self, value: float) -> None:
        least, above, most, below = (self.about.get(name) for name in ("least", "above", "most", "below"))
        low = (least is None or value >= least) and (above is None or value > above)
        high = (most is None or value <= most) and (below is None or value < below)
        has_low, has_high = (least, above) != (None, None), (most, below) != (None, None)
        if isinstance(value, float) and not math.isfinite(value):
            must_be = "a finite number"
        elif isinstance(value, int) and abs(value) > MOST:
            must_be = "below 2^63"
        elif low and high:
            return
        elif has_low and has_high and isinstance(value, float):
            start = f"({above:g}" if least is None else f"[{least:g}"
            must_be = f"in {start}, {below:g})" if most is None else f"in {start}, {most:g}]"
        elif not low:
            must_be = f"above {above:g}" if least is None else f"at least {least:g}"
        else:
            must_be = f"below {below}" if most is None else f"at most {most}"
        raise ConfigError(f"{self.name} must be {must_be}{self.about.get('reason', '')}, got {value!r}.")


def listed(text: str | None) -> tuple[str, ...]:
    """Names parted by commas; one with a comma in it stands in double quotes. A `listed` option takes a list, too."""
    names = () if text is None else next(csv.reader([text], skipinitialspace=True), [])
    return tuple(name.strip() for name in names if name.strip())


_KNOWN: dict[type, Mapping[str, Option]] = {}


def declared(kind: type) -> Mapping[str, Option]:
    """The options of an option class, or of any dataclass, by name."""
    if kind not in _KNOWN:
        hints = get_type_hints(kind)
        _KNOWN[kind] = {f.name: _declared(f.name, hints[f.name], f.default, f.metadata) for f in fields(kind)}
    return _KNOWN[kind]


def _declared(name: str, hint: Any, default: Any, about: Mapping[str, Any]) -> Option:
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    choices = [value for part in parts if get_origin(part) is Literal for value in get_args(part)]
    plain = [get_origin(part) or part for part in parts if get_origin(part) is not Literal and part is not type(None)]
    kinds = [object] if Any in plain else plain
    optional = type(None) in parts or default is None
    return Option(name, tuple(kinds), tuple(choices), optional, default, default is MISSING, about)


@dataclass(frozen=True, kw_only=True)
class Options:
    """The base of all option classes: frozen dataclasses of plain values, checked when they are made."""

    def __post_init__(self) -> None:
        for name, one in declared(type(self)).items():
            object.__setattr__(self, name, one.read(getattr(self, name)))
        self.check()

    def check(self) -> None:
        """Raise ConfigError for options that contradict each other."""

    @property
    def settled(self) -> bool:
        """Whether nothing is left to be chosen."""
        return not any(one.automatic and getattr(self, name) is None for name, one in declared(type(self)).items())


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What automatic settings may depend on: the budget's `seconds` or `steps` or `epochs`, and the machine.

    `labelled` of the samples have a label that the method may learn from, and `held` have one that is kept back to
    judge by; `classes` is the number of names that they have. `weights` is what published weights to start from are
    named by, `hub` or a file; None where there are none. `targets` is the length of the vectors that a teacher gives
    for each sample; 0 without one. `batch_size` is None where it was not given. `paired` says that views are compared
    with those of another kind, which may speak of what strong views change. `scored` says that the method learns from
    scores of pairs, which are of whole samples.
    """

    samples: int
    labelled: int = 0
    held: int = 0
    classes: int = 0
    device: str
    threads: int
    seconds: float | None = None
    steps: int | None = None
    epochs: int | None = None
    weights: str | None = None
    targets: int = 0
    batch_size: int | None = None
    paired: bool = False
    scored: bool = False


UNKNOWN = Facts(samples=5_000, device="cpu", threads=1)
"""What automatic settings reckon with where nothing is known of the data."""


@dataclass(frozen=True)
class Choice:
    """A setting that was chosen for the user, and why."""

    name: str
    value: Any
    why: str


class Settling(Generic[Given]):
    """Options that are being filled in, and the choices made so far."""

    def __init__(self, options: Given) -> None:
        self.options = options
        self.choices: list[Choice] = []

    def choose(self, name: str, value: Any, why: str) -> None:
        """Set the option to `value` where it was not given: it is None, or "auto"."""
        if getattr(self.options, name) in (None, "auto"):
            self.put(name, value, why)

    def put(self, name: str, value: Any, why: str) -> None:
        """Set the option to `value`, whatever it is; without a reason it is not listed as a choice."""
        self.options = replace(self.options, **{name: value})  # type: ignore[type-var]
        if why:
            self.choices.append(Choice(name, value, why))


def text(config: Mapping[str, Any], name: str, among: Collection[str] = ()) -> str:
    """A text of an encoder's config, which may be altered: one of those `among`, where given. Raises ConfigError."""
    return str(Option(name, () if among else (str,), tuple(among)).read(config.get(name)))


def whole(config: Mapping[str, Any], name: str, *, least: int = 1, most: int | None = None) -> int:
    """A whole number of an encoder's config, at least `least`; raises ConfigError."""
    return int(Option(name, (int,), about={"least": least, "most": most}).read(config.get(name)))


def numbers(config: Mapping[str, Any], name: str, count: int) -> list[float]:
    """A list of `count` finite numbers of an encoder's config; raises ConfigError."""
    found: Any = config.get(name)
    if not isinstance(found, list) or len(found) != count or not all(map(is_number, found)):
        raise ConfigError(f"{name} must be a list of {count} numbers, got {found!r:.200}.")
    return list(found)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
