"""A run of pairs, as a user meets it."""

import csv

import numpy as np
import pytest
from PIL import Image

import nearfar as nf
from nearfar.data.embeddings import file_of_side
from nearfar.errors import ConfigError

WORDS = ("red", "green", "blue", "dark", "light", "warm", "cold", "wide", "tall", "round", "flat", "old")


@pytest.fixture
def two(tmp_path):
    """Pictures with captions and a second picture each."""
    rows = []
    for i, word in enumerate(WORDS):
        for name in (f"{i}.png", f"{i}-drawn.png"):
            pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / name)
        rows.append((f"{i}.png", f"{i}-drawn.png", f"a {word} thing"))
    with (tmp_path / "two.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("photo", "drawn", "caption"), *rows])
    return tmp_path / "two.csv"


FEW = {"steps": 2, "batch_size": 4, "image_size": 8, "width": 8, "threads": 1, "precision": "fp32"}


def test_what_a_text_says_stands_beside_its_vector(two, tmp_path):
    run = nf.train(two, method="clip", out=tmp_path / "run", side_columns="image=photo", **FEW)
    found = nf.Embeddings.load(run.path / file_of_side("text"))
    assert set(found.about["text"].to_pylist()) <= {f"a {word} thing" for word in WORDS}
    hits = nf.search(found, str(tmp_path / "3.png"), k=2, encoder=run.encoder)
    assert [hit.key.startswith("two.csv") for hit in hits] == [True, True]


def test_two_sides_of_one_kind_are_named(two, tmp_path):
    how = {"sides": "image,image", "side_columns": "image=photo,image2=drawn"}
    run = nf.train(two, method="clip", out=tmp_path / "run", **how, **FEW)
    assert run.encoder.config["modality"] == "pairs"
    assert {row.task for row in run.evaluation.rows} >= {"match"}


def test_sides_of_another_kind_of_data_are_refused(two, tmp_path):
    with pytest.raises(ConfigError, match="sides is an option of data of the kind pairs"):
        nf.train(two, sides="image,text", modality="image", out=tmp_path / "run", **FEW)
