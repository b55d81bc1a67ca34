"""What a figure was measured on, and where it is kept."""

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def facts() -> dict[str, Any]:
    """Machine and versions."""
    import torch

    import nearfar
    from nearfar.training.run_folder import processor

    return {
        "machine": {
            "processor": processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
            "system": platform.system(),
        },
        "versions": {
            "nearfar": nearfar.__version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
        "date": datetime.date.today().isoformat(),
    }


def split(words: list[str]) -> tuple[list[str], list[str]]:
    """A command line: the script's own words, and those after `--`."""
    at = words.index("--") if "--" in words else len(words)
    return words[:at], words[at + 1 :]


def options(words: list[str]) -> dict[str, Any]:
    """Options of `nearfar train`, as its own command reads them; raises SystemExit for others."""
    from nearfar.cli.parsing import parse
    from nearfar.errors import UserError

    try:
        command = parse(["train", "digits", *words])
    except UserError as error:
        raise SystemExit(str(error)) from None
    return {} if command is None else {name: value for name, value in command.given.items() if name != "data"}


def write(name: str, content: dict[str, Any]) -> str:
    """Keep a result as benchmarks/results/<name>.json; returns the path to print."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return str(path.relative_to(Path(__file__).parents[1]))


def read(name: str) -> dict[str, Any]:
    """The result of this name; raises SystemExit where there is none."""
    path = RESULTS / f"{name}.json"
    if not path.is_file():
        raise SystemExit(f"There is no {path.name}.")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def runs_so_far(name: str, settings: dict[str, Any]) -> list[dict[str, Any]]:
    """The runs that are in this result already; raises SystemExit where they have other settings."""
    if not (RESULTS / f"{name}.json").is_file():
        return []
    before = read(name)
    if before["settings"] != settings:
        raise SystemExit(f"The result {name} has other settings: {before['settings']}")
    runs: list[dict[str, Any]] = before["runs"]
    return runs
