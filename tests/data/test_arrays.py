import logging

import numpy as np
import pytest

from nearfar.data.glance import glance
from nearfar.data.reader import open_samples, splits_of
from nearfar.errors import DataError
from nearfar.modalities.image import MODALITY
from nearfar.modalities.opening import open_source
from nearfar.modalities.registry import find as modality_of

Y = np.array([1, 0, 1, 1])


def find(data, **more):
    return open_samples(str(data), extensions=frozenset({".png"}), columns=("image",), **more)


def pixels(*shape, dtype=np.uint8):
    return np.random.default_rng(0).integers(0, 256, shape).astype(dtype)


def save(path, array=None, **named):
    np.save(path, array) if array is not None else np.savez(path, **named)
    return path


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        ((5, 7), False),
        ((5, 7, 1), False),
        ((5, 7, 3), False),
        ((16, 16, 128), False),
        ((9, 12, 6), False),
        ((3, 5, 7), True),
        ((128, 16, 16), True),
        ((6, 9, 12), True),
    ],
)
def test_pictures_of_any_number_of_channels_are_arrays(tmp_path, shape, first):
    for dtype in (np.uint8, np.uint16, np.float32):
        array = pixels(4, *shape, dtype=dtype)
        found = find(save(tmp_path / "x.npy", array))
        assert found.keys == [f"x.npy#{i}" for i in range(4)]
        assert isinstance(found.contents._array, np.memmap)
        for i in range(4):
            assert np.array_equal(found.array(i), array[i].transpose(1, 2, 0) if first else array[i])


def test_arrays_of_pictures_are_images_and_arrays_of_rows_are_tables(tmp_path):
    structured = np.zeros(4, dtype=[("a", "f4"), ("b", "i8")])
    assert modality_of(str(save(tmp_path / "structured.npy", structured))) == "table"
    assert modality_of(str(save(tmp_path / "x.npy", pixels(4, 5, 7)))) == "image"
    assert modality_of(str(save(tmp_path / "t.npy", pixels(4, 5)))) == "table"
    assert modality_of(str(save(tmp_path / "x.npz", x=pixels(4, 5, 7), y=np.eye(4)))) == "image"
    assert modality_of(str(save(tmp_path / "t.npz", x=pixels(4, 5), y=np.eye(4)))) == "table"
    assert glance(str(tmp_path / "t.npz")).shapes == {"x": (4, 5), "y": (4, 4)}


def test_compressed_arrays_and_columns_first_are_read_too(tmp_path):
    array = pixels(4, 5, 7)
    np.savez_compressed(tmp_path / "x.npz", images=array, labels=Y)
    assert find(tmp_path / "x.npz").labels.tolist() == Y.tolist()
    assert np.array_equal(find(tmp_path / "x.npz").array(2), array[2])
    assert np.array_equal(find(save(tmp_path / "f.npz", x=np.asfortranarray(array))).array(3), array[3])


@pytest.mark.parametrize(
    "labels",
    [
        Y,
        Y[:, None],
        Y.astype(np.uint8),
        Y.astype(float),
        Y.astype(">f4")[:, None],
        Y == 1,
        np.array(["a", "b"])[Y],
        np.array([b"a", b"b"])[Y],
        np.eye(2, dtype=np.uint8)[Y],
        np.eye(2)[Y],
    ],
    ids=lambda labels: f"{labels.dtype}-{labels.ndim}",
)
def test_labels_of_any_type_go_with_their_samples(tmp_path, labels):
    for x in (pixels(4, 5, 7), pixels(4, 5)):
        path = save(tmp_path / "x.npz", x=x, y=labels, weight=np.ones(4))
        rows = {"columns": ("image",)} if x.ndim == 3 else {"further": None}
        assert open_samples(str(path), **rows).labels.tolist() == Y.tolist()


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (np.ones(3), "y holds 3 labels for 4 samples"),
        (np.ones((4, 2)), r"y has the shape [4, 2] and is not one-hot"),
        (np.array([0.5, 1, 2, 3]), "column 'label' holds measurements"),
        (np.ones(4, dtype="c16"), "y holds complex128"),
    ],
)
def test_labels_that_cannot_be_used_are_told(tmp_path, caplog, labels, said):
    caplog.set_level(logging.WARNING, "nearfar")
    assert find(save(tmp_path / "x.npz", x=pixels(4, 5, 7), y=labels)).labels is None
    assert said in caplog.text


@pytest.mark.parametrize("name", ["species", "Species_train", "y"])
@pytest.mark.parametrize("kind", [float, str])
def test_labels_come_from_the_array_that_is_named(tmp_path, name, kind):
    path = save(tmp_path / "x.npz", **{"x_train" if "train" in name else "x": pixels(4, 5), name: Y.astype(kind)})
    for more in ({"label_column": name.removesuffix("_train").lower()}, {"labels_in": name.removesuffix("_train")}):
        found = open_samples(str(path), further=None, **more)
        assert (found.labels.tolist(), found.label_column) == (Y.tolist(), next(iter(more.values())))


@pytest.mark.parametrize(("images", "labels"), [("x_{}", "y_{}"), ("{}_images", "{}_labels")])
def test_names_of_arrays_tell_splits(tmp_path, images, labels):
    named = {}
    for i, split in enumerate(("train", "test")):
        named[images.format(split)] = pixels(2 + i, 5, 7)
        named[labels.format(split)] = np.arange(2 + i)
    path = save(tmp_path / "x.npz", **named)
    assert splits_of(str(path)) == ["train", "test"]
    assert find(path).keys == ["x.npz#train/0", "x.npz#train/1"]
    assert find(f"{path}:test").labels.tolist() == [0, 1, 2]
    assert len(find(f"{path}:all")) == 5


@pytest.mark.parametrize(
    ("named", "said"),
    [
        ({"x": np.zeros((4, 5, 7), complex)}, r"holds no pictures .*: its arrays are x complex128 \[4, 5, 7\]"),
        ({"x": np.zeros((0, 5, 7))}, r"x float64 \[0, 5, 7\]"),
        ({"x": np.zeros(4)}, r"x float64 \[4\]"),
        ({"a": np.zeros((4, 5, 7)), "b": np.zeros((4, 5, 7))}, "which are the samples is not clear"),
    ],
)
def test_other_arrays_are_refused_with_what_they_are(tmp_path, named, said):
    with pytest.raises(DataError, match=said):
        find(save(tmp_path / "x.npz", **named))


@pytest.mark.parametrize(
    ("array", "channels", "white"),
    [
        (pixels(4, 8, 8, 3), 3, None),
        (pixels(4, 8, 8, dtype=np.uint16) * 10, 1, 4095),
        (pixels(4, 8, 8, dtype=np.float32) / 255, 1, 1),
        (pixels(4, 6, 16, 16, dtype=np.float16) - 100, 6, None),
    ],
)
def test_arrays_can_be_trained_on(tmp_path, array, channels, white):
    source = open_source(MODALITY, str(save(tmp_path / "x.npy", array)), cache="off")
    assert (source.channels, source.white) == (channels, white)
    square = source.suited({"stored_size": array.shape[-2 if channels == 3 else -1]}).fetch(np.array([2]))[0].pixels[0]
    low, high = (0, white) if white else (float(array[2].min()), float(array[2].max()))
    if channels == 3:
        low, high = 0, 255
    wanted = array[2][None] if array.ndim == 3 else array[2] if channels == 6 else array[2].transpose(2, 0, 1)
    assert np.abs(square.numpy() - (wanted.astype(float) - low) / (high - low) * 255).max() < 0.6
