"""Search: exact, nearest first, by a vector or by a sample, and mistakes in plain words."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image

import nearfar as nf
from nearfar.api.run import Run
from nearfar.api.search import search
from nearfar.api.searcher import Hit
from nearfar.api.sources import origin_of
from nearfar.contract import Encoder
from nearfar.data.embeddings import Embeddings
from nearfar.errors import ConfigError, DataError

CIRCLE = np.array([[1, 0], [0.8, 0.6], [0, 1], [-1, 0]], dtype=np.float32)
POINTS = Embeddings(CIRCLE, ["east", "north-east", "north", "west"], ["a", None, "b", "c"])


class Reader(Encoder):
    """A sample is a path, an image or a list; its vector is what the test says."""

    def encode(self, inputs: Any, *_: Any, **__: Any) -> Any:
        self.seen = inputs
        return np.array([0.0, 2.0], dtype=np.float32)

    def is_sample(self, inputs: Any) -> bool:
        return isinstance(inputs, str | Path | list) or (hasattr(inputs, "ndim") and inputs.ndim <= 3)


def test_a_sample_finds_itself_first() -> None:
    for row in range(4):
        assert search(POINTS, CIRCLE[row], k=1)[0].key == POINTS.keys[row]


def test_hits_come_nearest_first_with_their_labels() -> None:
    assert search(POINTS, [2.0, 0.0], k=3) == [
        Hit("east", 1.0, "a"),
        Hit("north-east", 0.8, None),
        Hit("north", 0.0, "b"),
    ]


def test_more_than_there_are_gives_all() -> None:
    assert len(search(POINTS, CIRCLE[0], k=99)) == 4


def test_without_labels_hits_have_none() -> None:
    assert search(Embeddings(CIRCLE, POINTS.keys), CIRCLE[0], k=1) == [Hit("east", 1.0, None)]


def test_a_file_of_embeddings_will_do(tmp_path: Path) -> None:
    path = POINTS.save(tmp_path / "e.parquet")
    assert search(str(path), CIRCLE[3], k=1)[0].key == "west"


@pytest.mark.parametrize("query", ["q.png", Path("q.png"), np.zeros((4, 4, 3), dtype=np.uint8)])
def test_a_sample_is_encoded(query: Any) -> None:
    encoder = Reader()
    assert search(POINTS, query, k=1, encoder=encoder)[0].key == "north"
    assert encoder.seen is query


def test_vectors_of_another_encoder_are_not_searched(tmp_path: Path) -> None:
    own, foreign = (replace(POINTS, maker=maker) for maker in (Reader().fingerprint(), "0" * 32))
    assert search(own.save(tmp_path / "own.parquet"), "q.png", k=1, encoder=Reader())[0].key == "north"
    for index in (foreign, foreign.save(tmp_path / "foreign.parquet")):
        with pytest.raises(DataError, match="made by another encoder"):
            search(index, "q.png", encoder=Reader())


def test_an_encoder_trained_further_has_another_fingerprint() -> None:
    encoder = Reader()
    encoder.register_buffer("weight", torch.zeros(3))
    before = encoder.fingerprint()
    assert encoder.fingerprint() == before
    encoder.weight.add_(1)
    assert encoder.fingerprint() != before


@pytest.mark.parametrize("query", [CIRCLE[3], torch.tensor([-1.0, 0.0]), torch.tensor([-1.0, 0.0], requires_grad=True)])
def test_a_vector_is_a_vector_though_an_encoder_is_given(query: Any) -> None:
    assert search(POINTS, query, k=1, encoder=Reader())[0].key == "west"


@pytest.mark.parametrize("shape", [(2,), (1, 2)])
def test_a_vector_may_be_a_file_or_json(tmp_path: Path, shape: tuple[int, ...]) -> None:
    np.save(tmp_path / "q.npy", CIRCLE[3].reshape(shape))
    for query in (str(tmp_path / "q.npy"), tmp_path / "q.npy", "[-1, 0]"):
        assert search(POINTS, query, k=1)[0].key == "west"


def test_several_vectors_in_a_file_are_named(tmp_path: Path) -> None:
    np.save(tmp_path / "q.npy", CIRCLE)
    with pytest.raises(ConfigError, match="holds 4 vectors"):
        search(POINTS, tmp_path / "q.npy")


def test_only_samples_that_meet_a_condition_are_found() -> None:
    about = pa.table({"height": [0.0, 0.6, 1.0, 0.0]})
    points = Embeddings(CIRCLE, POINTS.keys, POINTS.labels, None, about)
    found = search(points, "east", k=2, where="height > 0.5")
    assert [(hit.key, hit.about) for hit in found] == [("north-east", {"height": 0.6}), ("north", {"height": 1.0})]
    assert search(points, "east", where='label == "z"') == []


def test_a_condition_on_a_column_that_is_not_there_is_explained() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'label'"):
        search(POINTS, "east", where='lable == "a"')


@pytest.fixture
def pictures(finished: tuple[Path, Run]) -> tuple[Path, Run, list[str]]:
    data, run = finished
    return data, run, Embeddings.load(run.path / "embeddings.parquet").keys


def test_a_result_is_written_as_a_sheet_a_page_and_a_table(
    pictures: tuple[Path, Run, list[str]], tmp_path: Path
) -> None:
    _, run, keys = pictures
    for ending in ("png", "html", "csv"):
        nf.search_run(run.path, [keys[0], keys[1]], 12, out=tmp_path / f"found.{ending}")
    with Image.open(tmp_path / "found.png") as sheet:
        assert sheet.width > sheet.height > 400  # two queries of two lines
        assert len(sheet.convert("RGB").getcolors(2**24) or []) > 500  # pictures, not frames alone
    page = (tmp_path / "found.html").read_text()
    assert page.count("data:image/") >= 12
    rows = list(csv.reader((tmp_path / "found.csv").open()))
    assert rows[0] == ["query", "rank", "similarity", "key", "label", "path", "text"]
    assert rows[1][:4] == [keys[0], "1", "1.000000", keys[0]]
    assert len(rows) == 25


def test_a_wrong_ending_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"written as \.png, \.html, \.csv"):
        nf.search_run(tmp_path / "none", ["q"], out="found.pdf")


def test_an_approximate_index_of_data_is_refused(finished: tuple[Path, Run]) -> None:
    data, run = finished
    with pytest.raises(ConfigError, match="kept beside a file of embeddings"):
        nf.search_run(run.path, ["q"], within=data, index="hnsw")


def test_the_splits_of_data_can_be_told_apart(photos: Any, finished: tuple[Path, Run], tmp_path: Path) -> None:
    photos("data/train", count=6, classes=2)
    photos("data/test", count=4, classes=2, seed=1)
    file = tmp_path / "e.parquet"
    nf.embed(finished[1].path, f"{tmp_path / 'data'}:all", out=file)
    found = search(file, "train/class 0/00.png", k=9, where='split == "test"')
    assert len(found) == 4
    assert {hit.about["split"] for hit in found} == {"test"}
    assert all(hit.path is not None for hit in found)


def test_columns_of_a_manifest_can_be_searched_by(photos: Any, finished: tuple[Path, Run], tmp_path: Path) -> None:
    photos("pictures", count=4, classes=0)
    rows = [
        "path,label,price,split,code,size",
        *(f"pictures/0{i}.png,{'ab'[i % 2]},{i}.5,train,00{i + 5},{i + 1}" for i in range(4)),
    ]
    (tmp_path / "list.csv").write_text("\n".join(rows))
    found = nf.embed(finished[1].path, tmp_path / "list.csv", out=tmp_path / "e.parquet")
    assert found.about is not None
    assert found.about.column_names == ["split", "price", "code", "size"]
    hits = search(tmp_path / "e.parquet", found.keys[0], where="price > 1 and price < 3")
    assert sorted(hit.about["price"] for hit in hits) == [1.5, 2.5]
    codes = search(tmp_path / "e.parquet", found.keys[0], where='code == "007"')
    assert [hit.about["size"] for hit in codes] == [3]


def test_a_path_needs_an_encoder() -> None:
    with pytest.raises(ConfigError, match="give the encoder"):
        search(POINTS, "q.png")


@pytest.mark.parametrize("query", [np.ones(3), np.ones((1, 2)), 5.0])
def test_a_wrong_dimension_is_named(query: Any) -> None:
    with pytest.raises(DataError, match="2 dimensions: was it made by another encoder"):
        search(POINTS, query)


@pytest.mark.parametrize("query", [object(), ["a", "b"], None])
def test_what_is_no_query_is_named(query: Any) -> None:
    with pytest.raises(DataError, match=r"A query is|The query"):
        search(POINTS, query)


def test_a_query_that_is_not_finite_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        search(POINTS, np.array([np.nan, 1.0]))


@pytest.mark.parametrize("k", [0, -3])
def test_at_least_one_hit_is_asked_for(k: int) -> None:
    with pytest.raises(ConfigError, match="k must be at least 1"):
        search(POINTS, CIRCLE[0], k=k)


def test_an_empty_embedding_has_nothing_to_find() -> None:
    with pytest.raises(DataError, match="nothing to search"):
        search(Embeddings(np.empty((0, 2), dtype=np.float32), []), CIRCLE[0])


@pytest.mark.parametrize("data", ["", "data/s-{0..1}.tar", "*/s-*.tar"])
def test_a_member_of_a_shard_is_shown_with_the_path_of_its_archive(tmp_path: Path, data: str) -> None:
    (tmp_path / "data").mkdir()
    for name in ("s-0.tar", "s-1.tar"):
        (tmp_path / "data" / name).touch()
    keys = ["s-0.tar#a.png", "s-1.tar#b.png"]
    found = Embeddings(np.eye(2, dtype=np.float32), keys, None, origin_of(tmp_path / data))
    assert search(found, np.array([0, 1]), 1)[0].path == str(tmp_path / "data" / "s-1.tar#b.png")
