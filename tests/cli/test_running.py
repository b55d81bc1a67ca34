"""Each command is one call of the api, and its result text or JSON."""

import json
import logging
import os

import pytest

import nearfar
from nearfar.cli import STARTED, main


@pytest.mark.parametrize(
    ("line", "call"),
    [
        ("train photos --budget 10m --quiet", ("train", ("photos",), {"budget": "10m", "quiet": True})),
        ("train photos --out o", ("train", ("photos",), {"out": "{here}/o", "quiet": False})),
        ("train --resume --out o", ("train", (None,), {"resume": True, "out": "{here}/o", "quiet": False})),
        ("demo --seed 3", ("demo", (), {"seed": 3, "quiet": False})),
        ("evaluate run a --test b --device cpu", ("evaluate", ("run", "a", "b"), {"device": "cpu"})),
        ("embed run a -o v.npy --batch-size 8", ("embed_file", ("run", "a", "{here}/v.npy"), {"batch_size": 8})),
        ("report a b", ("report", ("a", "b"), {})),
        ("report a b -o c.html", ("report", ("a", "b"), {"out": "{here}/c.html"})),
    ],
)
def test_a_command_is_one_call(api, tmp_path, line, call):
    assert main(line.split()) == 0
    name, places, options = json.loads(json.dumps(call).replace("{here}", str(tmp_path)))
    options |= {"started": STARTED} if name in ("train", "demo") else {}
    assert api.calls == [(name, tuple(places), options)]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train", "nearfar train needs DATA"),
        ("train --resume", "give --out"),
        ("search run q", "run' keeps no embeddings: say where to look by --in"),
        ("list metods", "Did you mean 'methods'?"),
        ("completion csh", "No shell is named 'csh'"),
        ("embed run data -o /proc/no/v.npy", "'/proc/no/v.npy' cannot be written"),
    ],
)
def test_a_mistake_calls_nothing(api, capsys, tmp_path, line, says):
    (tmp_path / "run").mkdir()
    assert main(line.split()) == 2
    assert says in capsys.readouterr().err
    assert api.calls == []


def test_train_shows_the_verdict_and_where_the_run_and_its_report_are(api, capsys):
    main(["train", "photos"])
    assert capsys.readouterr().out == f"knn  91.0\ngood: it works.\nrun     {api.run.path}\n"
    api.run.path.mkdir()
    page = api.run.path / "report.html"
    page.touch()
    main(["train", "photos", "--no-evaluate"])
    assert f"report  {page}\n" in capsys.readouterr().out


def test_a_run_that_was_not_evaluated_has_no_table(api, capsys):
    api.run.evaluation = None
    assert main(["train", "photos", "--no-evaluate"]) == 0
    assert capsys.readouterr().out == f"run     {api.run.path}\n"
    main(["train", "photos", "--no-evaluate", "--json"])
    assert {"verdict": None, "level": None}.items() <= json.loads(capsys.readouterr().out).items()


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("evaluate run a", "knn  91.0\ngood: it works.\n"),
        ("embed run data -o v.npy", "7 vectors of 3 dimensions in v.npy\n"),
        ("search run q -k 2 --in v.parquet", "q\n  0.970  a.png       cat\n  0.500  long/b.png\n"),
        ("report a", "a/report.html\n"),
        ("report a b", "a is better than b.\na/report.html\n"),
    ],
)
def test_a_result_is_text_on_standard_output(api, capsys, line, text):
    main(line.split())
    assert capsys.readouterr().out == text


@pytest.mark.parametrize(
    "line", ["train photos", "demo", "evaluate run a", "embed run data -o v.npy", "search run q --in v.npy", "report a"]
)
def test_json_is_one_object_and_nothing_else(api, capsys, line):
    assert main([*line.split(), "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["command"] == line.split()[0]
    assert "noise" in streams.err


def test_json_of_a_search_has_every_hit(api, capsys):
    main("search run q --in v.npy --json".split())
    found = json.loads(capsys.readouterr().out)["queries"]
    assert found[0]["query"] == "q"
    assert {"key": "a.png", "similarity": 0.97, "label": "cat"}.items() <= found[0]["hits"][0].items()


@pytest.mark.parametrize("line", ["train photos --json", "evaluate run a --json"])
def test_json_has_the_verdict_as_text_and_as_a_level(api, capsys, line):
    main(line.split())
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["level"], found["evaluation"]) == ("it works.", "good", {"knn": 0.91})


def test_an_error_leaves_json_empty(api, capsys):
    api.fails = ValueError("x")
    assert main("train photos --json".split()) == 1
    assert capsys.readouterr().out == ""


def test_what_the_library_logs_is_progress(api, capsys, monkeypatch):
    logged = api.function("report")

    def report(*runs, **options):
        logging.getLogger("nearfar").info("half way")
        return logged(*runs, **options)

    monkeypatch.setitem(vars(nearfar), "report", report)
    main(["report", "a"])
    assert "half way\n" in capsys.readouterr().err
    main(["report", "a", "--quiet"])
    assert "half way" not in capsys.readouterr().err


def test_threads_are_set_before_anything_is_imported(api, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    main("embed run data -o v.npy --threads 2".split())
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert api.calls[0][2] == {}
