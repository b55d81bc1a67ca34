"""NT-Xent, forward and backward from raw embeddings: time and extra memory of the tiled form beside the plain one.

    python benchmarks/losses.py                      # 1,024 and 4,096 pairs
    python benchmarks/losses.py --pairs 16384 65536 --rounds 1 --dense-up-to 16384

"dense" is NT-Xent as textbooks write it (normalise, one matrix product, mask the diagonal, cross entropy), "lightly"
its NTXentLoss where that package is installed. Each round runs every contender once, one after the other, so that all
meet the same machine; a contender runs in a process of its own, which also gives its peak memory. Only ratios within
one run of this script mean anything on a machine that does other work.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

RESULTS = Path(__file__).parent / "results" / "losses.json"


def dense_nt_xent(z1, z2, temperature):
    import torch
    from torch.nn import functional as F

    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]))
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(2 * n).roll(n))


def loss_of(contender, temperature):
    if contender == "dense":
        return lambda z1, z2: dense_nt_xent(z1, z2, temperature)
    if contender == "lightly":
        from lightly.loss import NTXentLoss

        return NTXentLoss(temperature=temperature)
    from nearfar.losses import nt_xent

    return lambda z1, z2: nt_xent(z1, z2, temperature=temperature, implementation=contender)


def peak_bytes():
    """The largest resident size of this process since the last reset (Linux)."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def measure(contender, pairs, dim, temperature, dtype):
    """Seconds (best of the repetitions), extra bytes and the loss, in this process."""
    import torch

    torch.manual_seed(0)
    loss = loss_of(contender, temperature)
    small = [torch.randn(64, dim, dtype=getattr(torch, dtype), requires_grad=True) for _ in range(2)]
    loss(*small).backward()  # threads, libraries
    zs = [torch.randn(pairs, dim, dtype=getattr(torch, dtype), requires_grad=True) for _ in range(2)]
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak_bytes()
    seconds = []
    for _ in range(3 if pairs <= 8192 else 1):
        for z in zs:
            z.grad = None
        start = time.perf_counter()
        value = loss(*zs)
        value.backward()
        seconds.append(time.perf_counter() - start)
    return {"seconds": min(seconds), "extra_mb": (peak_bytes() - before) / 1e6, "loss": value.item()}


def in_own_process(arguments, contender, pairs):
    command = [sys.executable, __file__, "--one", contender, "--pairs", str(pairs), "--dim", str(arguments.dim)]
    command += ["--temperature", str(arguments.temperature), "--dtype", arguments.dtype]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"exit {done.returncode}"}
    return json.loads(done.stdout.splitlines()[-1])


def machine():
    import torch

    cpu = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((x.split(":")[1].strip() for x in cpu if x.startswith("model name")), platform.processor())
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    for package in ("nearfar", "lightly"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    load = os.getloadavg()[0]
    return {"cpu": name, "threads": torch.get_num_threads(), "load_at_start": round(load, 2), "versions": versions}


def compare(arguments):
    lines = []
    for pairs in arguments.pairs:
        contenders = ["tiled"]
        if pairs <= arguments.dense_up_to:
            contenders += ["dense"] + (["lightly"] if find_spec("lightly") else [])
        runs = {contender: [] for contender in contenders}
        for _ in range(arguments.rounds):
            for contender in contenders:
                runs[contender].append(in_own_process(arguments, contender, pairs))
        for contender, results in runs.items():
            failed = [r["failed"] for r in results if "failed" in r]
            line = {"pairs": pairs, "contender": contender, "rounds": len(results)}
            if failed:
                line["failed"] = failed[0]
            else:
                line["seconds"] = round(statistics.median(r["seconds"] for r in results), 4)
                line["seconds_each"] = [round(r["seconds"], 4) for r in results]
                line["extra_mb"] = round(max(r["extra_mb"] for r in results), 1)
                line["loss"] = results[0]["loss"]
                if contender != "tiled" and "seconds" in lines[-1 if contender == "dense" else -2]:
                    ratios = [r["seconds"] / t["seconds"] for r, t in zip(results, runs["tiled"], strict=True)]
                    line["times_tiled"] = round(statistics.median(ratios), 2)
            lines.append(line)
            print(json.dumps(line), flush=True)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, nargs="+", default=[1024, 4096])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--temperature", type=float, default=0.1)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dense-up-to", type=int, default=4096, help="largest batch for dense and lightly (memory!)")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        setting = (arguments.pairs[0], arguments.dim, arguments.temperature, arguments.dtype)
        print(json.dumps(measure(arguments.one, *setting)))
        return
    settings = {"dim": arguments.dim, "temperature": arguments.temperature, "dtype": arguments.dtype}
    report = {"what": "NT-Xent forward + backward", **machine(), **settings, "results": compare(arguments)}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
