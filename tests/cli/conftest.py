"""An api that only notes how it was called, so that the command line is tested without torch."""

import sys
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest

import nearfar


@dataclass(frozen=True)
class Hit:
    key: str
    similarity: float
    label: str | None
    path: str | None = None
    text: str | None = None


class Hits(list):
    def __init__(self, query, hits):
        super().__init__(hits)
        self.query = query


class Verdict:
    level = "good"

    def __str__(self):
        return "it works."


class Evaluation:
    def verdict(self):
        return Verdict()

    def to_json(self):
        return {"knn": 0.91}


class Api:
    """`calls` holds (name, positional arguments, keywords) of each call; `fails` is raised by all of them."""

    def __init__(self, folder):
        self.calls = []
        self.fails = None
        self.run = SimpleNamespace(path=folder / "run", evaluation=Evaluation())
        self.results = {
            "train": self.run,
            "demo": self.run,
            "load": "the encoder",
            "evaluate": Evaluation(),
            "embed": "the embeddings",
            "embed_file": SimpleNamespace(path=Path("v.npy"), samples=7, dim=3, skipped=0),
            "search_run": [Hits("q", [Hit("a.png", 0.97, "cat"), Hit("long/b.png", 0.5, None)])],
            "report": SimpleNamespace(path=Path("a/report.html"), verdict="a is better than b."),
        }

    def function(self, name):
        def call(*args, **options):
            print(f"noise of {name}")
            self.calls.append((name, args, options))
            if self.fails is not None:
                raise self.fails
            return self.results[name]

        return call


@pytest.fixture
def api(monkeypatch, tmp_path):
    made = Api(tmp_path)
    # Set in the module's own dictionary: asking for the old value would import the real one.
    for name in made.results:
        monkeypatch.setitem(vars(nearfar), name, made.function(name))
    saved = SimpleNamespace(load=lambda path: f"the vectors of {path}")
    monkeypatch.setitem(vars(nearfar), "Embeddings", saved)
    table = SimpleNamespace(lines=lambda found: ["knn  91.0", "good: it works."])
    monkeypatch.setitem(sys.modules, "nearfar.evaluation.table", table)
    monkeypatch.chdir(tmp_path)
    return made
