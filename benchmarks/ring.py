"""NT-Xent over several processes: the latents of all gathered on each, or passed round a ring.

    python benchmarks/ring.py                                            # 2 processes, 8,192 and 32,768 pairs
    python benchmarks/ring.py --processes 2 4 --pairs 8192 --name ring-4

What is timed is a step of the training frame with an encoder that does nothing: latents meet, the loss, its backward
pass, gradients home; seconds of the slowest process, by the clock and of processor time (its one thread, and what
sends). Memory is the largest peak of a process beside its own share of the embeddings. Each figure has processes of its
own; a round runs both ways one after the other. On a machine that does other work processes wait for each other, and
only the ratio of processor time means anything.
"""

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import facts, write

WAYS = ("all", "ring")


def measure(way, pairs, arguments):
    """Seconds, extra bytes and the loss, in this process, which is one of those that a launcher started."""
    import torch
    from losses import status

    from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Views
    from nearfar.losses import nt_xent
    from nearfar.training import ranks
    from nearfar.training.ranks import Shares
    from nearfar.training.step import training_step

    class Same(Encoder):
        dim = arguments.dim

        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.ones(()))

        def features(self, inputs):
            return inputs * self.weight

    class Bare(Method):
        def embed(self, views):
            return Latents(z=self.encoder(views))

        def loss(self, z, batch):
            one, two = z["z"]
            return Losses(nt_xent(one, two, temperature=0.1, ids=batch.ids, rows=batch.rows, ring=batch.ring))

    method = Bare(Same())

    def step(together, count):
        counts = tuple(count // together.world for _ in range(together.world))
        shares = Shares(counts, together.rank)
        source = torch.Generator().manual_seed(together.rank)
        x = torch.randn(2, counts[together.rank], arguments.dim, generator=source)
        views = Views(lambda i, a, b: x[i, a:b], range(2), 0, x.shape[1], 2)
        batch = Batch(ids=torch.arange(shares.samples), labels=torch.full((shares.samples,), -1))

        def run():
            method.zero_grad(set_to_none=True)
            return training_step(method, views, batch, shares=shares, ranks=together, ring=way == "ring")[0]

        return run

    torch.set_num_threads(1)
    with ranks.opened("cpu") as together:
        step(together, 64 * together.world)()  # libraries, connections
        run = step(together, pairs)
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
        before = status("VmHWM")
        together.any(False)  # all are here
        start, spent = time.perf_counter(), time.process_time()
        loss = run().total.item()
        found = {
            "seconds": time.perf_counter() - start,
            "processor_seconds": time.process_time() - spent,
            "extra_mb": (status("VmHWM") - before) / 1e6,
        }
        every = together.gather_objects([found])
        if together.first:
            print(json.dumps({"loss": loss} | {key: max(one[key] for one in every) for key in found}))


def in_own_processes(way, pairs, world, arguments):
    """What so many processes find together."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, __file__, "--one", way, "--pairs", str(pairs), "--dim", str(arguments.dim)]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen(
            command,
            env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit(f"{way}, {pairs} pairs, {world} processes: a process failed")
    return json.loads(said[0].splitlines()[-1])


def compare(arguments):
    lines = []
    for world in arguments.processes:
        for pairs in sorted(arguments.pairs):
            runs = {way: [] for way in WAYS}
            for _ in range(arguments.rounds):
                for way, results in runs.items():
                    results.append(in_own_processes(way, pairs, world, arguments))
            for way, results in runs.items():
                line = {"processes": world, "pairs": pairs, "gather": way, "rounds": len(results)}
                for kind in ("seconds", "processor_seconds"):
                    line[kind] = round(statistics.median(r[kind] for r in results), 4)
                    line[f"{kind}_each"] = [round(r[kind], 4) for r in results]
                    if way == "ring":
                        ratios = [r[kind] / own[kind] for r, own in zip(results, runs["all"], strict=True)]
                        line[f"{kind}_times_all"] = round(statistics.median(ratios), 2)
                line["extra_mb"] = round(max(r["extra_mb"] for r in results), 1)
                line["loss"] = results[0]["loss"]
                lines.append(line)
                print(json.dumps(line), flush=True)
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[2])
    parser.add_argument("--pairs", type=int, nargs="+", default=[8192, 32768], help="of all processes together")
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--name", default="ring", help="benchmarks/results/NAME.json")
    parser.add_argument("--one", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        measure(arguments.one, arguments.pairs[0], arguments)
        return
    report = {"what": "NT-Xent over processes: latents gathered, or passed round a ring", **facts()}
    settings = {"dim": arguments.dim, "dtype": "float32", "threads of a process": 1}
    print(write(arguments.name, {**report, "settings": settings, "results": compare(arguments)}))


if __name__ == "__main__":
    main()
