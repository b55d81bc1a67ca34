"""How far each method leads the untrained encoder after a short run on the digits, over ten seeds.

    python benchmarks/margins.py                # all methods; ten minutes on two cores
    python benchmarks/margins.py byol simsiam   # these, the others stay as they were

The run, its settings and the judgement are those of `tests/methods/learning.py`: the nearest of one labelled sample of
each class. The margin that `tests/methods/test_learning.py` holds every method to is the mean minus 4 standard
deviations; the test's own seed is none of these. Writes benchmarks/results/margins.json.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import torch
from machine import RESULTS, facts, write

from nearfar.methods.registry import METHODS, known

sys.path.insert(0, str(Path(__file__).parents[1]))
from tests.methods.learning import SETTINGS, learn

SEEDS = range(10)


def measured(name: str) -> dict[str, object]:
    """Leads, effective ranks and alarms of a method over the seeds."""
    torch.set_num_threads(1)
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            runs.append(learn(name, seed, Path(folder) / f"{seed}"))
    leads = [run.lead for run in runs]
    mean, spread = statistics.mean(leads), statistics.stdev(leads)
    return {
        "untrained": round(statistics.mean(run.untrained for run in runs), 4),
        "trained": round(statistics.mean(run.trained for run in runs), 4),
        "lead": round(mean, 4),
        "standard_deviation": round(spread, 4),
        "margin": round(mean - 4 * spread, 4),
        "smallest_lead": round(min(leads), 4),
        "smallest_rank": round(min(run.effective_rank for run in runs), 2),
        "alarms": sorted({alarm.name for run in runs for alarm in run.alarms}),
        "seconds": round(statistics.mean(run.seconds for run in runs), 2),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("methods", nargs="*", type=known, default=[])
    given = parser.parse_args()
    path = RESULTS / "margins.json"
    before = json.loads(path.read_text(encoding="utf-8"))["methods"] if given.methods and path.is_file() else {}
    wanted = [name for name in METHODS if name in given.methods or not given.methods]
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        for name, figures in zip(wanted, pool.map(measured, wanted), strict=True):
            before[name] = figures
            print(f"{name:10} {figures}", flush=True)
    found = {name: before[name] for name in METHODS if name in before}
    print(write("margins", {"settings": SETTINGS, "seeds": list(SEEDS), "methods": found, **facts()}))
