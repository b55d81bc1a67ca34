"""The command line: words in, one call of the api, text or JSON out.

Exit codes: 0 done, 1 failed, 2 a user's mistake, 130 interrupted. This file imports nothing heavy, so that the root
help is there at once; a command imports what it needs when it is run.
"""

import os
import sys
import time
from collections.abc import Sequence

STARTED = time.monotonic()
"""When the command started: from here a budget counts, so that imports are in it."""

COMMANDS: dict[str, tuple[str, str]] = {
    "demo": ("", "train on the built-in digits, evaluate, and write the report page; needs no network"),
    "train": ("DATA", "learn an encoder from unlabelled data"),
    "tune": ("DATA", "choose settings by short trainings, and say how much each matters"),
    "evaluate": ("RUN TRAIN", "how good the encoder is on labelled data, next to two baselines"),
    "finetune": ("RUN DATA", "fine-tune an encoder on labels, beside training from scratch and a linear probe"),
    "predict": ("RUN DATA -o FILE", "write what a fine-tuned run says of each sample, with probabilities"),
    "embed": ("RUN DATA -o FILE", "write a vector for each sample, as .parquet or .npy"),
    "search": ("RUN QUERY...", "the samples most like each query"),
    "explain": ("RUN A B", "why two samples are near: what their parts add, and which of them meet"),
    "audit": ("RUN DATA", "what may be wrong with data: copies, leaks, foreign samples, wrong labels"),
    "map": ("FILE", "a page of all samples in two dimensions: zoom, search, select"),
    "export": ("RUN --to FORM -o DIR", "write the encoder in the form of another library"),
    "recommend": ("RUN USER...", "what users may want next, of data of users and items"),
    "report": ("RUN...", "the HTML page of a run, or one page that compares several runs"),
    "list": ("WHAT", "names of the methods, encoders, losses or modalities"),
    "completion": ("SHELL", "print the script that lets bash, zsh or fish complete commands and options"),
}
"""Each command: its positional arguments, and a line about it. What it takes and does is the class of its name in
`commands`."""

_HELP = """\
nearfar learns representations by contrast: it pulls what belongs together near and pushes the rest far.

usage: nearfar COMMAND ...          nearfar COMMAND --help

commands:
{commands}

options that all commands take:
  --quiet                    results only, no progress
  --json                     one JSON object on standard output, and nothing else there
options that commands take where they have a meaning:
  --device auto|cpu|cuda|mps, --seed N, --threads N, --config FILE

exit codes: 0 done, 1 failed, 2 a mistake in what was asked for, 130 interrupted
`nearfar --version` prints the version; NEARFAR_DEBUG=1 shows the traceback of an error.
"""
_HELP_WORDS = ("-h", "--help", "help")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (the process's own when `argv` is None) and return its exit code."""
    from nearfar.cli import streams

    streams.prepare()
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        code = _run(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as stop:
        return _say(str(stop) or "interrupted.", 130)
    except BrokenPipeError:
        # Whoever read our output had enough. Python would complain about the closed pipe once more at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        return _failed(error)


def _run(words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1:
        words = [*words[1:], "--help"]
    if not words or words[0] in _HELP_WORDS:
        lines = (f"  {f'{name} {takes}':26} {line}" for name, (takes, line) in COMMANDS.items())
        sys.stdout.write(_HELP.format(commands="\n".join(lines)))
        return 0
    if words[0] in ("--version", "-V"):
        from nearfar import __version__

        sys.stdout.write(f"nearfar {__version__}\n")
        return 0
    from nearfar.errors import ConfigError, UnknownName

    if words[0].startswith("-"):
        raise ConfigError(f"options stand after the command: nearfar COMMAND {words[0]} ...")
    if words[0] not in COMMANDS:
        raise UnknownName("command", words[0], COMMANDS)
    from nearfar.cli.parsing import parse

    command = parse(words)
    if command is None:  # its help was asked for, and is printed
        return 0
    from nearfar.cli.running import run

    run(command)
    return 0


def _failed(error: Exception) -> int:
    from nearfar.errors import NearfarError
    from nearfar.torchrun import marked

    if os.environ.get("NEARFAR_DEBUG", "0") not in ("", "0"):
        import traceback

        traceback.print_exception(error)
    rank = marked(error)
    if isinstance(error, NearfarError):
        return _say(str(error), error.exit_code, rank)
    if isinstance(error, OSError) and error.strerror:  # the machine's fault: no room, a disk or a network that fails
        return _say(": ".join(filter(None, [error.filename and repr(error.filename), error.strerror])), 1, rank)
    return _say(
        f"sorry, this should not have happened: {type(error).__name__}: {error} "
        "(the same command with NEARFAR_DEBUG=1 in front shows where)",
        1,
        rank,
    )


def _say(text: str, code: int, rank: str | None = None) -> int:
    """Print an error; of ranks that train together the first speaks, and one that fails alone, with its `rank`."""
    if rank is None and os.environ.get("RANK", "0") != "0":
        return code
    from nearfar.cli.streams import Lenient

    words = " ".join(text.split())
    print(f"nearfar: {f'{rank}: ' if rank else ''}{words}", file=Lenient(sys.stderr), flush=True)
    return code
