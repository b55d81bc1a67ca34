"""Boxes are read from COCO's and VOC's files; what is wrong with them is cut or left out, and told."""

import json

import numpy as np
import pytest
from PIL import Image

from nearfar.contract import Wanted
from nearfar.errors import DataError
from nearfar.modalities.image import MODALITY
from nearfar.modalities.opening import open_source

WANTED = Wanted(kind="boxes")


def pictures(folder, count=3, size=(20, 10)):
    (folder / "images").mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (*size[::-1], 3))
        Image.fromarray(pixels.astype(np.uint8)).save(folder / "images" / f"{i}.png")
    return folder


def coco(things, names=("0.png", "1.png", "2.png"), size=(20, 10)):
    return {
        "images": [
            {"id": 10 + i, "file_name": name, "width": size[0], "height": size[1]} for i, name in enumerate(names)
        ],
        "categories": [{"id": 7, "name": "fox"}, {"id": 2, "name": "owl"}],
        "annotations": [{"id": i, "image_id": 10, "category_id": 7, **thing} for i, thing in enumerate(things)],
    }


def opened(data, wanted=WANTED):
    return open_source(MODALITY, str(data), annotations=wanted)


def test_boxes_of_coco_lie_beside_the_pictures(tmp_path):
    things = [{"bbox": [2, 1, 4, 5]}, {"bbox": [0, 0, 20, 10], "category_id": 2, "image_id": 12}]
    (pictures(tmp_path) / "coco_train.json").write_text(json.dumps(coco(things)))
    for data in (tmp_path, tmp_path / "images"):
        source = opened(data)
        assert source.annotations.classes == ("owl", "fox")
        assert source.annotations.codes == (2, 7)
        found = source.annotations.read(0)
        assert found.corners.tolist() == [[2, 1, 6, 6]]
        assert found.labels.tolist() == [1]
        marks = source.fetch(np.arange(3))[0].marks
        assert np.allclose(marks["boxes"][:, 0], [[0.1, 0.1, 0.3, 0.6], [0, 0, 0, 0], [0, 0, 1, 1]])
        assert marks["labels"].tolist() == [[1], [-1], [0]]


def test_what_is_wrong_is_cut_or_left_out_and_listed(tmp_path):
    things = [
        {"bbox": [2, 1, 0, 5]},
        {"bbox": [30, 1, 4, 4]},
        {"bbox": [15, 5, 10, 10]},
        {"bbox": [1, 1, 2, 2], "category_id": 99},
        {"bbox": "none"},
        {"bbox": [1, 1, 2, 2], "image_id": 999},
        {"bbox": [1, 1, 2, 2], "iscrowd": 1},
    ]
    (pictures(tmp_path) / "coco.json").write_text(json.dumps(coco(things, ("0.png", "gone.png"))))
    source = opened(tmp_path)
    reasons = " / ".join(one.reason for one in source.annotations.skipped)
    for part in (
        "no area",
        "outside of the picture",
        "cut at the border",
        "99 is not listed",
        "no list of four",
        "no such",
    ):
        assert part in reasons
    assert source.annotations.read(0).corners.tolist() == [[15, 5, 20, 10], [1, 1, 3, 3]]
    assert source.annotations.read(0).crowd.tolist() == [False, True]
    assert source.fetch(np.arange(3))[0].marks["labels"].tolist() == [[1], [-1], [-1]]
    assert source.annotated.tolist() == [0, -1, -1]


def test_boxes_of_a_picture_of_another_shape_leave_it_out(tmp_path):
    (pictures(tmp_path) / "coco.json").write_text(json.dumps(coco([{"bbox": [0, 0, 5, 5]}], size=(10, 20))))
    source = opened(tmp_path)
    assert source.fetch(np.arange(2))[1].tolist() == []
    assert "annotated as 10 x 20 pixels" in source.skipped[0].reason


def test_files_of_several_parts_divide_the_pictures(tmp_path):
    pictures(tmp_path, 4)
    for part, names in (("train", ("0.png", "3.png")), ("val", ("1.png",)), ("test", ("2.png",))):
        (tmp_path / f"coco_{part}.json").write_text(json.dumps(coco([], names)))
    learnt, judged = opened(tmp_path).split(0)
    assert learnt.tolist() == [0, 3]
    assert judged.tolist() == [2]


def test_without_parts_a_fifth_of_the_annotated_judges(tmp_path):
    names = [f"{i}.png" for i in range(10)]
    (pictures(tmp_path, 12) / "coco.json").write_text(json.dumps(coco([], names)))
    learnt, judged = opened(tmp_path).split(3)
    assert len(judged) == 2
    assert sorted([*learnt, *judged]) == list(range(12))


def voc(name, *things, size="<size><width>20</width><height>10</height></size>"):
    objects = "".join(
        f"<object><name>{kind}</name><difficult>{hard}</difficult><bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin>"
        f"<xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox></object>"
        for kind, box, hard in things
    )
    return f"<annotation><filename>{name}</filename>{size}{objects}</annotation>"


def test_boxes_of_voc_are_read(tmp_path):
    folder = pictures(tmp_path) / "annotations"
    folder.mkdir()
    (folder / "0.xml").write_text(voc("0.png", ("owl", (1, 2, 5, 9), 0), ("ant", (0, 0, 3, 3), 1)))
    (folder / "1.xml").write_text(voc("1.png", ("owl", (5, 2, 5, 9), 0), size=""))
    (folder / "2.xml").write_text("<annotation><object>")
    (folder / "9.xml").write_text(voc("9.png"))
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.txt").write_text("1\n")
    (tmp_path / "splits" / "train.txt").write_text("0\n2\n")
    source = opened(tmp_path)
    assert source.annotations.classes == ("ant", "owl")
    found = source.annotations.read(0)
    assert found.corners.tolist() == [[1, 2, 5, 9], [0, 0, 3, 3]]
    assert found.crowd.tolist() == [False, True]
    assert source.annotated.tolist() == [0, 0, -1]
    assert [part.tolist() for part in source.split(0)] == [[0, 2], [1]]
    assert {one.key for one in source.annotations.skipped} == {"2.xml", "9.xml", "1.png"}


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "cannot be read as COCO"), ("[]", "no json object"), ('{"images": 3}', "no list of"),
     ('{"categories": [], "images": [], "annotations": []}', "names no categories")],
)  # fmt: skip
def test_a_file_that_is_none_of_coco_is_refused(tmp_path, content, message):
    (pictures(tmp_path) / "coco.json").write_text(content)
    with pytest.raises(DataError, match=message):
        opened(tmp_path)


def test_without_boxes_it_is_said_where_they_would_lie(tmp_path):
    pictures(tmp_path)
    with pytest.raises(DataError, match=r"no boxes beside .* put coco_train.json"):
        opened(tmp_path / "images")
    (tmp_path / "coco.json").write_text(json.dumps(coco([], ("other.png",))))
    with pytest.raises(DataError, match="names no picture of"):
        opened(tmp_path)
