"""A made-up run with every part of a report, drawn pictures, and one browser for the whole session."""

import colorsys
import io
import math

import numpy as np
import pytest
import torch
from PIL import Image

from nearfar.contract import Card
from nearfar.evaluation import Evaluation, Interval, Listing, Row, nearest
from nearfar.inspection import outliers
from nearfar.reporting.report import MapData, Pair, Report, Strange, ViewsRow

SYSTEMS = ["raw input", "untrained encoder", "trained encoder"]


def picture(seed, hue):
    rng = np.random.default_rng(seed)
    colour = np.array(colorsys.hsv_to_rgb(hue, 0.7, 0.9)) * 255
    image = np.clip(colour + 40 * rng.normal(size=(12, 12, 1)), 0, 255).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def records(steps=300):
    for step in range(1, steps + 1):
        record = {
            "step": step,
            "loss": 4 + 5 * math.exp(-step / 40),
            "lr": 1e-3 * (1 - step / steps),
            "data_wait": 0.01,
        }
        if step % 10 == 0:
            record |= {"alignment": 0.3, "uniformity": -3.0, "effective_rank": 40 + step / 10, "view_retrieval": 0.8}
            record |= {"dead_dimensions": 0.0, "samples_per_second": 1500.0}
        if step % 100 == 0:
            record["knn"] = 0.5 + step / 3000
        yield record


def interval(mean, half=0.012):
    return Interval(mean, mean - half, mean + half, "bootstrap over test samples", 100, half / 1.96, 99)


def figure_rows(metric, setting, means, *, role="judged", share=True, leads=True):
    """A figure of every system; the lead is what the means say."""
    return [
        Row(
            system,
            "classify" if setting else "label_free",
            metric,
            setting,
            interval(mean),
            interval(means[-1] - mean) if leads and system != SYSTEMS[-1] else None,
            role=role,
            share=share,
            chance=0.1 if setting else None,
        )
        for system, mean in zip(SYSTEMS, means, strict=True)
    ]


def evaluation(**more):
    rows = [
        *figure_rows("accuracy", {"probe": "kNN", "k": 20, "labels per class": "all"}, (0.35, 0.4, 0.793)),
        *figure_rows("accuracy", {"probe": "linear", "labels per class": 1}, (0.1, 0.2, 0.19)),
        *figure_rows("effective rank", {}, (30.0, 12.0, 41.0), role="shown", share=False, leads=False),
        *figure_rows("uniformity", {}, (-1.0, -2.0, -3.4), role="detail", share=False, leads=False),
    ]
    full = {
        "protocol": "kNN with cosine similarity; linear probe on frozen features.",
        "systems": SYSTEMS,
        "rows": rows,
        "listings": [Listing("Most often confused", ["class", "taken for", "times"], [["circle", "star", 3]])],
        "meanings": {"kNN": "The nearest vote.", "effective rank": "Directions used."},
        "train": 40000,
        "test": 10000,
        "classes": ["circle", "square", "star"],
        "steps": 1200,
        "epochs": 40.0,
        "notes": ["The test set was opened once."],
    }
    return Evaluation(**{**full, **more})


@pytest.fixture(scope="session")
def make_map():
    """A map of items on a circle; item 0 sits in the middle, so that tests know where it is on the canvas."""

    def make(items, k=4):
        angle = np.linspace(0, 2 * np.pi, max(len(items) - 1, 1), endpoint=False)
        xy = np.stack([0.5 + 0.5 * np.cos(angle), 0.5 + 0.5 * np.sin(angle)], axis=1)
        xy = np.concatenate([[[0.5, 0.5]], xy])[: len(items)].astype(np.float32)
        rows = torch.from_numpy(np.c_[xy - 0.4, np.ones(len(xy))]).float()
        cosine, near = nearest(rows, rows, k, exclude_self=True) if len(rows) > 1 else (rows[:, :0], rows[:, :0].long())
        return MapData(xy=xy, items=items, neighbours=near.numpy(), similarities=cosine.numpy())

    return make


@pytest.fixture(scope="session")
def make_report(make_map):
    """Make a full report; parts may be replaced by keyword."""

    def make(items=None, **parts):
        if items is None:
            names = ["circle", "square", "star"]
            items = [
                Card(key=f"{names[i % 3]}/{i:03d}.png", label=names[i % 3], image=picture(i, (i % 3) / 3))
                for i in range(60)
            ]
        vectors = np.random.default_rng(0).normal(size=(len(items), 8))
        found = outliers.find(vectors, pairs=4, strange=4)
        full = {
            "title": "runs/shapes",
            "facts": {"Method": "SimCLR", "Encoder": "ResNet-18", "Samples": "40,000"},
            "alarms": [{"step": 120, "name": "slow_data", "sentence": "The model waited for data; use a cache."}],
            "evaluation": evaluation(),
            "metrics": list(records()),
            "map": make_map(items),
            "views": [ViewsRow(item=item, views=items[i + 1 : i + 3]) for i, item in enumerate(items[:4])],
            "closest": [Pair(a=items[i], b=items[j], similarity=c) for i, j, c in found.closest],
            "strangest": [Strange(item=items[i], similarity=c) for i, c in found.strangest],
            "config": 'seed = 0\n[method]\nname = "simclr"\n',
            "environment": {"python": "3.12", "packages": {"torch": "2.11"}},
            "skipped": [{"key": "broken.png", "reason": "cannot be decoded"}],
            "skipped_total": 1,
        }
        return Report(**{**full, **parts})

    return make
