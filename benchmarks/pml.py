"""The losses of `nearfar.losses.pml` beside pytorch-metric-learning's: time and extra memory, forward and backward.

    python benchmarks/pml.py                          # 256 and 1,024 embeddings, four of a class
    python benchmarks/pml.py --sizes 4096 --limit 8

Each contender runs in a process of its own, one after the other, `--rounds` times; one that wants more than `--limit`
GB of address space fails, and that is its result. "mined" gives the loss what BatchHardMiner found.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import machine

NAMES = ["CircleLoss", "ContrastiveLoss", "MultiSimilarityLoss", "NTXentLoss", "SupConLoss", "TripletMarginLoss"]
PACKAGES = {"nearfar": "nearfar.losses.pml", "pytorch-metric-learning": "pytorch_metric_learning"}


def peak_bytes():
    """The largest resident size of this process since the last reset (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(package, name, size, mined, limit):
    """Seconds (best of three), extra bytes and the loss, in this process."""
    import torch

    losses, miners = (import_module(f"{PACKAGES[package]}.{part}") for part in ("losses", "miners"))
    torch.manual_seed(0)
    loss, miner = getattr(losses, name)(), miners.BatchHardMiner()

    def step(z, labels):
        value = loss(z, labels, miner(z, labels) if mined else None)
        value.backward()
        return value.item()

    step(torch.randn(32, 128, requires_grad=True), torch.arange(32) // 4)  # threads, libraries
    resource.setrlimit(resource.RLIMIT_AS, (limit * 10**9, limit * 10**9))
    z = torch.randn(size, 128, requires_grad=True)
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before, seconds = peak_bytes(), []
    for _ in range(3):
        z.grad = None
        start = time.perf_counter()
        value = step(z, torch.arange(size) // 4)
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "extra_mb": (peak_bytes() - before) / 1e6, "loss": value}


def in_own_process(arguments, *setting):
    words = ["--one", json.dumps([*setting, arguments.limit])]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1][:200]}
    return json.loads(done.stdout.splitlines()[-1])


def compare(arguments):
    for size in arguments.sizes:
        for name in arguments.losses:
            for mined in (False, True):
                runs = {package: [] for package in PACKAGES}
                for _ in range(arguments.rounds):
                    for package, results in runs.items():
                        results.append(in_own_process(arguments, package, name, size, mined))
                line = {"loss": name, "embeddings": size, "mined": mined}
                for package, results in runs.items():
                    failed = [r["failed"] for r in results if "failed" in r]
                    line[package] = {"failed": failed[0]} if failed else {
                        "seconds": round(statistics.median(r["seconds"] for r in results), 4),
                        "extra_mb": round(max(r["extra_mb"] for r in results), 1),
                        "value": results[0]["loss"],
                    }  # fmt: skip
                print(json.dumps(line), flush=True)
                yield line


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--losses", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--limit", type=int, default=6, help="GB of address space")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(*json.loads(arguments.one))))
        return
    facts = machine.facts()
    facts["versions"]["pytorch-metric-learning"] = version("pytorch-metric-learning")
    report = {"what": "losses of labels, forward + backward", **facts, "limit_gb": arguments.limit}
    report["results"] = list(compare(arguments))
    machine.RESULTS.mkdir(exist_ok=True)
    (machine.RESULTS / "pml.json").write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
