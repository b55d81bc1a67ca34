"""An evaluation in either of its forms becomes one table."""

import pytest

from nearfar.reporting.comparison import compare


def interval(mean, low, high, count=5):
    return {"mean": mean, "low": low, "high": high, "kind": "draws", "count": count}


def row(system, mean, lead=None, *, probe="knn", k=20, labels=None):
    accuracy = interval(mean, mean - 0.01, mean + 0.01)
    return {"system": system, "probe": probe, "k": k, "labels_per_class": labels, "accuracy": accuracy, "lead": lead}


def test_rows_of_one_system_each_are_joined_by_probe():
    found = compare(
        {
            "systems": ["raw", "trained"],
            "rows": [row("raw", 0.3), row("trained", 0.5), row("raw", 0.1, labels=1), row("trained", 0.2, labels=1)],
        }
    )
    assert [(r["labels"], [cell["mean"] for cell in r["cells"]]) for r in found["rows"]] == [
        (None, [0.3, 0.5]),
        (1, [0.1, 0.2]),
    ]


@pytest.mark.parametrize(
    ("lead", "mark"),
    [
        (interval(0.1, 0.05, 0.15), "ahead"),
        (interval(-0.1, -0.15, -0.05), "behind"),
        (interval(0.1, -0.05, 0.25), "unclear"),
        (interval(0.1, 0.0, 0.2), "unclear"),
        (interval(0.1, 0.1, 0.1, count=1), "unclear"),
        (interval(0.1, None, None), "unclear"),
    ],
)
def test_a_lead_is_ahead_where_its_interval_excludes_zero(lead, mark):
    found = compare({"systems": ["raw", "trained"], "rows": [row("raw", 0.3, lead), row("trained", 0.5)]})
    assert found["rows"][0]["ahead"] == [["raw", mark]]


def test_a_system_without_a_row_has_an_empty_cell():
    found = compare({"systems": ["raw", "trained"], "rows": [row("trained", 0.5)]})
    assert [cell and cell["mean"] for cell in found["rows"][0]["cells"]] == [None, 0.5]


def test_counts_and_shares_are_named():
    found = compare({"train": 100, "test": 20, "classes": ["a", "b"], "chance": 0.5, "majority": None})
    assert found["counts"] == [["train", "100"], ["test", "20"], ["classes", "2"], ["chance", "50.0 %"]]


def test_figures_missing_for_all_systems_are_left_out():
    assert compare({"systems": ["a"], "geometries": {"a": {"rank": None, "spread": 1.0}}})["figures"] == [
        {"part": "geometry", "name": "spread", "cells": [{"mean": 1.0, "low": None, "high": None}]}
    ]


def test_what_evaluation_writes_is_read():
    torch = pytest.importorskip("torch")
    evaluation = pytest.importorskip("nearfar.evaluation")
    geometry = pytest.importorskip("nearfar.diagnostics").geometry
    truth = torch.arange(60) % 3
    systems = {name: torch.randn(60, 4) + scale * truth[:, None] for name, scale in (("raw", 0.1), ("trained", 3))}
    found = evaluation.Evaluation(protocol="p", systems=list(systems), train=60, test=60, classes=["a", "b", "c"])
    found.geometries = {name: geometry(x) for name, x in systems.items()}
    read = compare(found.to_json())
    assert read["protocol"] == "p"
    assert "effective_rank" in [figure["name"] for figure in read["figures"]]
    assert ["test", "60"] in read["counts"]


def test_evaluation_figures_are_read_by_system_or_alone():
    found = compare(
        {
            "systems": ["raw", "trained"],
            "retrieval": {"raw": {"mean": 0.1, "low": 0.0, "high": 0.2}, "trained": {"mean": 0.3}},
            "geometry": {"raw": {"rank": 3.0}, "trained": {"rank": 9.0, "spread": 1.0}},
        }
    )
    assert [(f["part"], f["name"], [c and c["mean"] for c in f["cells"]]) for f in found["figures"]] == [
        ("retrieval", "", [0.1, 0.3]),
        ("geometry", "rank", [3.0, 9.0]),
        ("geometry", "spread", [None, 1.0]),
    ]
    assert compare({"geometry": {"rank": 3.0}})["figures"][0]["value"]["mean"] == 3.0
