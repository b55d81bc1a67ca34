"""The options of pairs: their own, and those of the sides; imports nothing heavy, so that help stays quick."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from functools import cache
from typing import Any, get_type_hints

from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities import registry
from nearfar.options import Options, automatic, declared, option

JOINT_WIDTH = 256
_ENDS = ("least", "above", "most", "below")
"""Of the range of an option."""


@dataclass(frozen=True, kw_only=True)
class PairsOptions(Options):
    """How the two sides are found, and how their encoders meet."""

    sides: str = automatic("Kinds of the two sides, such as image,text; the first one is what is labelled and mapped.")
    side_columns: str = automatic(
        "Columns of the sides, such as image=file,text=name+keywords: of several, each is a right answer of its own."
    )
    frozen_sides: str | None = option(
        None, "Sides whose encoders stay as they are, such as image: their vectors are computed once."
    )
    joint_width: int = automatic("Length of the vectors that both sides are projected to.", least=1, most=65_536)
    templates: str = option(
        "{}", "What names of classes stand in for zero-shot, separated by |, such as 'a photo of {}|a drawing of {}'."
    )

    def check(self) -> None:
        """Each template has a place for the name."""
        read_templates(self.templates)


def with_sides(kinds: Mapping[str, type]) -> type:
    """The options of pairs together with those of all kinds of sides, by name: an option of both sides is one."""
    return _with_sides(tuple(kinds.items()))


@cache
def _with_sides(kinds: tuple[tuple[str, type], ...]) -> type:
    found: dict[str, tuple[Any, Any, Any]] = {}
    for _, kind in kinds:
        hints = get_type_hints(kind)
        for one in fields(kind):
            default = None if one.default is MISSING else one.default
            about = {**one.metadata, "of_sides": True}
            if one.name not in found:
                found[one.name] = hints[one.name], default, about
            elif found[one.name][:2] != (hints[one.name], default):  # each side has its own default, and its own range
                hint, _, before = found[one.name]
                alike = {end: about.get(end) if about.get(end) == before.get(end) else None for end in _ENDS}
                found[one.name] = hint | hints[one.name] | None, None, {**before, **alike}
    own = declared(PairsOptions)
    more = [
        (name, hint, field(default=default, metadata=about))
        for name, (hint, default, about) in found.items()
        if name not in own
    ]
    return make_dataclass("PairsOptions", more, bases=(PairsOptions,), frozen=True, kw_only=True)


def of_side(kind: type, options: Any) -> Any:
    """The options of one side's kind, as those of the pairs have them."""
    values = {name: getattr(options, name, None) for name in declared(kind)}
    return kind(**{name: value for name, value in values.items() if value is not None})


def check_of_sides(options: Any, kinds: Sequence[str]) -> None:
    """Raise ConfigError for an option that is given, and that none of these kinds of sides has."""
    having = {name for kind in kinds for name in declared(registry.options(kind))}
    for name, one in declared(type(options)).items():
        if one.about.get("of_sides") and name not in having and getattr(options, name) != one.default:
            raise ConfigError(f"{name} is no option of {' or '.join(kinds)}, which the sides are: leave it out.")


def read_templates(templates: str) -> tuple[str, ...]:
    """The sentences that `a photo of {}|a drawing of {}` names; raises ConfigError for one without a place."""
    found = tuple(one.strip() for one in templates.split("|"))
    for one in found:
        if "{}" not in one:
            raise ConfigError(f"templates must have {{}} where the name stands, got {one!r}.")
    return found


def names_of(kinds: Sequence[str]) -> tuple[str, ...]:
    """What the sides are called: by their kinds; of two of one kind, the second has a 2 behind it."""
    return tuple(kind if kind not in kinds[:i] else f"{kind}{i + 1}" for i, kind in enumerate(kinds))


def read_kinds(sides: str, known: Sequence[str]) -> tuple[str, str]:
    """The kinds that `image,text` names; raises ConfigError for another number of them, UnknownName."""
    kinds = [one.strip() for one in sides.split(",")]
    for kind in kinds:
        if kind not in known:
            raise UnknownName("side", kind, known)
    if len(kinds) != 2:
        raise ConfigError(f"sides must be two kinds such as image,text, got {sides!r}.")
    return kinds[0], kinds[1]


def read_sides(option: str, value: str | None, names: Sequence[str]) -> dict[str, str]:
    """What `image=resnet18,text=bag` says of each side, in any order; raises ConfigError for another form."""
    if not value:
        return {}
    marks = list(re.finditer(r"(?:^|,)\s*([\w-]+)\s*=", value))
    starts = [mark for mark in marks if mark[1] in names]
    if not starts or starts[0].start() != 0:
        wrong = marks[0][1] if marks and marks[0].start() == 0 else None
        if wrong is not None:
            raise UnknownName("side", wrong, names)
        shown = ",".join(f"{name}=..." for name in names)
        raise ConfigError(f"{option} says what each side has, {option}={shown}: got {value!r}.")
    ends = [mark.start() for mark in starts[1:]] + [len(value)]
    found: dict[str, str] = {}
    for mark, end in zip(starts, ends, strict=True):
        if mark[1] in found:
            raise ConfigError(f"{option} names the side {mark[1]!r} twice: {value!r}.")
        found[mark[1]] = value[mark.end() : end].strip()
    return found


def write_sides(values: Mapping[str, str]) -> str:
    """The text that `read_sides` reads."""
    return ",".join(f"{name}={value}" for name, value in values.items())


def read_frozen(sides: str | None, names: Sequence[str]) -> tuple[str, ...]:
    """The sides that `image` or `image,text` names; raises UnknownName."""
    found = tuple(one.strip() for one in (sides or "").split(",") if one.strip())
    for one in found:
        if one not in names:
            raise UnknownName("side", one, names)
    return found
