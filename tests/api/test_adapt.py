"""Adaptation to a domain without labels as a user meets it, on a table and texts of a second."""

from pathlib import Path

import numpy as np
import pytest
import torch

import nearfar as nf
from nearfar.api.arms import PROBE, TUNED
from nearfar.downstream.adapt import BOUND, SOURCE
from nearfar.errors import ConfigError, DataError, UnknownName
from tests.conftest import Killed, die

FEW = {"steps": 6, "threads": 1, "precision": "fp32"}


def rows_of(count: int, seed: int) -> list[list[str]]:
    """Rows w, x, y, z, label, origin, part: those that were made `here` lie elsewhere than those from `there`."""
    rng = np.random.default_rng(seed)
    found = []
    for i in range(count):
        there = i // 2 % 2
        cells = [f"{x:.3f}" for x in rng.normal(size=4) + 2 * (i % 2) + 3 * there]
        found.append([*cells, "ab"[i % 2], ("here", "there")[there], ("train", "test")[i >= 0.75 * count]])
    return found


def written(path: Path, rows: list[list[str]], *, parts: bool = True) -> Path:
    width = 7 if parts else 6
    names = ["w", "x", "y", "z", "label", "origin", "split"][:width]
    path.write_text("\n".join(",".join(row[:width]) for row in [names, *rows]))
    return path


@pytest.fixture(scope="module")
def start(tmp_path_factory, tiny_settings):
    """A table of two domains, and an encoder of both."""
    folder = tmp_path_factory.mktemp("domains")
    data = written(folder / "table.csv", rows_of(64, 0))
    settings = {name: value for name, value in tiny_settings.items() if name not in ("encoder", "width")}
    return data, nf.train(data, domain_column="origin", out=folder / "run", evaluate=False, **settings)


def adapted(start, out, data=None, **options):
    how = {"source_domain": "here", "domain_column": "origin", **FEW, **options}
    return nf.finetune(start[1].path, start[0] if data is None else data, task="adapt", out=out, **how)


@pytest.fixture(scope="module")
def tuned(start, tmp_path_factory):
    return adapted(start, tmp_path_factory.mktemp("adapted") / "run", labels="3,100%", draws=2)


def test_it_is_compared_with_the_source_alone_and_with_all_labels(tuned):
    found = tuned.evaluation
    assert found.systems == [PROBE, SOURCE, BOUND, TUNED]
    for setting in ({"labels_per_class": 3}, {"labels": "all"}):
        leads = [found.find("accuracy", system, **setting).lead for system in found.systems]
        assert [lead is not None for lead in leads] == [True, True, False, False]
    assert BOUND not in str(found.verdict())


def test_samples_of_the_other_domain_judge(tuned):
    assert found_count(tuned) == 8  # of the 16 test rows, half are from there


def found_count(run):
    return len(nf.files.read_json(run.path / "head" / "judged.json")["truth"])


def test_labels_of_the_other_domain_are_never_seen(start, tmp_path):
    turned = [
        [*row[:4], "ba"["ab".index(row[4])] if row[5:] == ["there", "train"] else row[4], *row[5:]]
        for row in rows_of(64, 0)
    ]
    other = written(tmp_path / "table.csv", turned)
    how = {"compare": False, "contrast_weight": 0.5, "align": "coral", "confidence": 0.5}
    one, two = (adapted(start, tmp_path / f"run{i}", data, **how) for i, data in enumerate((None, other)))
    theirs = two.encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in one.encoder.state_dict().items())


def test_the_bound_sees_them(start, tmp_path):
    how = {"method": "classify", "domain_column": "origin", "source_domain": "here", "evaluate": False, **FEW}
    one, two = (nf.train(start[0], out=tmp_path / f"{e}", every_domain=e, **how) for e in (False, True))
    theirs = two.encoder.state_dict()
    assert any(not torch.equal(value, theirs[name]) for name, value in one.encoder.state_dict().items())


def test_half_of_a_batch_is_of_the_other_domain(start, tmp_path, caplog):
    caplog.set_level("INFO")
    adapted(start, tmp_path / "run", compare=False)
    assert "as many labelled samples as samples of the other domain" in caplog.text


def test_a_killed_adaptation_goes_on_to_the_same_end(start, tuned, tmp_path, stop_at):
    stop_at(3, die)
    with pytest.raises(Killed):
        adapted(start, tmp_path / "run", labels="3,100%", draws=2)
    again = nf.finetune(out=tmp_path / "run", resume=True)
    for row, other in zip(tuned.evaluation.rows, again.evaluation.rows, strict=True):
        assert row.value.mean == other.value.mean, row.key


def test_the_result_predicts_and_is_a_run(start, tuned):
    assert {record["prediction"] for record in nf.predict(tuned.path, start[0])} <= {"a", "b"}
    assert (tuned.path / "report.html").is_file()


def test_without_a_test_part_a_fifth_of_the_other_domain_judges(start, tmp_path):
    data = written(tmp_path / "table.csv", rows_of(80, 0), parts=False)
    run = adapted(start, tmp_path / "run", data, compare=False)
    assert found_count(run) == 8
    assert len(run.encoder.config) > 0


def test_texts_are_adapted_too(tmp_path, tiny_settings):
    rng = np.random.default_rng(0)
    words = {"here": [f"word{i}" for i in range(20)], "there": [f"word{i}" for i in range(10, 30)]}
    lines = [
        f"{' '.join(rng.choice(words[domain], 6))} {'good' if i % 2 else 'bad'},{i % 2},{domain}"
        for i in range(40)
        for domain in words
    ]
    data = tmp_path / "texts.csv"
    data.write_text("\n".join(["text,label,domain", *lines]))
    run = nf.train(data, encoder="bag", buckets=512, out=tmp_path / "start", evaluate=False, **FEW)
    found = nf.finetune(run.path, data, task="adapt", source_domain="here", out=tmp_path / "run", **FEW)
    assert found.evaluation.find("accuracy").value.mean > 0


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"source_domain": None}, ConfigError, "--task adapt needs --source-domain"),
        ({"source_domain": "her"}, UnknownName, "Did you mean 'here'"),
        ({"domain_column": "orign"}, DataError, "did you mean 'origin'"),
        ({"every_domain": True}, ConfigError, "says itself what every_domain is"),
        ({"order": "streamed"}, ConfigError, "cannot mix"),
    ],
)
def test_wrong_options_are_refused(options, error, says, start, tmp_path):
    with pytest.raises(error, match=says):
        adapted(start, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_data_that_says_nothing_of_domains_is_refused(finished_table, tmp_path):
    data, run = finished_table
    with pytest.raises(DataError, match="does not say which domain its samples are of"):
        nf.finetune(run.path, data, task="adapt", source_domain="here", out=tmp_path / "run", **FEW)
