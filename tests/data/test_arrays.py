import io

import numpy as np
import pytest
from PIL import Image

from nearfar.data import arrays
from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError
from nearfar.modalities.image.source import open_images
from nearfar.modalities.registry import find as modality_of


def find(data, **more):
    return open_samples(str(data), extensions=frozenset({".png"}), columns=("image",), **more)


def pictures(*shape):
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def save(path, array=None, **named):
    np.save(path, array) if array is not None else np.savez(path, **named)
    return path


@pytest.mark.parametrize("shape", [(4, 5, 7), (4, 5, 7, 1), (4, 5, 7, 3)])
def test_pictures_are_read_pixel_by_pixel(tmp_path, shape):
    array = pictures(*shape)
    found = find(save(tmp_path / "x.npy", array))
    assert found.keys == [f"x.npy#{i}" for i in range(4)]
    for i in range(4):
        with Image.open(io.BytesIO(found.bytes(i))) as image:
            assert np.array_equal(np.asarray(image), array[i].squeeze())


def test_arrays_of_pictures_are_images_and_tables_stay_tables(tmp_path):
    assert modality_of(str(save(tmp_path / "x.npy", pictures(4, 5, 7)))) == "image"
    assert modality_of(str(save(tmp_path / "t.npy", pictures(4, 5)))) == "table"
    assert modality_of(str(save(tmp_path / "x.npz", x=pictures(4, 5, 7), y=np.arange(4)))) == "image"


def test_arrays_are_mapped_and_not_loaded(tmp_path):
    for path in (save(tmp_path / "x.npy", pictures(4, 5, 7)), save(tmp_path / "x.npz", x=pictures(4, 5, 7))):
        (images, _) = arrays._pictures(path)[""]
        assert isinstance(images, np.memmap)


def test_compressed_arrays_are_read_too(tmp_path):
    array = pictures(4, 5, 7)
    np.savez_compressed(tmp_path / "x.npz", images=array, labels=np.array([1, 0, 1, 1]))
    found = find(tmp_path / "x.npz")
    assert found.labels.tolist() == [1, 0, 1, 1]
    assert found.bytes(2).endswith(array[2].tobytes())


def test_fortran_order_is_kept(tmp_path):
    array = pictures(4, 5, 7)
    assert find(save(tmp_path / "x.npz", x=np.asfortranarray(array))).bytes(3).endswith(array[3].tobytes())


@pytest.mark.parametrize("labels", [np.array([3, 1, 3, 1]), np.array([[3], [1], [3], [1]]), np.array(list("dada"))])
def test_labels_of_an_npz_go_with_its_pictures(tmp_path, labels):
    found = find(save(tmp_path / "x.npz", x=pictures(4, 5, 7), y=labels, weight=np.ones(4)))
    assert found.labels.tolist() == [1, 0, 1, 0]


@pytest.mark.parametrize(("images", "labels"), [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_names_of_arrays_tell_splits(tmp_path, images, labels):
    named = {}
    for i, split in enumerate(("train", "test")):
        named[images.format(split)] = pictures(2 + i, 5, 7)
        named[labels.format(split)] = np.arange(2 + i)
    path = save(tmp_path / "x.npz", **named)
    assert splits_of(str(path)) == ["train", "test"]
    assert find(path).keys == ["x.npz#train/0", "x.npz#train/1"]
    assert find(f"{path}:test").labels.tolist() == [0, 1, 2]
    assert len(find(f"{path}:all")) == 5


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"x": np.zeros((4, 5, 7))}, r"x is float64 of shape \[4, 5, 7\]; pictures are bytes"),
        ({"x": np.zeros((4, 5, 7, 2), np.uint8)}, r"shape \[4, 5, 7, 2\]"),
        ({"x": np.zeros((0, 5, 7), np.uint8)}, r"shape \[0, 5, 7\]"),
        ({"x": np.zeros(4, np.uint8)}, r"holds no pictures: its arrays are x \[4\]"),
        (
            {"a": np.zeros((4, 5, 7), np.uint8), "b": np.zeros((4, 5, 7), np.uint8)},
            "which are the pictures is not clear",
        ),
    ],
)
def test_other_arrays_are_refused_with_what_they_are(tmp_path, named, said):
    with pytest.raises(DataError, match=said):
        find(save(tmp_path / "x.npz", **named))


def test_no_pickle_is_read(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.array([{"a": 1}] * 4, dtype=object))
    np.save(tmp_path / "x.npy", np.array([{"a": 1}] * 4, dtype=object), allow_pickle=True)
    for name in ("x.npz", "x.npy"):
        with pytest.raises(DataError, match="no file of arrays without pickle"):
            find(tmp_path / name)


def test_a_cut_file_is_an_error_that_names_it(tmp_path):
    for path in (save(tmp_path / "x.npy", pictures(4, 5, 7)), save(tmp_path / "x.npz", x=pictures(4, 5, 7))):
        path.write_bytes(path.read_bytes()[:150])
        with pytest.raises(DataError, match=path.name):
            find(path)


def test_an_array_can_be_trained_on(tmp_path):
    array = pictures(4, 8, 8, 3)
    source = open_images(str(save(tmp_path / "x.npy", array)))
    source.load({"stored_size": 8})
    assert np.array_equal(source.fetch(np.array([2]))[0].pixels[0].numpy(), array[2].transpose(2, 0, 1))
