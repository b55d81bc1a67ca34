import builtins
import io
import logging

import numpy as np
import pytest
from PIL import Image

from nearfar.data import hub
from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError, MissingExtra
from tests.modalities.image.opening import open_images


def find(data, **more):
    return open_samples(data, extensions=frozenset({".png"}), columns=("image", "path"), **more)


@pytest.fixture
def datasets():
    """The package, its own logging kept out of the way."""
    found = pytest.importorskip("datasets", reason="needs the extra `hub`")
    found.disable_progress_bars()
    logging.getLogger("datasets").setLevel(logging.ERROR)
    return found


def picture(i):
    file = io.BytesIO()
    Image.fromarray(np.full((8, 8, 3), 10 * i, dtype=np.uint8)).save(file, "PNG")
    return file.getvalue()


def table(datasets, rows, column="image"):
    features = datasets.Features({column: datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])})
    cells = {column: [{"bytes": picture(i), "path": None} for i in rows], "label": [i % 2 for i in rows]}
    return datasets.Dataset.from_dict(cells, features=features)


def test_a_saved_data_set_is_read_with_its_class_names(datasets, tmp_path):
    table(datasets, range(4)).save_to_disk(tmp_path / "d")
    found = find(f"hf:{tmp_path}/d")
    assert found.keys == [f"d#{i}" for i in range(4)]
    assert (found.labels.tolist(), found.label_names) == ([0, 1, 0, 1], ("cat", "dog"))
    assert [found.bytes(i) for i in (3, 0)] == [picture(3), picture(0)]


def test_the_column_of_pictures_is_found_by_its_feature(datasets, tmp_path):
    table(datasets, range(2), column="photograph").save_to_disk(tmp_path / "d")
    assert find(f"hf:{tmp_path}/d").bytes(1) == picture(1)


def test_splits_are_those_of_the_data_set(datasets, tmp_path):
    parts = {"train": table(datasets, range(4)), "test": table(datasets, range(4, 6))}
    datasets.DatasetDict(parts).save_to_disk(tmp_path / "d")
    data = f"hf:{tmp_path}/d"
    assert splits_of(data) == ["train", "test"]
    assert len(find(data)) == 4
    assert find(f"{data}:test").keys == ["d#test/0", "d#test/1"]
    assert find(f"{data}:test").bytes(1) == picture(5)
    assert [find(f"{data}:all").bytes(i) for i in (0, 5)] == [picture(0), picture(5)]


def test_a_saved_data_set_can_be_trained_on(datasets, tmp_path):
    table(datasets, range(4)).save_to_disk(tmp_path / "d")
    source = open_images(f"hf:{tmp_path}/d")
    source = source.suited({"stored_size": 8})
    assert source.fetch(np.array([2]))[0].pixels[0, 0, 0, 0] == 20


def test_without_a_column_of_pictures_the_columns_are_named(datasets, tmp_path):
    datasets.Dataset.from_dict({"x": [1]}).save_to_disk(tmp_path / "d")
    with pytest.raises(DataError, match="its columns are 'x'"):
        find(f"hf:{tmp_path}/d")


def test_a_folder_without_a_data_set_is_an_error(datasets, tmp_path):
    with pytest.raises(DataError, match="cannot be opened by the package datasets"):
        find(f"hf:{tmp_path}")
    with pytest.raises(DataError, match="There is no folder"):
        find(f"hf:{tmp_path}/nothing")


def test_without_the_package_the_extra_is_named(monkeypatch):
    hub._opened.cache_clear()
    real = builtins.__import__

    def without(name, *more, **how):
        if name == "datasets":
            raise ImportError(name)
        return real(name, *more, **how)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingExtra, match=r"pip install 'nearfar\[hub\]'"):
        find("hf:org/name")
