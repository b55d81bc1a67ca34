"""Block sizes of the Triton log-sum-exp: time of each pass under each candidate, on the GPU at hand.

    python benchmarks/triton_blocks.py                                    # NT-Xent of 131,072 pairs, bfloat16, d = 128
    python benchmarks/triton_blocks.py --form clip --scale 100
    python benchmarks/triton_blocks.py --dtype float32 --dim 384 --rows 65536

Needs torch, triton and a GPU alone. Prints one JSON line for each candidate, best of the repetitions, and then the best
beside what `blocks_for` gives: what to write there. Teraflops count the products that are made.
"""

import argparse
import functools
import itertools
import json

import torch

from nearfar.kernels import Pairs
from nearfar.kernels.triton_lse import blocks_for
from nearfar.kernels.triton_sweeps import LOG2_E, Sweeps, Weights


def seconds(work, repetitions):
    work()  # compiles
    torch.cuda.synchronize()
    found = []
    for _ in range(repetitions):
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        found.append(start.elapsed_time(end) / 1000)
    return min(found)


def passes(arguments):
    """For each pass: its work under given blocks, and the floating point operations of its products."""
    generator = torch.Generator("cuda").manual_seed(0)
    clip = arguments.form == "clip"

    def unit():
        z = torch.randn(arguments.rows, arguments.dim, device="cuda", generator=generator)
        return z / z.norm(dim=1, keepdim=True)

    a, b = unit(), unit() if clip else None
    scale = torch.tensor(arguments.scale, device="cuda")
    pairs = Pairs() if clip else Pairs(0)
    bounded = arguments.scale <= 40
    dtype = getattr(torch, arguments.dtype)
    default = blocks_for(arguments.dim, dtype, bounded=bounded)
    product = 2 * arguments.rows**2 * arguments.dim

    def sweeps(blocks):
        return Sweeps.over(a, b, scale, None, pairs, dtype, blocks.out)

    row_lse, column_lse = sweeps(default[1]).log_sums(columns=clip, bounded=bounded, blocks=default[0])
    # As the backward pass has it where sums lie near to each other: one exp, and a shift in the middle.
    shift = row_lse.mean()
    row_weights = Weights(None, (shift - row_lse).exp2())
    column_weights = Weights(None, (shift - column_lse).exp2()) if clip else row_weights
    assert float((row_lse - shift).abs().max()) < 40 * LOG2_E

    def forward(blocks):
        sweeps(blocks).log_sums(columns=clip, bounded=bounded, blocks=blocks)

    def backward(blocks):
        prepared = sweeps(blocks)
        for turned in (False, True) if clip else (False,):
            prepared.weighted_sums(row_weights, column_weights, shift, turned=turned, alone=False, blocks=blocks)

    return {
        "forward": (forward, default[0], product if clip else product / 2),
        "backward": (backward, default[1], 4 * product if clip else 2 * product),
    }


def candidates(default):
    """The default first, then every cut of the same pieces that is not far from it."""
    yield default
    for own, stream, warps, stages in itertools.product((64, 128, 256), (32, 64, 128), (4, 8), (2, 3, 4)):
        blocks = default._replace(own=own, stream=stream, warps=warps, stages=stages)
        if blocks != default and 2048 <= own * stream <= 2048 * warps:
            yield blocks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--form", default="nt_xent", choices=["nt_xent", "clip"])
    parser.add_argument("--rows", type=int, default=262144)
    parser.add_argument("--dim", type=int, default=128)
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16", "float16"])
    parser.add_argument("--scale", type=float, default=10.0)
    parser.add_argument("--only", default="forward backward", help="the passes to try")
    parser.add_argument("--repetitions", type=int, default=3)
    arguments = parser.parse_args()
    print(json.dumps({"gpu": torch.cuda.get_device_name(), "torch": torch.__version__, **vars(arguments)}), flush=True)
    for name, (work, default, flops) in passes(arguments).items():
        if name not in arguments.only.split():
            continue
        found = {}
        for blocks in candidates(default):
            try:
                found[blocks] = seconds(functools.partial(work, blocks), arguments.repetitions)
            except Exception as error:  # more registers or shared memory than there are: a result like another
                print(json.dumps({"pass": name, "blocks": list(blocks), "failed": str(error)[:80]}), flush=True)
                continue
            line = {"pass": name, "blocks": list(blocks), "seconds": round(found[blocks], 5)}
            print(json.dumps({**line, "teraflops": round(flops / found[blocks] / 1e12, 1)}), flush=True)
        best = min(found, key=found.__getitem__)
        verdict = {"pass": name, "best": list(best), "default": list(default)}
        print(json.dumps({**verdict, "times_faster": round(found[default] / found[best], 3)}), flush=True)


if __name__ == "__main__":
    main()
