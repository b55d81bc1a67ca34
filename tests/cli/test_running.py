"""Each command is one call of the face, and its result text or JSON."""

import json
import logging
import os

import pytest

import nearfar
from nearfar.cli import STARTED, main


def test_train_hands_on_what_was_given_and_nothing_else(face):
    assert main("train photos --out o --budget 10m --image-size 64 --compile --quiet".split()) == 0
    options = {"out": "o", "budget": "10m", "image_size": 64, "compile": True, "quiet": True}
    assert face.calls == [("train", ("photos",), options | {"started": STARTED})]


def test_a_run_goes_on_without_data(face):
    assert main("train --resume --out o".split()) == 0
    assert face.calls == [("train", (None,), {"resume": True, "out": "o", "started": STARTED})]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("train", "nearfar train needs DATA"),
        ("train --resume", "give --out"),
        ("embed run data -o v.txt", "--out must end in .parquet or .npy, got 'v.txt'"),
        ("search run", "at least one QUERY"),
        ("search run q", "say where to look with --in"),
        ("report", "at least one RUN"),
        ("list metods", "Did you mean 'methods'?"),
    ],
)
def test_a_mistake_calls_nothing(face, capsys, line, says):
    assert main(line.split()) == 2
    assert says in capsys.readouterr().err
    assert face.calls == []


def test_train_shows_the_verdict_and_where_the_run_is(face, capsys):
    main(["train", "photos"])
    assert capsys.readouterr().out == f"knn  91.0\ngood: it works.\nrun     {face.run.path}\n"


def test_train_names_the_report_where_there_is_one(face, capsys):
    face.run.path.mkdir()
    (face.run.path / "report.html").touch()
    main(["train", "photos"])
    assert f"report  {face.run.path / 'report.html'}" in capsys.readouterr().out


def test_demo_hands_on_its_seed(face):
    main("demo --seed 3".split())
    assert face.calls == [("demo", (), {"seed": 3, "started": STARTED})]


def test_evaluate_hands_on_the_folder_of_the_run(face, capsys):
    main("evaluate run a --test b --no-baselines --device cpu".split())
    options = {"baselines": False, "device": "cpu"}
    assert face.calls == [("evaluate", ("run", "a", "b"), options)]
    assert capsys.readouterr().out == "knn  91.0\ngood: it works.\n"


def test_embed_writes_the_file_and_says_what_is_in_it(face, capsys):
    main("embed run data -o v.npy --batch-size 8".split())
    assert face.calls == [("embed_file", ("run", "data", "v.npy"), {"batch_size": 8})]
    assert capsys.readouterr().out == "7 vectors of 3 dimensions in v.npy\n"


def test_search_looks_in_a_file_of_vectors(face, capsys):
    main("search run q -k 2 --in v.parquet".split())
    assert face.calls[1] == ("search", ("the vectors of v.parquet", "q", 2), {"encoder": "the encoder"})
    assert capsys.readouterr().out == "q\n  0.970  a.png       cat\n  0.500  long/b.png\n"


def test_search_embeds_the_data_it_is_given(face):
    main("search run q --in photos --device cpu".split())
    assert face.calls[1] == ("embed", ("the encoder", "photos"), {"device": "cpu"})


def test_search_looks_in_the_run_s_own_vectors_first(face, tmp_path):
    (tmp_path / "embeddings.parquet").touch()
    main(["search", str(tmp_path), "q"])
    assert face.calls[1][1][0] == f"the vectors of {tmp_path / 'embeddings.parquet'}"


def test_report_shows_the_page_of_each_run(face, capsys):
    main("report a b".split())
    assert face.calls == [("report", ("a", "b"), {})]
    assert capsys.readouterr().out == "a/report.html\nb/report.html\n"


@pytest.mark.parametrize(
    "line", ["train photos", "demo", "evaluate run a", "embed run data -o v.npy", "search run q --in v.npy", "report a"]
)
def test_json_is_one_object_and_nothing_else(face, capsys, line):
    assert main([*line.split(), "--json"]) == 0
    streams = capsys.readouterr()
    assert json.loads(streams.out)["command"] == line.split()[0]
    assert "noise" in streams.err


def test_json_of_a_search_has_every_hit(face, capsys):
    main("search run q --in v.npy --json".split())
    found = json.loads(capsys.readouterr().out)["queries"]
    assert found[0]["query"] == "q"
    assert found[0]["hits"][0] == {"key": "a.png", "similarity": 0.97, "label": "cat"}


def test_an_error_leaves_json_empty(face, capsys):
    face.fails = ValueError("x")
    assert main("train photos --json".split()) == 1
    assert capsys.readouterr().out == ""


def test_what_the_library_logs_is_progress(face, capsys, monkeypatch):
    logged = face.function("report")

    def report(*runs, **options):
        logging.getLogger("nearfar").info("half way")
        return logged(*runs, **options)

    monkeypatch.setitem(vars(nearfar), "report", report)
    main(["report", "a"])
    assert "half way\n" in capsys.readouterr().err
    main(["report", "a", "--quiet"])
    assert "half way" not in capsys.readouterr().err


def test_threads_are_set_before_anything_is_imported(face, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    main("embed run data -o v.npy --threads 2".split())
    assert os.environ["OMP_NUM_THREADS"] == "2"
    assert face.calls[0][1:] == (("run", "data", "v.npy"), {})
