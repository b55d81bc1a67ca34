"""Search: exact, nearest first, by a vector or by a sample, and mistakes in plain words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.api.search import Hit, search
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


@pytest.mark.parametrize("query", [CIRCLE[3], torch.tensor([-1.0, 0.0]), torch.tensor([-1.0, 0.0], requires_grad=True)])
def test_a_vector_is_a_vector_though_an_encoder_is_given(query: Any) -> None:
    assert search(POINTS, query, k=1, encoder=Reader())[0].key == "west"


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
