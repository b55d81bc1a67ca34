"""From the words of a command line to a form and the options that were given. Needs no torch.

Every option has one flat flag, whatever its section. Only what was given is handed on, so that defaults of the command
line never hide what a config file or an earlier run says.
"""

import contextlib
import io
import itertools
import re
import types
from collections.abc import Sequence
from dataclasses import MISSING, dataclass, field, fields, make_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import tyro
from tyro.conf import (
    DisallowNone,
    Fixed,
    FlagCreatePairsOff,
    OmitArgPrefixes,
    Positional,
    PositionalMetavarFromFieldName,
    Suppress,
    arg,
)

from nearfar.cli import COMMANDS
from nearfar.cli.forms import FORMS, Common, Train
from nearfar.config import SECTIONS
from nearfar.errors import ConfigError, UnknownName

_SHORT = {"out": ("-o",), "k": ("-k",)}
_SPELLED = {"within": "in"}


@dataclass(frozen=True)
class Command:
    """A parsed command line: its `form`, and of all options only those `given`, by name."""

    name: str
    form: Any
    given: dict[str, Any]


def parse(words: Sequence[str]) -> Command | None:
    """The command that `words` ask for; None when its help was asked for and printed. Raises ConfigError."""
    name, *rest = words
    return _train(rest) if name == "train" else _filled(name, FORMS[name], {}, rest)


def _train(words: list[str]) -> Command | None:
    from nearfar.methods import registry as methods
    from nearfar.modalities import registry as modalities

    asked_for_help = any(word in ("-h", "--help") for word in words)
    modality = _value(words, "modality")
    sections = dict(SECTIONS)
    for name in modalities.MODALITIES if modality is None else [modalities.known(modality)]:
        sections[name] = modalities.options(name)

    method = _value(words, "method")
    if asked_for_help and method is None:
        command = _filled("train", Train, sections, words)
        print(f"methods:                {', '.join(methods.METHODS)}")
        print("options of a method:    nearfar train --method NAME --help")
        return command
    method = methods.known(method or _method_before(words))
    # A method's own options are known once its file is imported, and torch with it: only when there is need.
    if asked_for_help or _unknown(words, _flags({"run": Train, **sections})):
        sections[method] = methods.load(method).Options
        for unknown in _unknown(words, _flags({"run": Train, **sections})):
            methods.check_own(unknown.removeprefix("--").removeprefix("no-").replace("-", "_"), method)
    return _filled("train", Train, sections, words)


def _filled(name: str, form: type[Common], sections: dict[str, type], words: list[str]) -> Command | None:
    parts = {"run": form, **sections}
    flags = _flags(parts)
    for unknown in _unknown(words, flags):
        raise UnknownName(f"option of `nearfar {name}`", unknown, flags)
    taken: set[str] = set()
    own = parts.keys() - {"run"} - SECTIONS.keys()  # the modality's and the method's
    shown = [(title, _shown(part, taken, automatic=title in own)) for title, part in parts.items()]
    shape = shown[0][1]
    if sections:
        shape.__doc__ = "Where the run is kept, what it starts from, and what is said of it."
        shape = make_dataclass(name, shown, namespace={"__doc__": form.__doc__})
    filled = _tyro(name, shape, words, flags)
    if filled is None:
        return None
    filled_parts = {title: getattr(filled, title) for title in parts} if sections else {"run": filled}
    said = {flags[word] for word in _said(words) if word in flags}
    given: dict[str, Any] = {}
    for title, part in parts.items():
        mine = {f.name: getattr(filled_parts[title], f.name) for f in fields(part) if f.name in said - set(given)}
        if title in sections:
            part(**mine)  # says at once what is out of range
        given |= mine
    return Command(name, filled_parts["run"], given)


def _tyro(name: str, shape: Any, words: list[str], flags: dict[str, str]) -> Any:
    """The filled form; None after help. What tyro says in a box becomes one line."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                shape,
                prog=f"nearfar {name}",
                args=words,
                config=(OmitArgPrefixes, FlagCreatePairsOff, DisallowNone, PositionalMetavarFromFieldName),
            )
    except SystemExit as end:
        if not end.code:
            return None
    _diagnose(shape, words, flags)
    box = re.sub(r"\x1b\[[0-9;]*m", "", complaint.getvalue())
    if "Required options" in box:
        raise ConfigError(f"nearfar {name} needs {COMMANDS[name][0]} (nearfar {name} --help).")
    body = [line.strip("│ ") for line in box.splitlines() if line.startswith("│")]
    text = " ".join(itertools.takewhile(lambda line: not line.startswith("──"), body))
    raise ConfigError(f"{text or 'these arguments cannot be read.'} (nearfar {name} --help)")


def _diagnose(shape: Any, words: list[str], flags: dict[str, str]) -> None:
    """Say in our own words what is wrong with the value of an option, where that is it."""
    hints = _hints(shape)
    for word in words:
        hint = hints.get(flags.get(_flag(word), ""))
        value = _value(words, _flag(word)) if hint is not None else None
        if hint is None or value is None:
            continue
        choices = get_args(hint) if get_origin(hint) is Literal else ()
        if choices and value not in choices:
            raise ConfigError(f"{_flag(word)} must be one of {', '.join(map(str, choices))}; got {value!r}.")
        if hint in (int, float):
            try:
                hint(value)
            except ValueError:
                kind = "a whole number" if hint is int else "a number"
                raise ConfigError(f"{_flag(word)} must be {kind}, got {value!r}.") from None


def _hints(shape: Any) -> dict[str, Any]:
    """Each option's type without None, through the sections."""
    found: dict[str, Any] = {}
    for name, hint in get_type_hints(shape).items():
        if isinstance(hint, type) and hasattr(hint, "__dataclass_fields__"):
            found = _hints(hint) | found
        elif get_origin(hint) in (Union, types.UnionType):
            found.setdefault(name, next(part for part in get_args(hint) if part is not type(None)))
        else:
            found.setdefault(name, hint)
    return found


def _shown(part: type, taken: set[str], *, automatic: bool) -> Any:
    """A form or section as tyro shows it: unchecked (we check what was given), and with defaults that mean something.

    `automatic` says that None stands for a choice of the program's here. A field whose name is `taken` has its flag
    already: what is said there counts here too.
    """
    hints = get_type_hints(part, include_extras=True)
    shown: list[Any] = []
    for f in fields(part):
        required = f.default is MISSING
        plain = required or f.default in (None, "", ()) or isinstance(f.default, bool)
        hint = "(required)" if required else "" if plain else f"(default: {f.default})"
        hint = "(automatic)" if automatic and f.default is None else hint
        named = arg(name=_SPELLED.get(f.name), aliases=_SHORT.get(f.name), help_behavior_hint=hint)
        marks = (Fixed, Suppress) if f.name in taken else (named,)
        shown.append((f.name, Annotated[(hints[f.name], *marks)], field(default=f.default)))
        taken.add(f.name)
    unchecked = {"__post_init__": lambda self: None, "__doc__": part.__doc__}
    return make_dataclass(part.__name__, shown, bases=(part,), frozen=True, kw_only=True, namespace=unchecked)


def _flags(parts: dict[str, type]) -> dict[str, str]:
    """Every flag that may stand in the line, with its field: `--lr` -> lr, `--no-baselines` -> baselines."""
    flags = {"--help": "", "-h": ""}
    placed: set[str] = set()
    for part in parts.values():
        for name, hint in get_type_hints(part, include_extras=True).items():
            if Positional in getattr(hint, "__metadata__", ()):
                placed.add(name)
        for f in fields(part):
            if f.name in placed:
                continue
            word = _SPELLED.get(f.name, f.name).replace("_", "-")
            flags[f"--no-{word}" if f.default is True else f"--{word}"] = f.name
            flags |= dict.fromkeys(_SHORT.get(f.name, ()), f.name)
    return flags


def _flag(word: str) -> str:
    """`--batch_size=8` -> `--batch-size`; the value after `=` is cut off."""
    return word.split("=", 1)[0].replace("_", "-")


def _said(words: Sequence[str]) -> list[str]:
    return [_flag(word) for word in words if re.match(r"--?[a-zA-Z]", word)]


def _unknown(words: Sequence[str], flags: dict[str, str]) -> list[str]:
    return [word for word in _said(words) if word not in flags]


def _value(words: Sequence[str], option: str) -> str | None:
    """What is said for an option, read before the form is known."""
    wanted = option if option.startswith("-") else f"--{option}"
    found = None
    for word, after in itertools.zip_longest(words, words[1:]):
        if word is not None and _flag(word) == wanted:
            found = word.split("=", 1)[1] if "=" in word else after
    return found


def _method_before(words: Sequence[str]) -> str:
    """The method that a config file, or the run that goes on, names; else the default."""
    import tomllib

    config, out = _value(words, "config"), _value(words, "out") or _value(words, "-o")
    path = Path(config) if config else Path(out) / "config.toml" if out and "--resume" in words else None
    default = next(f.default for f in fields(SECTIONS["model"]) if f.name == "method" and f.default is not MISSING)
    if path is None or not path.is_file():  # the face says what is wrong with it
        return str(default)
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is no readable config.toml: {str(error)[:200]}") from None
    model = said.get("model")
    return str(model.get("method", default) if isinstance(model, dict) else default)
