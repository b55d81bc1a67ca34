"""Adaptation to a domain without labels as a user meets it, on a table and texts of a second."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import nearfar as nf
from nearfar.api.arms import PROBE, TUNED
from nearfar.downstream.adapt import BOUND, SOURCE
from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.training.norms import batch_norms
from nearfar.training.run_folder import RunFolder
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


def pictures(folder, *, labelled=True):
    """Bright and dark ones: on a dark ground here, and on a bright one there, 12 of each class."""
    rng = np.random.default_rng(0)
    for domain, ground in (("here", 0), ("there", 120)):
        for i in range(24):
            place = folder / domain / ("ab"[i % 2] if labelled or domain == "here" else "")
            place.mkdir(parents=True, exist_ok=True)
            pixels = ground + 60 * (i % 2) + rng.integers(0, 40, (16, 16, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(place / f"{i}.png")
    return folder


@pytest.fixture(scope="module")
def pictured(tmp_path_factory, tiny_settings):
    """Folders of two domains without splits, and an encoder of them."""
    folder = tmp_path_factory.mktemp("pictures")
    data = pictures(folder / "data")
    return data, nf.train(data, source_domain="here", out=folder / "run", evaluate=False, **tiny_settings)


def test_first_folders_are_domains_where_one_is_named(pictured, tmp_path):
    data, run = pictured
    found = nf.finetune(run.path, data, task="adapt", source_domain="here", out=tmp_path / "run", **FEW)
    assert found_count(found) == 4  # a fifth of the 24 pictures from there
    assert {record["prediction"] for record in nf.predict(found.path, data / "there")} <= {"a", "b"}
    assert set(nf.embed(found.path, data).labels) == {"a", "b"}


def test_a_domain_of_files_alone_is_adapted_to_though_nothing_judges(pictured, tmp_path, caplog):
    data = pictures(tmp_path / "data", labelled=False)
    how = {"source_domain": "here", "compare": False, **FEW}
    run = nf.finetune(pictured[1].path, data, task="adapt", out=tmp_path / "run", **how)
    assert "Nothing judges" in caplog.text
    assert len(nf.predict(run.path, data / "there")) == 24


def test_a_name_that_no_first_folder_has_is_refused_with_those_there_are(pictured, tmp_path):
    data, run = pictured
    with pytest.raises(DataError, match=r"of which one is 'hre'\. Its classes are here, there"):
        nf.finetune(run.path, data, task="adapt", source_domain="hre", out=tmp_path / "run", **FEW)


@pytest.fixture(scope="module", params=[True, False])
def by_statistics(request, pictured, tmp_path_factory):
    """Adapted by statistics, norms fixed while it learns or not."""
    data, run = pictured
    out = tmp_path_factory.mktemp("statistics") / "run"
    how = {"source_domain": "here", "align": "statistics", "fix_norms": request.param, "compare": False, **FEW}
    return data, nf.finetune(run.path, data, task="adapt", out=out, **how)


def first_inputs(encoder, files):
    """What the first norm of an encoder sees of pictures, and that norm."""
    norm, seen = batch_norms(encoder)[0], []
    handle = norm.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    encoder.encode(files, batch_size=len(files))
    handle.remove()
    return seen[0].detach(), norm


def test_norms_end_with_the_statistics_of_the_other_domain(by_statistics):
    data, run = by_statistics
    judged = keys_of(run, data)
    files = [path for path in sorted((data / "there").rglob("*.png")) if str(path.relative_to(data)) not in judged]
    assert len(files) == 20
    seen, norm = first_inputs(run.encoder, files)
    torch.testing.assert_close(norm.running_mean, seen.mean((0, 2, 3)), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(norm.running_var, seen.transpose(0, 1).flatten(1).var(1), rtol=1e-4, atol=1e-4)
    again = nf.load(run.path)
    assert torch.equal(batch_norms(again)[0].running_mean, norm.running_mean)


def test_they_learn_with_those_of_the_source_and_what_it_is_compared_with_keeps_its_own(by_statistics, pictured):
    data, run = by_statistics
    started = nf.load(pictured[1].path)
    kept = load_file(run.path / "encoder" / "start.safetensors")
    theirs = started.state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in theirs.items() if "running" in name)
    seen, _ = first_inputs(started, sorted((data / "here").rglob("*.png")))
    name = next(name for name in theirs if name.endswith("running_mean"))
    last = max((run.path / "checkpoint").iterdir())
    learnt = load_file(last / "weights.safetensors")[f"encoder.{name}"]
    here, there = seen.mean((0, 2, 3)), run.encoder.state_dict()[name]
    assert (learnt - here).norm() < 0.1 * (learnt - there).norm()
    if RunFolder(run.path).read_config()["optimisation"]["fix_norms"]:
        torch.testing.assert_close(learnt, here, rtol=1e-4, atol=1e-4)


def keys_of(run, data):
    """The samples that judge, by the numbers that they have in the data."""
    at = nf.files.read_json(run.path / "head" / "judged.json")["at"]
    files = sorted(str(path.relative_to(data)) for path in data.rglob("*.png"))
    return [files[i] for i in at]


def test_notes_say_whose_statistics_norms_have(by_statistics):
    judged = nf.files.read_json(by_statistics[1].path / "head" / "judged.json")
    assert any("Batch norms have the statistics of 20 samples" in note for note in judged["notes"])


def test_a_killed_adaptation_by_statistics_ends_the_same(by_statistics, tmp_path, stop_at, pictured):
    data, run = by_statistics
    fixed = RunFolder(run.path).read_config()["optimisation"]["fix_norms"]
    how = {"source_domain": "here", "align": "statistics", "fix_norms": fixed, "compare": False, **FEW}
    stop_at(3, die)
    with pytest.raises(Killed):
        nf.finetune(pictured[1].path, data, task="adapt", out=tmp_path / "run", **how)
    again = nf.finetune(out=tmp_path / "run", resume=True)
    theirs = again.encoder.state_dict()
    assert all(torch.equal(value, theirs[name]) for name, value in run.encoder.state_dict().items())


def test_statistics_want_batch_norms(start, tmp_path):
    with pytest.raises(ConfigError, match=r"the encoder 'wide' has none: take --align coral"):
        adapted(start, tmp_path / "run", align="statistics")
    assert not (tmp_path / "run").exists()
