"""Embeddings: vectors keep their keys and labels, in memory, on disk, and when samples cannot be read."""

import csv
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearfar.contract import Encoder, Rows
from nearfar.data.embedding_parts import Parts
from nearfar.data.embeddings import Embeddings, holds_embeddings
from nearfar.errors import ConfigError, DataError, OutputError
from nearfar.evaluation.embedding import embed_source, label_names, whiten

SAVED = """
import sys, numpy as np
from nearfar.data.embeddings import Embeddings
Embeddings(np.zeros((2, 3), np.float32), ["a", "b"], [None, "cat"]).save(sys.argv[1])
print("pandas" in sys.modules)
"""
ODD = ["a, b.png", 'qu"ote.png', "new\nline.png", "日本/ä.png", "<script>.png", "not-\udcff-utf8.png", "'=1+1"]


def some(count: int = 5, labels: list[str | None] | None = None) -> Embeddings:
    vectors = np.random.default_rng(0).normal(size=(count, 3)).astype(np.float32)
    return Embeddings(vectors, [f"{i}.png" for i in range(count)], labels)


formats = pytest.mark.parametrize("name", ["e.parquet", "e.npy", "E.NPY"])


@formats
def test_a_folder_with_a_colon_is_a_path_and_no_web_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    place = Path("exp:1") / name
    assert some().save(place) == place
    assert len(Embeddings.load(place)) == len(Embeddings.load(str(place))) == 5
    assert holds_embeddings(place, 3)
    parts = Parts(Path("exp:2") / name.lower(), {})
    with parts.opened():
        parts.put(0, some(), [])
        assert parts.skipped() == []
        assert parts.join() == (5, 3)


@formats
def test_what_is_saved_comes_back(tmp_path: Path, name: str) -> None:
    made = some(labels=["cat", None, "dog", "cat", None])
    assert made.save(tmp_path / "new" / name) == tmp_path / "new" / name
    found = Embeddings.load(tmp_path / "new" / name)
    assert found.vectors.dtype == np.float32
    assert np.array_equal(found.vectors, made.vectors)
    assert found.keys == made.keys
    assert found.labels == made.labels


@formats
def test_a_file_whose_name_is_not_utf_8_is_written_and_read(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"r\udcfc-{name}"
    some().save(path)
    np.testing.assert_array_equal(Embeddings.load(path).vectors, some().vectors)
    assert holds_embeddings(path, 3)


@formats
def test_no_labels_stay_no_labels(tmp_path: Path, name: str) -> None:
    assert Embeddings.load(some().save(tmp_path / name)).labels is None


@formats
def test_odd_keys_and_labels_survive(tmp_path: Path, name: str) -> None:
    vectors = np.zeros((len(ODD), 2), dtype=np.float32)
    found = Embeddings.load(Embeddings(vectors, ODD, list(ODD)).save(tmp_path / name))
    expected = [key.replace("\udcff", "\\udcff") for key in ODD]
    assert found.keys == expected
    assert found.labels == expected


@formats
def test_nothing_can_be_saved_too(tmp_path: Path, name: str) -> None:
    found = Embeddings.load(Embeddings(np.empty((0, 4), dtype=np.float32), []).save(tmp_path / name))
    assert found.vectors.shape == (0, 4)
    assert len(found) == 0


def test_an_npy_file_is_the_vectors_alone(tmp_path: Path) -> None:
    made = some()
    made.save(tmp_path / "e.npy")
    assert np.array_equal(np.load(tmp_path / "e.npy", allow_pickle=False), made.vectors)
    with (tmp_path / "e.keys.csv").open(newline="") as file:
        assert next(csv.reader(file)) == ["key", "label"]


def test_an_npy_file_without_keys_gets_row_numbers(tmp_path: Path) -> None:
    np.save(tmp_path / "e.npy", np.ones((2, 3)))
    found = Embeddings.load(tmp_path / "e.npy")
    assert found.keys == ["e.npy#0", "e.npy#1"]
    assert found.vectors.dtype == np.float32


def test_a_parquet_file_of_other_programs_is_read(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"key": ["a", "b"], "vector": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "e.parquet")
    found = Embeddings.load(tmp_path / "e.parquet")
    assert found.vectors.tolist() == [[1, 2], [3, 4]]
    assert found.labels is None


@pytest.mark.parametrize("name", ["e.csv", "e", "e.parquet.gz"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match=r"written as .parquet or .npy"):
        some().save(tmp_path / name)


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no file of embeddings.*nearfar embed"):
        Embeddings.load(tmp_path / "e.parquet")


def written_table(path: Path, **columns: Any) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table(columns), path)


@pytest.mark.parametrize("size", [0, 3, 60])
@formats
def test_a_file_cut_short_is_named(tmp_path: Path, name: str, size: int) -> None:
    path = some().save(tmp_path / name)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(DataError, match=rf"{name}' cannot be read as embeddings"):
        Embeddings.load(path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"name": ["a"]}, "no column 'key'"),
        ({"key": ["a"]}, "no column 'vector'"),
        ({"key": ["a", "b"], "vector": [[1.0], [1.0, 2.0]]}, "cannot be read"),
        ({"key": ["a"], "vector": [3.0]}, "do not go with vectors"),
        ({"key": ["a"], "vector": [["x"]]}, "cannot be read"),
    ],
)
def test_a_parquet_file_of_something_else_is_named(tmp_path: Path, columns: dict[str, Any], message: str) -> None:
    written_table(tmp_path / "e.parquet", **columns)
    with pytest.raises(DataError, match=message):
        Embeddings.load(tmp_path / "e.parquet")


def test_keys_of_another_number_are_refused(tmp_path: Path) -> None:
    path = some().save(tmp_path / "e.npy")
    np.save(path, np.ones((4, 3)))
    with pytest.raises(DataError, match=r"5 keys do not go with vectors of shape \[4, 3\]"):
        Embeddings.load(path)


def test_labels_of_another_number_are_refused() -> None:
    with pytest.raises(DataError, match="2 labels do not go with 5 keys"):
        some(labels=["a", "b"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot be written: "):
        some().save(tmp_path / "file" / "e.npy")


class Doubling(Encoder):
    """Vectors are twice the numbers, plus half of that while it trains."""

    def __init__(self) -> None:
        super().__init__()
        self.dim, self.config = 2, {}
        self.scale = nn.Parameter(torch.tensor(2.0))

    def features(self, inputs: Tensor) -> Tensor:
        return inputs * self.scale * (1.5 if self.training else 1.0)

    def prepare(self, raw: Tensor) -> Tensor:
        return raw


class Numbers:
    """Rows of two numbers, some of which cannot be read."""

    name = "numbers"
    label_names = ("even", "odd")
    skipped: list[Any]

    def __init__(self, count: int, bad: tuple[int, ...] = (), labels: list[int] | None = None) -> None:
        self.rows = np.arange(count)
        self.bad = set(bad)
        self.labels = None if labels is None else np.array(labels)
        self.keys = [f"k{i}" for i in range(count)]

    def __len__(self) -> int:
        return len(self.rows)

    def fetch(self, rows: Rows) -> tuple[Tensor, Rows]:
        kept = np.array([row for row in rows.tolist() if row not in self.bad], dtype=np.int64)
        return torch.from_numpy(np.stack([kept, kept**2], axis=1)).float(), kept

    def take(self, rows: Rows) -> "Numbers":
        return self


def test_vectors_go_with_their_rows_when_some_are_unreadable() -> None:
    source: Any = Numbers(10, bad=(0, 3, 4, 5, 9), labels=[i % 2 for i in range(10)])
    vectors, rows = embed_source(Doubling(), source, batch_size=3)  # rows 3 to 5 are a whole batch
    assert rows.tolist() == [1, 2, 6, 7, 8]
    assert vectors.tolist() == [[2 * i, 2 * i * i] for i in rows.tolist()]
    assert label_names(source, rows) == ["odd", "even", "even", "odd", "even"]


def test_embedding_happens_in_evaluation_mode_and_leaves_the_mode() -> None:
    source: Any = Numbers(4)
    for training in (True, False):
        encoder = Doubling().train(training)
        vectors, _ = embed_source(encoder, source)
        assert vectors[1].tolist() == [2, 2]
        assert encoder.training is training
        assert not vectors.requires_grad


def test_the_mode_is_left_after_an_error_too() -> None:
    class Broken(Doubling):
        def features(self, inputs: Tensor) -> Tensor:
            raise RuntimeError

    encoder = Broken().train()
    source: Any = Numbers(4)
    with pytest.raises(RuntimeError):
        embed_source(encoder, source)
    assert encoder.training


def test_nothing_readable_is_no_vectors() -> None:
    source: Any = Numbers(3, bad=(0, 1, 2))
    vectors, rows = embed_source(Doubling(), source)
    assert vectors.shape == (0, 2)
    assert rows.tolist() == []


def test_samples_without_a_label_have_none() -> None:
    source: Any = Numbers(3, labels=[1, -1, 0])
    assert label_names(source, np.array([0, 1, 2])) == ["odd", None, "even"]
    unlabelled: Any = Numbers(3)
    assert label_names(unlabelled, np.array([0])) is None


def test_whitening_follows_the_features() -> None:
    encoder, source = Doubling().eval(), Numbers(50)
    given: Any = source
    before, _ = embed_source(encoder, given)
    whiten(encoder, given)
    assert encoder.config["whitened"] is True
    after, _ = embed_source(encoder, given)
    assert after.mean(0).abs().max() < 1e-3
    torch.testing.assert_close(after, encoder.output(before))


def test_whitening_again_starts_from_the_features() -> None:
    encoder = Doubling().eval()
    source: Any = Numbers(50)
    whiten(encoder, source)
    once, _ = embed_source(encoder, source)
    whiten(encoder, source)
    assert torch.equal(embed_source(encoder, source)[0], once)


@pytest.mark.skipif(find_spec("pandas") is None, reason="needs pandas, which nearfar does not install")
def test_saving_imports_no_pandas(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SAVED, str(tmp_path / "e.parquet")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
    assert Embeddings.load(tmp_path / "e.parquet").labels == [None, "cat"]


def test_cells_that_a_spreadsheet_would_run_are_guarded_in_the_file_and_come_back(tmp_path):
    cells = ["=1+1", "+1", "-1", "@x", "\tx", "\uff1dx", "'=1", "''@", "'plain", "a=b", "", "1"]
    keys = [f"{cell} {i}" if cell in ("", "1") else cell for i, cell in enumerate(cells)]
    Embeddings(np.zeros((len(cells), 2), np.float32), keys, keys).save(tmp_path / "e.npy")
    written = [line.split(",")[0].strip('"') for line in (tmp_path / "e.keys.csv").read_text().splitlines()[1:]]
    assert not [line for line in written if line[:1] in ("=", "+", "-", "@", "\t", "\uff1d")]
    again = Embeddings.load(tmp_path / "e.npy")
    assert again.keys == again.labels == keys
