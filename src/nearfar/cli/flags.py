"""Option classes as an argparse parser: which words a command takes, and its help, shown by rich-argparse."""

import argparse
import re
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from nearfar.cli import COMMANDS
from nearfar.errors import ConfigError
from nearfar.options import Option, declared

_METAVARS = {int: "INT", float: "FLOAT", str: "TEXT"}
_PLACES = {"data": "DATA", "input": "PATH", "output": "PATH", "cache": "PATH"}


class Parser(argparse.ArgumentParser):
    """An argparse parser whose complaints are errors of ours; values stay the words that were typed."""

    def __init__(self, command: str, **more: Any) -> None:
        super().__init__(prog=f"nearfar {command}", allow_abbrev=False, add_help=False, **more)
        self._negative_number_matcher = re.compile(r"-(\d|\.\d|inf|nan)")  # also 1e-3 and the like are values
        self.command = command

    @property
    def flags(self) -> list[str]:
        """All words that are options."""
        return list(self._option_string_actions)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError."""
        text = message.removeprefix("argument ")
        raise ConfigError(f"{text} (nearfar {self.command} --help).")


def flag_of(option: Option) -> str:
    """`--lr` for lr; `--no-whiten` for whiten, which is on by default."""
    word = str(option.about.get("spelled", option.name)).replace("_", "-")
    return f"--no-{word}" if option.default is True else f"--{word}"


def build(
    command: str,
    groups: Sequence[tuple[str, type]],
    *,
    shown: Callable[[str, Option], bool] = lambda title, one: True,
    every: bool = False,
    **more: Any,
) -> Parser:
    """A parser of the options of all `groups`, under their titles; of those of equal name, the first one counts.

    `shown` says by title and option which are in it; `every`, that there is help on all; `more` goes to the parser.
    """
    parser = Parser(command, usage=" ".join(["nearfar", command, *COMMANDS[command][0].split(), "[options]"]), **more)
    made: dict[str, argparse._ArgumentGroup] = {}
    taken: set[str] = set()
    common = []
    for title, kind in groups:
        for name, one in declared(kind).items():
            if one.about.get("common"):
                common.append(one)
            elif name not in taken and shown(title, one) and not one.about.get("python"):
                if title not in made:
                    made[title] = parser.add_argument_group(title)
                _add(made[title], one)
            taken.add(name)
    last = parser.add_argument_group("of all commands")
    for one in common:
        _add(last, one)
    last.add_argument("-h", "--help", action="store_true", default=argparse.SUPPRESS, help="Show this help.")
    if every:
        last.add_argument("--help-all", action="store_true", default=argparse.SUPPRESS, help="Show all options.")
    return parser


def formatter() -> type[argparse.HelpFormatter]:
    """How help is shown; imported when help is asked for, as rich takes its time."""
    from rich_argparse import RichHelpFormatter

    class Formatter(RichHelpFormatter):
        group_name_formatter = str
        help_markup = text_markup = False

    return Formatter


def _add(group: argparse._ArgumentGroup, one: Option) -> None:
    about = one.about
    shared: dict[str, Any] = {"help": _help(one), "default": argparse.SUPPRESS}  # only what is typed is told
    if about.get("argument"):
        group.add_argument(one.name, nargs="*" if about["many"] else "?", metavar=one.name.upper(), **shared)
        return
    words = [*([about["short"]] if "short" in about else []), flag_of(one)]
    if bool in one.kinds:
        if one.automatic:  # either may be asked for
            group.add_argument(*words, dest=one.name, action=argparse.BooleanOptionalAction, **shared)
            return
        group.add_argument(*words, dest=one.name, action="store_const", const=one.default is not True, **shared)
        return
    group.add_argument(*words, dest=one.name, metavar=_metavar(one), **shared)


def _metavar(one: Option) -> str:
    """`{fp32,bf16}` for choices, `auto|INT` where there are other values too, else `INT`, `PATH`, ..."""
    plain = _PLACES.get(one.about.get("path", "")) or (_METAVARS.get(one.kinds[0], "VALUE") if one.kinds else "")
    if not one.choices:
        return plain
    choices = [str(choice) for choice in one.choices]
    return "|".join([*choices, plain]) if plain else "{" + ",".join(choices) + "}"


def _help(one: Option) -> str:
    """The help of an option, with what counts where it is not given."""
    text = one.about.get("off") if one.default is True else one.about.get("help", "")
    if one.automatic and not one.about.get("needed"):
        text = f"{text} (automatic)"
    elif not isinstance(one.default, bool) and one.default not in (None, "", ()) and not one.required:
        text = f"{text} (default: {one.default})"
    return str(text).replace("%", "%%")
