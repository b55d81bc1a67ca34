"""Two towers: what goes to which, what a frozen one costs, and names of classes as texts."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearfar.contract import Requirements
from nearfar.errors import ConfigError, DataError
from nearfar.modalities.opening import open_source
from nearfar.modalities.pairs import MODALITY
from nearfar.modalities.pairs.baseline import MeetingAtPairs
from nearfar.modalities.pairs.encoder import Routed, unmarked
from nearfar.modalities.pairs.source import PairSource
from nearfar.modalities.registry import check_own
from nearfar.options import Facts
from nearfar.testing.parts import check_parts
from nearfar.whitening import Whitening
from tests.modalities.pairs.test_pairs_source import manifest

FACTS = Facts(samples=6, device="cpu", threads=1, steps=3)
ROWS = [[f"{name}.png", f"a {name} thing"] for name in ("red", "green", "blue", "dark", "light", "small")]


def built(folder: Path, **options: Any) -> tuple[PairSource, Routed, Any]:
    options = {"image_size": 8, "buckets": 64, "joint_width": 12, **options}
    data = manifest(folder, ROWS, "image", "caption")
    source = open_source(MODALITY, data, options=MODALITY.Options(**options), cache="off")
    settled, name, _ = MODALITY.settle(MODALITY.Options(**options), source, "image=small_cnn,text=bag", FACTS)
    torch.manual_seed(0)
    encoder = MODALITY.encoder(name, source, settled, width=4).eval()
    suited = source.suited(encoder.config)
    assert isinstance(suited, PairSource)
    return suited, encoder, settled


def test_each_side_goes_through_its_own_tower_to_one_width(tmp_path: Path) -> None:
    source, encoder, _ = built(tmp_path)
    for side, items in enumerate((source, source.positives)):
        prepared = encoder.prepare(items.fetch(np.arange(6))[0])
        found, own = unmarked(prepared)
        assert found == side
        wanted = encoder.projections[side](encoder.tower(side).vectors(own))
        assert torch.equal(encoder.vectors(prepared), wanted)
        assert wanted.shape == (6, 12)


def test_a_picture_and_a_text_are_told_apart(tmp_path: Path) -> None:
    source, encoder, _ = built(tmp_path)
    picture, text = tmp_path / "red.png", "a red thing"
    raw, _ = source.positives.fetch(np.arange(1))
    assert np.allclose(encoder.encode(text), encoder.vectors(encoder.prepare(raw))[0].detach())
    assert np.allclose(encoder.encode(str(picture)), encoder.encode([picture])[0])
    assert np.allclose(encoder.encode({"text": "red.png"}), encoder.encode(["red png"])[0])
    with pytest.raises(DataError, match="both sides"):
        encoder.encode([picture, text])
    with pytest.raises(DataError, match="neither side"):
        encoder.encode([3])


def test_a_frozen_tower_stays_as_it_is_and_sees_each_item_once(tmp_path: Path, monkeypatch: Any) -> None:
    source, encoder, options = built(tmp_path, frozen_sides="image")
    tower, seen = encoder.tower(0), list[int]()
    features = tower.features
    monkeypatch.setattr(tower, "features", lambda inputs: (seen.append(len(inputs)), features(inputs))[1])
    encoder.train()
    assert not tower.training
    assert not any(parameter.requires_grad for parameter in tower.parameters())
    for draws in (np.arange(6), np.arange(6) + 6):
        raw, kept = source.fetch(np.arange(6))
        views = MODALITY.views(raw, draws, requires=Requirements(wide=2), seed=0, options=options, encoder=encoder)
        vectors = encoder(views)
    assert len(kept) == 6
    assert sum(seen) == 6
    assert vectors.requires_grad
    plain = encoder.eval().encode([tmp_path / row[0] for row in ROWS])
    assert np.allclose(plain, vectors[0].detach().numpy(), atol=1e-6)


def test_options_of_a_kind_that_is_no_side_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="corruption is no option of image or text"):
        built(tmp_path, corruption=0.5)


def test_the_config_makes_the_encoder_again(tmp_path: Path) -> None:
    _, encoder, _ = built(tmp_path)
    again = MODALITY.restore(json.loads(json.dumps(encoder.config)))
    again.load_state_dict(encoder.state_dict())
    assert np.array_equal(again.eval().encode("a dark thing"), encoder.encode("a dark thing"))
    with pytest.raises(ConfigError, match="towers"):
        MODALITY.restore({**encoder.config, "towers": [1]})


def test_names_of_classes_stand_in_templates(tmp_path: Path) -> None:
    source, encoder, _ = built(tmp_path, templates="a {} thing|{}")
    names, of_class = source.named(["red", "blue"]) or (None, np.empty(0))
    assert names is not None
    assert of_class.tolist() == [0, 0, 1, 1]
    raw, _ = names.fetch(np.arange(4))
    assert np.allclose(encoder.vectors(encoder.prepare(raw))[0].detach(), encoder.encode("a red thing"))
    with pytest.raises(ConfigError, match="where the name stands"):
        MODALITY.Options(templates="a photo")


def test_all_items_of_a_sample_are_right_answers(tmp_path: Path) -> None:
    rows = [["a.png", "one"], ["b.png", "two"], ["a.png", "three"]]
    source = open_source(MODALITY, manifest(tmp_path, rows, "image", "caption"), cache="off")
    pairs = source.matched()
    assert pairs is not None
    assert pairs.directions == ("image to text", "text to image")
    assert list(zip(pairs.rows.tolist(), pairs.others.tolist(), strict=True)) == [(0, 0), (0, 1), (1, 2)]


def test_a_fifth_without_common_contents_is_kept_back(tmp_path: Path) -> None:
    rows = [[f"{i}.png", f"text {i // 2}"] for i in range(20)]
    source = open_source(MODALITY, manifest(tmp_path, rows, "image", "caption"), cache="off")
    train, test = source.split(0) or (np.empty(0), np.empty(0))
    assert len(test) == 4
    assert not set(train // 2) & set(test // 2)


def test_the_nearest_pairs_tell_what_belongs_together(tmp_path: Path) -> None:
    source, _, _ = built(tmp_path)
    baseline = MeetingAtPairs()
    baseline.fit(source)
    pairs = source.matched()
    assert pairs is not None
    found = baseline.rank(pairs.one, pairs.other)
    assert found is not None
    assert found.argmax(1).tolist() == list(range(6))


def test_an_option_of_a_side_is_one_of_pairs() -> None:
    check_own("image_size", "pairs")
    with pytest.raises(ConfigError, match="of the kind image: leave it out"):
        check_own("image_size", "table")


def test_both_sides_have_the_parts_of_their_kinds_behind_the_projection(tmp_path: Path) -> None:
    _, encoder, _ = built(tmp_path)
    encoder.tower(0).output = Whitening(encoder.tower(0).dim).fit(torch.randn(99, encoder.tower(0).dim) + 1)
    picture, text = encoder.preprocess([str(tmp_path / "red.png")]), encoder.preprocess(["a red thing"])
    for inputs, grid in ((picture, (4, 4)), (text, None)):
        with torch.no_grad():
            parts = encoder.parts(inputs)
        assert parts.grid == grid
        assert parts.terms is not None
        check_parts(encoder, inputs)
    assert list(parts.names) == ["a", "red", "thing"]


def test_a_frozen_side_of_which_only_vectors_are_there_has_no_parts(tmp_path: Path) -> None:
    source, encoder, _ = built(tmp_path, frozen_sides="image")
    with pytest.raises(ConfigError, match="give the sample itself"):
        encoder.parts(encoder.prepare(source.fetch(np.arange(1))[0]))
