"""From the words of a command line to its form and the options that were given. Needs no torch.

Every option has one flat flag, whatever its section. Only what was given is handed on, so that defaults of the command
line never hide what a config file or an earlier run says.

All words are read by one parser as text. What the command has of them, by its method and its kind of data, is then read
as values: options of equal name of two kinds never meet.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearfar.cli import COMMANDS
from nearfar.cli.commands import form_of
from nearfar.cli.flags import build, flag_of, formatter
from nearfar.cli.form import Form
from nearfar.cli.paths import expanded
from nearfar.config import NAMED, SECTIONS, Model
from nearfar.errors import ConfigError, UnknownName, UserError
from nearfar.methods import registry as methods
from nearfar.modalities import registry as modalities
from nearfar.options import Option, declared

EVERY: list[tuple[str, type]] = [
    *SECTIONS.items(),
    *((f"options of {name}", methods.options_of(name)) for name in methods.METHODS),
    *((f"options of {name} data", modalities.options(name)) for name in modalities.MODALITIES),
]
"""All option classes that a run may have, by title."""

_MORE = """\
All options: nearfar train --help-all. Those of your kind of data: nearfar train DATA --help. Those of a method:
nearfar train --method NAME --help. Methods: {methods}."""

Words = Mapping[str, Any]
"""What was typed, by the name of the option: text, a list of texts, or the value of a switch."""


@dataclass(frozen=True)
class Command:
    """A parsed command line: its `form`, and of all options only those `given` for the api, by name."""

    name: str
    form: Form
    given: dict[str, Any]


def parse(words: Sequence[str]) -> Command | None:
    """The command that `words` ask for; None when its help was asked for and printed. Raises ConfigError."""
    name, *rest = words
    form = form_of(name)
    typed = _read(name, rest)
    if typed.keys() & {"help", "help_all"}:
        _show_help(name, typed)
        return None
    groups = [form, *(_run_groups(form, typed) if form.of_a_run else [])]
    known: dict[str, Option] = {}
    for kind in reversed(groups):
        known |= declared(kind)
    values = {option: _value(known[option], text) for option, text in typed.items()}
    for kind in groups[1:]:  # says at once what contradicts
        kind(**{option: value for option, value in values.items() if option in declared(kind)})
    own = declared(form)
    if any(one.about.get("needed") and not values.get(option) for option, one in own.items()):
        raise ConfigError(f"nearfar {name} needs {COMMANDS[name][0]} (nearfar {name} --help).")
    filled = form(**{option: value for option, value in values.items() if option in own})
    return Command(name, filled, {n: value for n, value in values.items() if not known[n].about.get("local")})


def _read(name: str, words: Sequence[str]) -> Words:
    """What was typed; raises UnknownName for an option that no kind of data and no method has."""
    form = form_of(name)
    groups = [("", form), *(EVERY if form.of_a_run else [])]
    parser = build(name, groups, every=form.of_a_run)
    typed, more = parser.parse_known_intermixed_args([_hyphens(word) for word in words])
    for word in more:
        if word.startswith("-"):
            listed = f"nearfar {name} {'--help-all' if form.of_a_run else '--help'}"
            raise UnknownName(f"option of `nearfar {name}`", word.split("=")[0], parser.flags, listed=f"`{listed}`")
    if more:
        raise ConfigError(f"nearfar {name} takes {COMMANDS[name][0] or 'no argument'}: {more[0]!r} is too many.")
    return vars(typed)


def _hyphens(word: str) -> str:
    """`--batch_size=8` as `--batch-size=8`."""
    flag, equals, value = word.partition("=")
    return (flag.replace("_", "-") if flag.startswith("--") else flag) + equals + value


def _run_groups(form: type[Form], typed: Words) -> list[type]:
    """The option classes of a run by its method and its kind of data.

    Raises ConfigError where an option was typed that is of another method or another kind of data.
    """
    modality = _chosen(typed, "modality")
    general = set(declared(form)).union(*map(declared, SECTIONS.values()))
    other = [option for option in typed if option not in general]
    if other and modality is None and "data" in typed:
        modality = modalities.find(expanded("data", typed["data"]), typed)
    method = form.method_of(typed) or _method(typed, modality)
    groups = [*SECTIONS.values(), methods.options_of(method)]
    other = [option for option in other if option not in declared(groups[-1])]
    if modality is not None:
        groups.append(modalities.options(modality))
    for option in other:
        methods.check_own(option, method)
        modalities.check_own(option, modality)
    return groups


def _method(typed: Words, modality: str | None) -> str:
    usual = Model.method if modality is None else modalities.load(modality).method
    return methods.known(_chosen(typed, "method") or usual)


def _chosen(typed: Words, option: str) -> str | None:
    """The method or modality that was typed; else what the file of settings, or the run that goes on, has."""
    if option in typed:
        return str(typed[option])
    file = typed.get("config") or (Path(typed["out"]) / "config.toml" if "resume" in typed and "out" in typed else None)
    if file in NAMED and not Path(str(file)).is_file():
        return NAMED[str(file)].get(option)
    path = None if file is None else Path(expanded("input", str(file)))
    if path is None or not path.is_file():  # the api says what is wrong with it
        return None
    import tomllib

    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{str(path)!r} is no readable config.toml: {str(error)[:200]}") from None
    for section in said.values():
        if isinstance(section, dict) and isinstance(section.get(option), str):
            return str(section[option])
    return None


def _value(option: Option, text: Any) -> Any:
    """What the typed words stand for, paths expanded; raises ConfigError."""
    kind = option.about.get("path")
    if isinstance(text, list):
        return tuple(expanded(kind, one) for one in text) if kind else tuple(text)
    if not isinstance(text, str):
        return text
    try:
        value = option.parse(text)
    except UnknownName:
        raise
    except ConfigError as error:
        raise ConfigError(str(error).replace(option.name, flag_of(option), 1)) from None
    return expanded(kind, value) if kind else value


def _show_help(name: str, typed: Words) -> None:
    """Print the help of a command; of train what matters first, and what the data and the method have, if named."""
    form = form_of(name)
    groups: list[tuple[str, type]] = [("options", form)]
    whole = {"options"}
    if form.of_a_run:
        every = "help_all" in typed
        whole = {*SECTIONS, "options"} if every else set()
        groups += [(title if every else "options", kind) for title, kind in SECTIONS.items()]
        modality = _chosen(typed, "modality")
        if modality is None and "data" in typed:
            with contextlib.suppress(UserError):  # help is there for data that is not, too
                modality = modalities.find(expanded("data", typed["data"]), typed)
        said = form.method_of(typed)
        method = said or _method(typed, modality)
        for title, kind, named in (
            (f"options of {modality} data", None if modality is None else modalities.options(modality), True),
            (f"options of {method}", methods.options_of(method), "method" in typed or said is not None),
        ):
            if kind is not None:
                groups.append((title, kind))
                whole |= {title} if every or named else set()
    parser = build(
        name,
        groups,
        shown=lambda title, one: (
            one.name not in form.says and (title in whole or bool(one.about.get("basic") or one.about.get("argument")))
        ),
        every=form.of_a_run,
        description=form.__doc__,
        epilog=_MORE.format(methods=", ".join(methods.METHODS)) if name == "train" else None,
        formatter_class=formatter(),
    )
    parser.print_help()
