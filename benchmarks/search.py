"""Search in a million vectors, and the kNN of a bank, beside FAISS and usearch.

    python benchmarks/search.py [--count 1000000] [--dim 256] [--threads 2] [--only NAME ...]

Vectors are clustered: 10,000 centres drawn from a normal distribution, each vector its centre and as much noise;
queries are drawn the same way and are not among them. Each way to search is measured in a process of its own, one after
another: the time to build it and the memory that it holds then, the median time of one query at a time (200 queries,
k = 10), the time of a batch of 100, and which share of the ten nearest it finds. `ours exact` and `ours hnsw` are an
embedding file that `nearfar.search` would open, mapped into memory: their memory counts what of the file was touched.
The bank is 50,000 x 512 with 10,000 queries, k = 20, the best of three in turn. A finished run is kept, and not run
again. Wall times depend on what else the machine does.
"""

import argparse
import json
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import machine

K = 10
SINGLE, BATCH = 200, 100


def vectors(count, dim, seed):
    """Unit vectors [count, dim] around 10,000 centres, which are the same for all seeds."""
    centres = np.random.default_rng(0).standard_normal((10_000, dim), dtype=np.float32)
    rng = np.random.default_rng(seed)
    made = np.empty((count, dim), dtype=np.float32)
    for start in range(0, count, 2**16):
        some = made[start : start + 2**16]
        some[:] = centres[rng.integers(0, len(centres), len(some))]
        some += rng.standard_normal(some.shape, dtype=np.float32)
        some /= np.linalg.norm(some, axis=1, keepdims=True)
    return made


def embedding_file(folder, count, dim):
    """The same vectors as `nearfar embed` writes them."""
    from nearfar import Embeddings

    path = folder / "vectors.parquet"
    if not path.is_file():
        Embeddings(vectors(count, dim, 1), [f"{i:07d}" for i in range(count)]).save(path)
    return path


def ours(kind):
    def opened(folder, count, dim):
        import torch

        from nearfar.inspection.search.index import open_index

        index = open_index(embedding_file(folder, count, dim), kind)
        return lambda queries, k: index.nearest(torch.from_numpy(queries), k)[1].numpy()

    return opened


def flat(folder, count, dim):
    import faiss

    index = faiss.IndexFlatIP(dim)
    index.add(vectors(count, dim, 1))
    return lambda queries, k: index.search(queries, k)[1]


def faiss_index(description, **how):
    def built(folder, count, dim):
        import faiss

        index = faiss.index_factory(dim, description, faiss.METRIC_INNER_PRODUCT)
        made = vectors(count, dim, 1)
        index.train(made[:: max(1, count // 2**17)])
        index.add(made)
        parameters = faiss.ParameterSpace()
        for name, value in how.items():
            parameters.set_index_parameter(index, name, value)
        return lambda queries, k: index.search(queries, k)[1]

    return built


def usearch(folder, count, dim):
    from usearch.index import Index

    index = Index(ndim=dim, metric="ip", dtype="f32", connectivity=16, expansion_add=100, expansion_search=128)
    index.add(np.arange(count), vectors(count, dim, 1), threads=int(os.environ["OMP_NUM_THREADS"]))
    threads = int(os.environ["OMP_NUM_THREADS"])

    def search(queries, k):
        found = index.search(queries, k, threads=threads if len(queries) > 1 else 1).keys
        return found.reshape(len(queries), -1).astype(np.int64)

    return search


WAYS = {
    "ours exact": ours("exact"),
    "faiss flat": flat,
    "ours hnsw": ours("hnsw"),
    "ours ivfpq": ours("ivfpq"),
    "faiss HNSW16": faiss_index("HNSW16", efSearch=128),
    "faiss IVF4096,PQ64": faiss_index("IVF4096,PQ64", nprobe=32),
    "usearch": usearch,
}


def measure(way, folder, count, dim, threads, truth, pipe):
    """One way, in a process of its own."""
    import torch

    torch.set_num_threads(threads)
    queries = vectors(SINGLE + BATCH, dim, 2)
    began = time.perf_counter()
    search = WAYS[way](folder, count, dim)
    made = time.perf_counter() - began
    search(queries[:2], K)
    one = []
    for i in range(SINGLE):
        start = time.perf_counter()
        search(queries[i : i + 1], K)
        one.append(time.perf_counter() - start)
    batches = []
    for _ in range(5):
        start = time.perf_counter()
        search(queries[-BATCH:], K)
        batches.append(time.perf_counter() - start)
    found = np.concatenate([search(queries[i : i + 100], K) for i in range(0, len(queries), 100)])
    result = {
        "way": way,
        "seconds to build": round(made, 2),
        "peak MB": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "ms a query": round(1000 * float(np.median(one)), 3),
        "ms a query, 95 %": round(1000 * float(np.quantile(one, 0.95)), 3),
        f"ms a batch of {BATCH}": round(1000 * min(batches), 2),
    }
    if truth is None:
        np.save(folder / "truth.npy", found)
        truth = found
    shares = [len(set(a.tolist()) & set(b.tolist())) / K for a, b in zip(found, truth, strict=True)]
    pipe.send({**result, "recall@10": round(float(np.mean(shares)), 4)})


def bank(threads):
    """kNN of a bank, ours and FAISS in turn."""
    import faiss
    import torch

    from nearfar.evaluation.knn import nearest

    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
    rows, queries = vectors(50_000, 512, 3), vectors(10_000, 512, 4)
    index = faiss.IndexFlatIP(512)
    index.add(rows)
    seconds = {"ours": [], "faiss": []}
    for _ in range(3):
        start = time.perf_counter()
        near = nearest(torch.from_numpy(rows), torch.from_numpy(queries), 20)[1].numpy()
        seconds["ours"].append(time.perf_counter() - start)
        start = time.perf_counter()
        theirs = index.search(queries, 20)[1]
        seconds["faiss"].append(time.perf_counter() - start)
    best = {name: round(min(some), 3) for name, some in seconds.items()}
    same = float(np.mean([len(set(a.tolist()) & set(b.tolist())) / 20 for a, b in zip(near, theirs, strict=True)]))
    return {"way": "bank", **best, "ratio": round(best["faiss"] / best["ours"], 2), "agreement": round(same, 5)}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="*", default=["bank", *WAYS])
    parser.add_argument("--name", default="search")
    arguments = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = str(arguments.threads)
    settings = {"count": arguments.count, "dim": arguments.dim, "threads": arguments.threads, "k": K}
    runs = machine.runs_so_far(arguments.name, settings)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for way in arguments.only:
            if any(run["way"] == way for run in runs):
                continue
            if way == "bank":
                made = bank(arguments.threads)
            else:
                if "ours" in way:
                    embedding_file(folder, arguments.count, arguments.dim)
                truth_file = folder / "truth.npy"
                if way != "faiss flat" and not truth_file.is_file():
                    in_process("faiss flat", folder, arguments, None)  # keeps what is exact
                truth = np.load(truth_file) if truth_file.is_file() else None
                made = in_process(way, folder, arguments, truth)
            runs.append(made)
            print(json.dumps(made), flush=True)
            machine.write(arguments.name, {"settings": settings, **machine.facts(), "runs": runs})


def in_process(way, folder, arguments, truth):
    """What `measure` sends."""
    ours_end, theirs_end = multiprocessing.get_context("spawn").Pipe()
    work = multiprocessing.get_context("spawn").Process(
        target=measure,
        args=(way, folder, arguments.count, arguments.dim, arguments.threads, truth, theirs_end),
    )
    work.start()
    theirs_end.close()
    try:
        made = ours_end.recv()
    except EOFError:
        raise SystemExit(f"{way} ended before it was measured") from None
    work.join()
    return made


if __name__ == "__main__":
    main()
