"""Losses, forward and backward from raw embeddings: time and extra memory beside the plain form and other packages.

    python benchmarks/losses.py                                             # NT-Xent, 256 to 4,096 pairs
    python benchmarks/losses.py --pairs 16384 65536 --rounds 1 --name losses-large
    python benchmarks/losses.py --objective sup_con siglip triplet --pairs 1024 4096 --name losses-others
    python benchmarks/losses.py --device cuda --dtype bfloat16 --pairs 65536 1048576 --rounds 1 --name losses-gpu

"nearfar" is what a user gets, `implementation="auto"`; "dense" is the loss as textbooks write it, with the whole matrix
in plain torch; "lightly" and "pml" (pytorch-metric-learning) are those packages' own, where they are installed. Each
round runs every contender once, one after the other, so that all meet the same machine; a contender runs in a process
of its own, which gives its peak memory and keeps it within `--memory` GB. Only ratios within one run of this script
mean anything on a machine that does other work.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from machine import facts, write

PACKAGES = {"lightly": "lightly", "pml": "pytorch_metric_learning"}


def dense_nt_xent(z1, z2, temperature=0.1):
    import torch
    from torch.nn import functional as F

    n = len(z1)
    z = F.normalize(torch.cat([z1, z2]))
    logits = (z @ z.T / temperature).fill_diagonal_(-torch.inf)
    return F.cross_entropy(logits, torch.arange(2 * n, device=z.device).roll(n))


def dense_clip(z1, z2, scale=100.0):
    import torch
    from torch.nn import functional as F

    logits = scale * F.normalize(z1) @ F.normalize(z2).T
    own = torch.arange(len(z1), device=z1.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2


def dense_sup_con(z, labels, temperature=0.1):
    import torch
    from torch.nn import functional as F

    u = F.normalize(z)
    logits = (u @ u.T / temperature).fill_diagonal_(-torch.inf)
    positive = (labels[:, None] == labels[None, :]).fill_diagonal_(False)
    losses = -torch.where(positive, logits.log_softmax(1), 0.0).sum(1) / positive.sum(1).clamp(min=1)
    return losses[positive.any(1)].mean()


def dense_siglip(z1, z2, scale=10.0, bias=-10.0):
    import torch
    from torch.nn import functional as F

    logits = scale * F.normalize(z1) @ F.normalize(z2).T + bias
    signs = 2 * torch.eye(len(z1), device=z1.device) - 1
    return -F.logsigmoid(signs * logits).sum() / len(z1)


def lightly_nt_xent():
    from lightly.loss import NTXentLoss

    return NTXentLoss(temperature=0.1)


def pml_nt_xent():
    from pytorch_metric_learning.losses import NTXentLoss, SelfSupervisedLoss

    return SelfSupervisedLoss(NTXentLoss(temperature=0.1))


def pml_sup_con():
    from pytorch_metric_learning.losses import SupConLoss

    return SupConLoss(temperature=0.1)


def pml_triplet():
    from pytorch_metric_learning.losses import TripletMarginLoss

    return TripletMarginLoss(margin=0.2)


def contenders():
    """For each objective, the loss of each contender: of two views, or of embeddings and labels."""
    from nearfar import losses

    return {
        "nt_xent": {
            "nearfar": lambda: lambda z1, z2: losses.nt_xent(z1, z2, temperature=0.1),
            "dense": lambda: dense_nt_xent,
            "lightly": lightly_nt_xent,
            "pml": pml_nt_xent,
        },
        "clip": {"nearfar": lambda: lambda z1, z2: losses.clip(z1, z2, scale=100.0), "dense": lambda: dense_clip},
        "siglip": {
            "nearfar": lambda: lambda z1, z2: losses.siglip(z1, z2, scale=10.0, bias=-10.0),
            "dense": lambda: dense_siglip,
        },
        "sup_con": {
            "nearfar": lambda: lambda z, labels: losses.sup_con(z, labels=labels, temperature=0.1),
            "dense": lambda: dense_sup_con,
            "pml": pml_sup_con,
        },
        "triplet": {
            "nearfar": lambda: lambda z, labels: losses.labelled_triplet(z, labels=labels, reduction="mean_active"),
            "pml": pml_triplet,
        },
    }


NAMES = {
    "nt_xent": ["nearfar", "dense", "lightly", "pml"],
    "clip": ["nearfar", "dense"],
    "siglip": ["nearfar", "dense"],
    "sup_con": ["nearfar", "dense", "pml"],
    "triplet": ["nearfar", "pml"],
}
LABELLED = ("sup_con", "triplet")
SAMPLES_A_CLASS = 4


def status(field):
    """A figure of this process in bytes (Linux): its peak of resident memory, its address space."""
    line = next(x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(field))
    return int(line.split()[1]) * 1024


def measure(objective, contender, pairs, arguments):
    """Seconds (best of the repetitions), extra bytes and the loss, in this process."""
    import torch

    loss = contenders()[objective][contender]()
    cuda = arguments.device == "cuda"
    kind = {"dtype": getattr(torch, arguments.dtype), "device": arguments.device}

    def inputs(count):
        torch.manual_seed(0)
        if objective in LABELLED:
            z = torch.randn(2 * count, arguments.dim, **kind, requires_grad=True)
            return [z], [torch.arange(2 * count, device=arguments.device) // SAMPLES_A_CLASS]
        return [torch.randn(count, arguments.dim, **kind, requires_grad=True) for _ in range(2)], []

    zs, labels = inputs(1024 if cuda else 64)
    loss(*zs, *labels).backward()  # threads, libraries, compiled kernels
    zs, labels = inputs(pairs)
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        limit = status("VmSize") + int(arguments.memory * 1e9)
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = status("VmHWM")
    seconds = []
    for _ in range(5 if pairs <= 1024 else 3 if pairs <= 8192 else 1):
        for z in zs:
            z.grad = None
        start = time.perf_counter()
        value = loss(*zs, *labels)
        value.backward()
        if cuda:
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)
    peak = torch.cuda.max_memory_allocated() if cuda else status("VmHWM")
    return {"seconds": min(seconds), "extra_mb": (peak - before) / 1e6, "loss": value.item()}


def in_own_process(objective, contender, pairs, arguments):
    command = [sys.executable, __file__, "--one", contender, "--objective", objective, "--pairs", str(pairs)]
    command += ["--dim", str(arguments.dim), "--dtype", arguments.dtype, "--device", arguments.device]
    command += ["--memory", str(arguments.memory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    said = done.stderr.strip().splitlines() or [f"exit {done.returncode}"]
    short = any(word in done.stderr.lower() for word in ("can't allocate", "out of memory", "memoryerror", "bad_alloc"))
    return {"failed": f"more than {arguments.memory:g} GB" if short else said[-1]}


def line_of(objective, pairs, contender, results, ours):
    line = {"objective": objective, "pairs": pairs, "contender": contender, "rounds": len(results)}
    failed = [r["failed"] for r in results if "failed" in r]
    if failed:
        return {**line, "failed": failed[0]}
    line["seconds"] = round(statistics.median(r["seconds"] for r in results), 5)
    line["seconds_each"] = [round(r["seconds"], 5) for r in results]
    line["extra_mb"] = round(max(r["extra_mb"] for r in results), 1)
    line["loss"] = results[0]["loss"]
    if contender != "nearfar" and all("seconds" in r for r in ours):
        ratios = [r["seconds"] / own["seconds"] for r, own in zip(results, ours, strict=True)]
        line["times_nearfar"] = round(statistics.median(ratios), 2)
    return line


def compare(arguments):
    lines = []
    for objective in arguments.objective:
        present = [c for c in NAMES[objective] if c not in PACKAGES or find_spec(PACKAGES[c])]
        given_up = set()  # what one size was too much for, a larger one is
        for pairs in sorted(arguments.pairs):
            runs = {contender: [] for contender in present if contender not in given_up}
            for _ in range(arguments.rounds):
                for contender, results in runs.items():
                    if not any("failed" in r for r in results):
                        results.append(in_own_process(objective, contender, pairs, arguments))
            for contender, results in runs.items():
                line = line_of(objective, pairs, contender, results, runs["nearfar"])
                if "failed" in line:
                    given_up.add(contender)
                lines.append(line)
                print(json.dumps(line), flush=True)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objective", nargs="+", default=["nt_xent"], choices=NAMES)
    parser.add_argument("--pairs", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dtype", default="float32", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", type=float, default=16.0, help="GB of address space for one loss on a CPU")
    parser.add_argument("--name", default="losses", help="benchmarks/results/NAME.json")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.objective[0], arguments.one, arguments.pairs[0], arguments)))
        return
    report = facts()
    report["versions"] |= {package: version(package) for package in PACKAGES.values() if find_spec(package)}
    settings = {key: getattr(arguments, key) for key in ("dim", "dtype", "device", "memory")}
    what = "losses, forward and backward from raw embeddings"
    print(write(arguments.name, {"what": what, **report, "settings": settings, "results": compare(arguments)}))


if __name__ == "__main__":
    main()
