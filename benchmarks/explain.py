"""How faithful explanations are: the cosine of near pairs with parts deleted and inserted in the order that they say.

    python benchmarks/explain.py flowers30 --name flowers30 --steps 400
    python benchmarks/explain.py stsb_en --name stsb --run st:FOLDER        # a published encoder, without training

A run is trained on the training part (or --run is taken), and pairs are drawn from the test part where there is one:
samples keyed by the seed, each with its nearest neighbour of another content. Each method orders the parts of both;
beside them stand the order by position (from the middle outwards, or from first to last), random ones, and where
pytorch-grad-cam is installed and the encoder convolves, its GradCAM on the last stage with a cosine as its target, over
the same parts. The last column is the rank correlation with what the method says of the encoder with its weights
shuffled. Intervals are 95 % over pairs. Pairs are written to results/explain-NAME.json as they are done; started again,
also with more --pairs, the benchmark goes on. Nothing is chosen by what is reported.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import facts, read, runs_so_far, write
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity

import nearfar
from nearfar.api.sample import row_of
from nearfar.api.sources import open_for
from nearfar.contract import Encoder, Parts
from nearfar.evaluation.embedding import embed_source, whiten
from nearfar.evaluation.knn import nearest
from nearfar.inspection.explain import faithfulness
from nearfar.inspection.explain.explanation import explain
from nearfar.inspection.explain.occlusion import vector_of
from nearfar.inspection.explain.sanity import randomised, rank_correlation

PEER = "GradCAM"
_POOL = 2_000
HEADINGS = ("deletion", "insertion", "gap", "gap less random")


def gradcam(encoder: Encoder, inputs: Any, parts: Parts, other: Tensor) -> np.ndarray[Any, Any] | None:
    """The peer's heat on the grid of the parts; None where it is not installed or does not apply."""
    try:
        from pytorch_grad_cam import GradCAM
    except ImportError:
        return None
    network: Any = getattr(encoder, "network", None)
    if not isinstance(inputs, Tensor) or parts.grid is None or not hasattr(network, "stages"):
        return None

    class Vectors(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encoder = encoder

        def forward(self, x: Tensor) -> Tensor:
            return encoder.vectors(x)

    def similarity(output: Tensor) -> Tensor:
        return cosine_similarity(output.view(1, -1), other[None]).sum()

    with GradCAM(model=Vectors(), target_layers=[network.get_submodule(network.stages[-1])]) as cam:
        found = torch.from_numpy(np.asarray(cam(input_tensor=inputs, targets=[similarity])))
    return adaptive_avg_pool2d(found[None], parts.grid).flatten().numpy().astype(np.float32)


def heats(encoder: Encoder, samples: list[Any]) -> tuple[list[Parts], list[Tensor], list[dict[str, Any]], float]:
    """Parts and vectors of both samples, heat by each method, and the cosine."""
    found = explain(encoder, *samples)
    parts = [found.a.parts, found.b.parts]
    with torch.no_grad():
        vectors = [vector_of(encoder, one) for one in parts]
    heat = [dict(found.a.heat), dict(found.b.heat)]
    peer = [gradcam(encoder, x, own, v) for x, own, v in zip(samples, parts, reversed(vectors), strict=True)]
    for one, theirs in zip(heat, peer, strict=True):
        if theirs is not None and all(p is not None for p in peer):
            one[PEER] = theirs
    return parts, vectors, heat, found.similarity


def measured(encoder: Encoder, shuffled: Encoder, samples: list[Any], seed: int) -> dict[str, Any] | None:
    """The figures of one pair; None where a sample has fewer than three parts."""
    parts, vectors, heat, similarity = heats(encoder, samples)
    if min(map(len, parts)) < 3:
        return None
    followed = faithfulness.measure(encoder, parts, vectors, heat, seed=seed)
    _, _, unlearnt, _ = heats(shuffled, samples)
    sane = {name: [rank_correlation(one[name], other[name]) for one, other in zip(heat, unlearnt, strict=True)]
            for name in heat[0] if name in heat[1] and name in unlearnt[0]}  # fmt: skip
    return {
        "similarity": round(similarity, 4),
        "methods": {
            name: [round(one.deletion, 4), round(one.insertion, 4)] for name, one in followed.items()
        },
        "shuffled": {name: round(float(np.mean(values)), 4) for name, values in sane.items()},
    }  # fmt: skip


def pairs_of(encoder: Encoder, data: str, count: int, seed: int) -> tuple[Any, list[tuple[int, int]]]:
    """A source, and rows of near pairs in it: samples with their nearest neighbour of another content."""
    source = open_for(encoder, part_of(data, "test"), grow=False)
    rng = np.random.default_rng(seed)
    source = source.take(np.sort(rng.permutation(len(source))[:_POOL]))
    vectors, rows = embed_source(encoder, source, show=False)
    similar, near = nearest(vectors, vectors, min(10, len(rows) - 1), exclude_self=True)
    pairs = []
    for i in rng.permutation(len(rows)).tolist():
        apart = [int(j) for cosine, j in zip(similar[i].tolist(), near[i].tolist(), strict=True) if cosine < 0.999]
        if apart:
            pairs.append((int(rows[i]), int(rows[apart[0]])))
        if len(pairs) == count:
            break
    return source, pairs


def part_of(data: str, name: str) -> str:
    """The part of data of this name: a folder or a table in it; all of it where it has no parts."""
    found = [path for path in (Path(data, name), Path(data, f"{name}.csv")) if path.exists()]
    return str(found[0]) if found else data


def trained(arguments: argparse.Namespace, folder: str) -> str:
    """The run that is explained: that of --run, else one that is trained now, or was before."""
    if arguments.run is not None:
        return str(arguments.run)
    out = Path(arguments.keep or folder) / "run"
    if not (out / "encoder" / "model.safetensors").is_file():
        options = {name: json.loads(value) for name, _, value in (one.partition("=") for one in arguments.option)}
        nearfar.train(
            part_of(arguments.data, "train"), steps=arguments.steps, seed=arguments.seed, out=out, quiet=True,
            evaluate=False, **options,
        )  # fmt: skip
    return str(out)


def table(runs: list[dict[str, Any]]) -> list[str]:
    """The figures of all pairs, a line a method."""
    lines = [f"{len(runs)} pairs, mean cosine {np.mean([run['similarity'] for run in runs]):.3f}",
             " ".join([f"{'order':10}", *(f"{word:>22}" for word in HEADINGS), " shuffled"])]  # fmt: skip
    for name in runs[0]["methods"]:
        at = np.array([run["methods"][name] for run in runs if name in run["methods"]])
        gap = at[:, 1] - at[:, 0]
        chance = np.array([np.diff(run["methods"]["random"])[0] for run in runs if name in run["methods"]])
        sane = [run["shuffled"][name] for run in runs if name in run["shuffled"]]
        cells = [interval(one) for one in (at[:, 0], at[:, 1], gap, gap - chance)]
        lines.append(f"{name:10} {' '.join(f'{cell:>22}' for cell in cells)}  {interval(sane) if sane else ''}")
    return lines


def markdown(name: str) -> str:
    """The rows of one result in Markdown: deletion, insertion, what lies between them, and the check of weights."""
    found = read(f"explain-{name}")
    runs, settings = found["runs"], found["settings"]
    encoder = "MiniLM as published" if settings["encoder"] == "st" else f"a run of {settings['steps']} steps"
    lines = []
    for at, method in enumerate(runs[0]["methods"]):
        values = np.array([run["methods"][method] for run in runs if method in run["methods"]])
        sane = [run["shuffled"][method] for run in runs if method in run["shuffled"]]
        about = f"{name}, {encoder}, {len(runs)}" if not at else ""
        lines.append(
            f"| {about} | {method} | {values[:, 0].mean():.3f} | {values[:, 1].mean():.3f} | "
            f"{interval(values[:, 1] - values[:, 0])} | {interval(sane) if sane else ''} |"
        )
    return "\n".join(lines)


def interval(values: Any) -> str:
    """A mean with its 95 % interval over pairs."""
    values = np.asarray(values)
    reach = 1.96 * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else float("nan")
    return f"{values.mean():.3f} [{values.mean() - reach:.3f}, {values.mean() + reach:.3f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--name", required=True)
    parser.add_argument("--run", default=None, help="a run folder or a published encoder, in place of training")
    parser.add_argument("--keep", default=None, help="the folder that keeps what is trained, to go on with")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--option", nargs="*", default=[], help="further options of the training, NAME=JSON")
    arguments = parser.parse_args()
    named = arguments.run if arguments.run is None or ":" not in arguments.run else arguments.run.partition(":")[0]
    settings = {
        "data": Path(arguments.data).name,
        "encoder": named and Path(named).name,
        "steps": arguments.steps,
        "seed": arguments.seed,
        "options": arguments.option,
    }
    name = f"explain-{arguments.name}"
    runs = runs_so_far(name, settings)
    done = {run["pair"] for run in runs}
    if len(done) < arguments.pairs:
        with tempfile.TemporaryDirectory() as folder:
            encoder = nearfar.load(trained(arguments, folder))
            if arguments.run is None and encoder.whitens:  # as at the end of a run that is evaluated
                whiten(encoder, open_for(encoder, part_of(arguments.data, "train")), show=False)
            shuffled = randomised(encoder, arguments.seed)
            source, pairs = pairs_of(encoder, arguments.data, arguments.pairs, arguments.seed)
            for number, rows in enumerate(pairs):
                if number in done:
                    continue
                found = measured(encoder, shuffled, [row_of(encoder, source, row) for row in rows], number)
                if found is not None:
                    runs.append({"pair": number, **found})
                if number % 10 == 9 or number == len(pairs) - 1:
                    write(name, {"settings": settings, **facts(), "runs": runs})
                    print(f"{number + 1} of {len(pairs)} pairs", file=sys.stderr, flush=True)
    print("\n".join(table(runs)))


if __name__ == "__main__":
    main()
