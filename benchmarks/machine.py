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
    from nearfar.training.folder import processor

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


def write(name: str, content: dict[str, Any]) -> str:
    """Keep a result as benchmarks/results/<name>.json; returns the path to print."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n")
    return str(path.relative_to(Path(__file__).parents[1]))
