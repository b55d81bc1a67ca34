"""Labels reach the methods that want them, and never those of the samples that judge."""

import shutil
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nearfar as nf
from nearfar.api import evaluate, finish, prepare, train
from nearfar.api.run import Run
from nearfar.api.systems import Measured
from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Source, Views
from nearfar.errors import ConfigError
from nearfar.losses import nt_xent
from nearfar.methods import registry as methods
from nearfar.methods.simclr import SimCLR
from nearfar.methods.supcon import SupCon

Tiny = Callable[..., Run]
Photos = Callable[..., Path]


class Learner(Method):
    """NT-Xent; remembers the labels that it was shown, by the ids of the samples."""

    Options = SimCLR.Options
    requires = Requirements(labels=True)
    shown: dict[int, int]

    def __init__(self, encoder: Encoder, options: Any) -> None:
        super().__init__(encoder)
        Learner.shown = {}

    def embed(self, views: Views) -> Latents:
        features = self.encoder(views)
        return Latents(z=features, features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        Learner.shown |= dict(zip(batch.ids.tolist(), batch.labels.tolist(), strict=True))
        return Losses(nt_xent(z["z"][0], z["z"][1], temperature=0.5, ids=batch.ids, rows=batch.rows))


class Unlabelled(Learner):
    """One that leaves samples without a label out."""

    requires = Requirements(labels=True, unlabelled=False)


class Judging(Exception):
    """Samples are about to judge: those of `held_out` of the training part, or those of a test part."""

    def __init__(self, measured: Measured) -> None:
        super().__init__()
        self.test = measured.test
        self.by_labels = measured.has_labels
        self.keys = set() if measured.held_out is None else {measured.train.keys[i] for i in measured.held_out.tolist()}


@pytest.fixture
def learner(monkeypatch: pytest.MonkeyPatch) -> type[Learner]:
    """A method that learns from labels; what it ends with is not judged."""

    def judge(measured: Measured, **how: Any) -> Any:
        raise Judging(measured)

    for module in (evaluate, finish):
        monkeypatch.setattr(module, "compare_systems", judge)
    monkeypatch.setattr(methods, "load", lambda name: Learner)
    return Learner


@pytest.fixture
def sources(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """What is trained on."""
    found: list[Source] = []

    def look(*parts: Any, **how: Any) -> Any:
        ready = prepare.prepare(*parts, **how)
        found.append(ready.source)
        return ready

    monkeypatch.setattr(train, "prepare", look)
    return found


def judging(run: Callable[[], Any]) -> Judging:
    with pytest.raises(Judging) as found:
        run()
    return found.value


def hidden(source: Source, shown: dict[int, int]) -> set[str]:
    """The keys of the samples that were met without a label; the others were met with theirs."""
    assert source.labels is not None
    known = {key: shown[number] for key, number in zip(source.keys, source.ids.tolist(), strict=True)}
    labels = dict(zip(source.keys, source.labels.tolist(), strict=True))
    found = {key for key, label in known.items() if label < 0}
    assert all(known[key] == labels[key] for key in known.keys() - found)
    return found


def test_the_samples_that_judge_keep_their_labels_to_themselves_and_judge_later_too(
    learner: type[Learner], sources: list[Source], photos: Photos, tiny: Tiny, tmp_path: Path
) -> None:
    data = photos()
    first = judging(lambda: tiny(data, seed=3)).keys
    assert first == hidden(sources[0], learner.shown)
    assert len(first) == 8
    run = tmp_path / "run"
    assert judging(lambda: nf.evaluate(run, data)).keys == first
    assert judging(lambda: nf.evaluate(run, data, seed=0)).keys != first  # as it was asked for


def test_what_is_unreadable_changes_nothing_about_who_judges(
    learner: type[Learner], photos: Photos, tiny: Tiny, tmp_path: Path
) -> None:
    data = photos()
    broken = data / "class 1" / "05.png"
    broken.write_bytes(b"no picture")
    first = judging(lambda: tiny(data)).keys
    broken.write_bytes((data / "class 1" / "09.png").read_bytes())
    again = judging(lambda: nf.evaluate(tmp_path / "run", data)).keys
    assert again - {"class 1/05.png"} == first


def test_a_test_part_without_labels_leaves_a_fifth_of_the_training_part_to_judge(
    learner: type[Learner], sources: list[Source], photos: Photos, tiny: Tiny
) -> None:
    data = photos("data/train").parent
    photos("data/test", count=12, classes=0, seed=1)
    asked = judging(lambda: tiny(data))
    assert asked.by_labels
    assert asked.test is None
    assert asked.keys == hidden(sources[0], learner.shown)
    assert len(asked.keys) == 8


def test_where_a_test_part_judges_all_labels_are_learnt_from(
    learner: type[Learner], sources: list[Source], photos: Photos, tiny: Tiny
) -> None:
    data = photos("data/train").parent
    photos("data/test", count=12, seed=1)
    asked = judging(lambda: tiny(data))
    assert asked.test is not None
    assert hidden(sources[0], learner.shown) == set()


def test_a_test_part_that_is_gone_at_the_end_gives_way_to_no_learnt_labels(
    learner: type[Learner], photos: Photos, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = photos("data/train").parent
    test = photos("data/test", count=12, seed=1)
    monkeypatch.setattr(Learner, "after_step", lambda self, z, batch: test.exists() and shutil.rmtree(test))
    asked = judging(lambda: tiny(data))
    assert asked.keys == set()  # every label of the training part was learnt from


@pytest.mark.usefixtures("unjudged")
def test_samples_without_a_label_are_left_out_for_a_method_of_labels_alone(
    photos: Photos, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "load", lambda name: Unlabelled)
    tiny(photos(), steps=8)
    assert len(Unlabelled.shown) == 32
    assert set(Unlabelled.shown.values()) == {0, 1, 2, 3}


@pytest.mark.usefixtures("unjudged")
def test_labels_never_reach_a_method_that_wants_none(
    photos: Photos, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: list[torch.Tensor] = []
    loss = SimCLR.loss
    monkeypatch.setattr(SimCLR, "loss", lambda self, z, batch: met.append(batch.labels) or loss(self, z, batch))
    tiny(photos())
    assert torch.cat(met).unique().tolist() == [-1]


# Data labelled in part, through a method that mixes.


@pytest.fixture
def mixed(monkeypatch: pytest.MonkeyPatch) -> list[torch.Tensor]:
    """The labels of each batch that supcon's loss sees."""
    met: list[torch.Tensor] = []
    loss = SupCon.loss
    monkeypatch.setattr(SupCon, "loss", lambda self, z, batch: met.append(batch.labels) or loss(self, z, batch))
    return met


def labelled_in_part(photos: Path, every: int) -> Path:
    """A manifest in which one photo of `every` has its class as label."""
    files = sorted(photos.rglob("*.png"), key=lambda path: path.name)
    rows = [
        f"{path.relative_to(photos.parent)},{'' if i % every else path.parent.name}" for i, path in enumerate(files)
    ]
    found = photos.parent / "part.csv"
    found.write_text("\n".join(["path,label", *rows]))
    return found


def weight(run: Run) -> float:
    with open(run.path / "config.toml", "rb") as file:
        return float(tomllib.load(file)["method_options"]["supervised_weight"])


@pytest.mark.usefixtures("unjudged")
def test_few_labels_are_learnt_from_beside_all_samples(photos: Photos, tiny: Tiny, mixed: list[torch.Tensor]) -> None:
    run = tiny(labelled_in_part(photos(count=60), 3), method="supcon", batch_size=60, steps=2)
    assert weight(run) == 0.35
    for labels in mixed:  # 20 have labels, 5 in each class, and one of each is kept back
        assert torch.bincount(labels + 1).tolist() == [44, 4, 4, 4, 4]


@pytest.mark.usefixtures("unjudged")
def test_where_all_have_labels_those_that_judge_are_in_no_batch(
    photos: Photos, tiny: Tiny, mixed: list[torch.Tensor]
) -> None:
    run = tiny(photos(), method="supcon", batch_size=32, steps=2)
    assert weight(run) == 1
    for labels in mixed:
        assert torch.bincount(labels).tolist() == [8, 8, 8, 8]


@pytest.mark.usefixtures("unjudged")
def test_the_automatic_batch_is_of_the_samples_that_can_be_in_one(photos: Photos, tiny: Tiny) -> None:
    run = tiny(labelled_in_part(photos(count=400), 8), method="triplet", supervised=True, batch_size=None, steps=1)
    with open(run.path / "config.toml", "rb") as file:
        assert tomllib.load(file)["optimisation"]["batch_size"] == 32  # 50 have labels, and 12 of them judge


@pytest.mark.usefixtures("unjudged")
def test_batches_of_classes_by_samples_are_there_on_request(
    photos: Photos, tiny: Tiny, mixed: list[torch.Tensor]
) -> None:
    tiny(photos(classes=5), method="supcon", samples_per_class=4, batch_size=16, steps=3)
    assert all(sorted(torch.bincount(labels, minlength=5).tolist()) == [0, 4, 4, 4, 4] for labels in mixed)


@pytest.mark.usefixtures("unjudged")
def test_supervised_methods_learn_another_thing_than_without_labels(photos: Photos, tiny: Tiny, tmp_path: Path) -> None:
    data = photos()
    runs = [
        tiny(data, out=tmp_path / str(supervised), method="infonce", supervised=supervised, batch_size=32, steps=2)
        for supervised in (False, True)
    ]
    one, other = (load_file(run.path / "encoder" / "model.safetensors") for run in runs)
    assert any(not torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.usefixtures("unjudged")
def test_learning_from_labels_without_any_is_refused(photos: Photos, tiny: Tiny) -> None:
    data = photos(classes=0)
    for method in ("supcon", "siamese", "triplet", "infonce"):
        asked = {} if method == "supcon" else {"supervised": True}
        with pytest.raises(ConfigError, match="has none of at least two classes"):
            tiny(data, method=method, **asked)


def test_a_mixed_run_resumes_to_the_bit(photos: Photos, resumes: Callable[..., Path]) -> None:
    resumes(labelled_in_part(photos(count=60), 3), method="supcon")
