"""Masks are found beside their pictures, their values read, and what is wrong with them told and left out."""

import json

import numpy as np
import pytest
from PIL import Image

from nearfar.contract import Wanted
from nearfar.contract.annotations import VOID
from nearfar.errors import DataError
from nearfar.modalities.image import MODALITY
from nearfar.modalities.opening import open_source, splits

WANTED = Wanted(kind="masks")


def picture(path, size=(12, 8), mode="RGB"):
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(len(path.name))
    Image.fromarray(rng.integers(0, 256, (*size[::-1], 3)).astype(np.uint8)).convert(mode).save(path)


def mask(path, values, palette=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.asarray(values, dtype=np.uint8))
    if palette:
        image = image.convert("P")
        image = Image.fromarray(np.asarray(values, dtype=np.uint8), "P")
        image.putpalette(list(range(255, -1, -1)) * 3)
    image.save(path)


def halves(left=0, right=1, size=(12, 8)):
    values = np.full(size[::-1], left)
    values[:, size[0] // 2 :] = right
    return values


@pytest.fixture
def data(tmp_path):
    for i in range(3):
        picture(tmp_path / "images" / "train" / f"{i}.png")
        mask(tmp_path / "masks" / "train" / f"{i}.png", halves())
    return tmp_path


def opened(data, wanted=WANTED):
    return open_source(MODALITY, str(data), annotations=wanted)


@pytest.mark.parametrize("named", ["", "images", "images:train", ":train"])
def test_masks_lie_beside_the_pictures(data, named):
    source = opened(data / named if not named.startswith(":") else f"{data}{named}")
    assert source.annotated.tolist() == [0, 0, 0]
    assert source.annotations.classes == ("0", "1")
    assert (source.annotations.read(0) == halves()).all()


@pytest.mark.parametrize("named", ["", ":train"])
def test_masks_beside_are_no_pictures_where_nobody_asks_for_them(data, named):
    source = open_source(MODALITY, f"{data}{named}")
    assert len(source) == 3
    assert all("masks" not in key for key in source.keys)
    assert splits(MODALITY, str(data)) == ["train"]


def test_a_class_called_masks_is_one(tmp_path):
    for kind in ("masks", "helmets"):
        picture(tmp_path / kind / "0.png")
    assert open_source(MODALITY, str(tmp_path)).label_names == ("helmets", "masks")


def test_a_picture_without_a_mask_is_listed(data):
    (data / "masks" / "train" / "1.png").unlink()
    source = opened(data / "images")
    assert source.annotated.tolist() == [0, -1, 0]
    assert [(one.key, one.reason) for one in source.annotations.skipped] == [("train/1.png", "no mask")]
    raw, kept = source.fetch(np.arange(3))
    assert kept.tolist() == [0, 1, 2]
    assert (raw.marks["mask"][1] == VOID).all()


def test_classes_are_named_and_void_ones_are_none(data):
    mask(data / "masks" / "train" / "0.png", halves(2, 1))
    (data / "classes.txt").write_text("sky\nvoid\nroad\n")
    source = opened(data / "images")
    assert source.annotations.classes == ("sky", "road")
    assert (source.annotations.read(0) == halves(1, VOID)).all()
    assert source.annotations.remarks() == ["Pixels of the value 1 are of no class: left out."]


def test_values_that_are_not_listed_are_of_no_class(data):
    (data / "classes.txt").write_text("sky\nroad\n")
    mask(data / "masks" / "train" / "0.png", halves(1, 77))
    assert (opened(data / "images").annotations.read(0) == halves(1, VOID)).all()


def test_the_ignored_value_is_asked_for(data):
    mask(data / "masks" / "train" / "2.png", halves(2, 0))
    source = opened(data / "images", Wanted(kind="masks", ignored=0))
    assert source.annotations.classes == ("1", "2")
    assert (source.annotations.read(2) == halves(1, VOID)).all()


def test_palettes_are_numbers_and_colours_need_a_legend(data):
    mask(data / "masks" / "train" / "0.png", halves(), palette=True)
    colours = np.array([[10, 20, 30], [40, 50, 60], [1, 1, 2]], dtype=np.uint8)
    Image.fromarray(colours[halves(0, 2)]).save(data / "masks" / "train" / "1.png")
    source = opened(data / "images")
    assert (source.annotations.read(0) == halves()).all()
    assert source.fetch(np.arange(3))[1].tolist() == [0, 2]
    assert "say in classes.txt which is which" in source.skipped[0].reason
    (data / "classes.txt").write_text("sky 10 20 30\nroad 40 50 60\n")
    assert (opened(data / "images").annotations.read(1) == halves(0, VOID)).all()


def test_a_mask_of_another_shape_leaves_its_picture_out(data):
    mask(data / "masks" / "train" / "1.png", np.zeros((12, 8)))
    (data / "masks" / "train" / "2.png").write_bytes(b"no picture")
    source = opened(data / "images")
    assert source.fetch(np.arange(3))[1].tolist() == [0]
    reasons = {one.key: one.reason for one in source.skipped}
    assert "annotated as 8 x 12 pixels" in reasons["train/1.png"]
    assert "its mask cannot be read" in reasons["train/2.png"]


def test_without_masks_it_is_said_where_they_would_lie(data, tmp_path_factory):
    bare = tmp_path_factory.mktemp("bare")
    picture(bare / "a.png")
    picture(bare / "b.png")
    with pytest.raises(DataError, match=r"no masks beside .* put them into a folder `masks`"):
        opened(bare)
    with pytest.raises(DataError, match="There are no annotations at"):
        opened(bare, Wanted(kind="masks", place=str(bare / "nowhere")))
    with pytest.raises(DataError, match=r"None of the 3 masks .* that of 'a.png' would be 'a.png'"):
        opened(bare, Wanted(kind="masks", place=str(data / "masks")))


def test_outlines_of_coco_are_masks(data, tmp_path):
    runs = {"counts": [8 * 9, 8, 8 * 2], "size": [8, 12]}  # the tenth column
    things = [
        {"id": 1, "image_id": 7, "category_id": 5, "bbox": [0, 0, 6, 8], "segmentation": [[0, 0, 5, 0, 5, 7, 0, 7]]},
        {"id": 2, "image_id": 7, "category_id": 3, "bbox": [9, 0, 1, 8], "segmentation": runs},
        {"id": 3, "image_id": 7, "category_id": 3, "bbox": [11, 0, 1, 8], "iscrowd": 1},
    ]
    document = {
        "images": [{"id": 7, "file_name": "0.png", "width": 12, "height": 8}],
        "categories": [{"id": 3, "name": "dog"}, {"id": 5, "name": "cat"}],
        "annotations": things,
    }
    path = tmp_path / "coco_train.json"
    path.write_text(json.dumps(document))
    source = opened(data / "images", Wanted(kind="masks", place=str(path)))
    assert source.annotations.classes == ("background", "dog", "cat")
    assert source.annotated.tolist() == [0, -1, -1]
    expected = np.zeros((8, 12))
    expected[:, :6], expected[:, 9], expected[:, 11] = 2, 1, VOID
    assert (source.annotations.read(0) == expected).all()


def test_packed_runs_are_read():
    """The texts are what COCO's own code makes of these numbers."""
    from nearfar.modalities.image.annotations.coco import _unpacked

    assert _unpacked("6320004") == [6, 3, 2, 3, 2, 3, 6]
    assert _unpacked("hb032Y90gF4") == [600, 3, 2, 300, 2, 3, 6]
