"""What meets in a step, from the options to the batch: groups, named positives, streams, balanced classes."""

import io
import re
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import nearfar as nf
from nearfar.api import settle
from nearfar.api.run import Run
from nearfar.contract import Batch, Encoder, Latents, Losses, Method, Requirements, Views
from nearfar.errors import ConfigError
from nearfar.losses import nt_xent
from nearfar.methods import registry as methods
from nearfar.methods.infonce import InfoNCE
from nearfar.methods.simclr import SimCLR

Tiny = Callable[..., Run]
Photos = Callable[..., Path]
Resumes = Callable[..., Path]

pytestmark = pytest.mark.usefixtures("unjudged")


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "encoder" / "model.safetensors")


def equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def chosen(run: Path, name: str) -> str:
    found = re.search(rf'^{name} = "?([^"\n]*)"?', (run / "config.toml").read_text(), re.MULTILINE)
    assert found is not None
    return found[1]


def manifest(photos: Path, name: str, of: Callable[[int], str]) -> Path:
    """A manifest of the photos with one more column."""
    files = sorted(photos.rglob("*.png"), key=lambda path: path.name)
    rows = [f"{path.relative_to(photos.parent).as_posix()},{of(i)}" for i, path in enumerate(files)]
    path = photos.parent / f"{name}.csv"
    path.write_text("\n".join([f"path,{name}", *rows]))
    return path


def shards(photos: Path, count: int = 3) -> Path:
    """The photos in shards, with their classes beside them."""
    for number in range(count):
        with tarfile.open(photos.parent / f"shard-{number:04}.tar", "w") as archive:
            for file in sorted(photos.rglob("*.png"), key=lambda path: path.name)[number::count]:
                archive.add(file, f"{file.stem}.png")
                note = tarfile.TarInfo(f"{file.stem}.cls")
                content = file.parent.name.split()[-1].encode()
                note.size = len(content)
                archive.addfile(note, io.BytesIO(content))
    return photos.parent / f"shard-{{0000..{count - 1:04}}}.tar"


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[int], torch.Tensor]]:
    """The ids and the latents of each batch that simclr's loss sees."""
    seen: list[tuple[list[int], torch.Tensor]] = []
    loss = SimCLR.loss

    def look(self: SimCLR, z: Latents, batch: Batch) -> Losses:
        seen.append((batch.ids.tolist(), z["z"].detach()))
        return loss(self, z, batch)

    monkeypatch.setattr(SimCLR, "loss", look)
    return seen


def test_a_group_column_makes_positives_of_its_samples(tiny: Tiny, photos: Photos, watched: Any) -> None:
    run = tiny(manifest(photos(), "group", lambda i: f"g{i // 2}"))
    assert chosen(run.path, "positives") == "group"
    ids = [i for batch, _ in watched for i in batch]
    assert len(set(ids)) <= 20 < len(ids)


def test_groups_of_one_change_nothing_and_views_of_themselves_are_there_on_request(
    tiny: Tiny, photos: Photos, tmp_path: Path, watched: Any
) -> None:
    alone = tiny(manifest(photos(), "group", str), out=tmp_path / "alone")
    none = tiny(manifest(tmp_path / "photos", "note", str), out=tmp_path / "none")
    data = manifest(tmp_path / "photos", "group", lambda i: f"g{i // 2}")
    asked = tiny(data, out=tmp_path / "asked", positives="views")
    assert {chosen(run.path, "positives") for run in (alone, none, asked)} == {"views"}
    assert equal(weights(alone.path), weights(none.path))
    assert equal(weights(asked.path), weights(none.path))
    assert all(len(set(batch)) == len(batch) for batch, _ in watched)
    assert not equal(weights(tiny(data, out=tmp_path / "grouped").path), weights(none.path))


def test_the_second_view_is_one_of_the_positive(
    tiny: Tiny, photos: Photos, watched: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[Views] = []
    embed = SimCLR.embed
    monkeypatch.setattr(SimCLR, "embed", lambda self, views: seen.append(views) or embed(self, views))
    photos("others", count=40, classes=0, seed=5)
    data = manifest(photos(), "positive", lambda i: f"others/{i:02}.png")
    run = tiny(data, out=tmp_path / "one", steps=1, micro_batch=16)
    tiny(data, out=tmp_path / "two", steps=1, micro_batch=16, positives="views")
    assert chosen(run.path, "positives") == "pair"
    assert torch.equal(seen[0][0], seen[1][0])
    assert not any(torch.equal(a, b) for a, b in zip(seen[0][1], seen[1][1], strict=True))
    assert all(len(set(batch)) == len(batch) for batch, _ in watched)  # each has a positive of its own


def test_a_run_with_positives_resumes_to_the_bit(photos: Photos, resumes: Resumes) -> None:
    resumes(manifest(photos(), "group", lambda i: f"g{i // 3}"))


def test_an_unreadable_positive_costs_nothing_but_its_place_in_the_list(tiny: Tiny, photos: Photos) -> None:
    data = manifest(photos(), "positive", lambda i: "gone.png" if i == 3 else "")
    run = tiny(data)
    assert "gone.png" in (run.path / "skipped.csv").read_text()


def test_what_the_data_does_not_give_is_refused(tiny: Tiny, photos: Photos) -> None:
    data = photos()
    for options, said in (
        ({"positives": "group"}, "no two samples of one group"),
        ({"positives": "pair"}, "no column `positive`"),
        ({"order": "streamed"}, "does not lie in shards"),
    ):
        with pytest.raises(ConfigError, match=said):
            tiny(data, **options)


def test_rows_of_a_table_can_have_groups(tiny: Tiny, table: Path, watched: Any) -> None:
    lines = table.read_text().splitlines()
    grouped = [f"{line},{'group' if not i else (i - 1) // 2}" for i, line in enumerate(lines)]
    table.write_text("\n".join(grouped))
    run = tiny(table, encoder="mlp", width=None)
    assert chosen(run.path, "positives") == "group"
    assert len({i for batch, _ in watched for i in batch}) <= 20


# Given negatives.


@pytest.fixture
def against(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[torch.Tensor], Batch]]:
    """The views and the batch of each step of infonce."""
    seen: list[Any] = []
    embed, loss = InfoNCE.embed, InfoNCE.loss

    def look(self: InfoNCE, z: Latents, batch: Batch) -> Losses:
        if not isinstance(seen[-1], tuple):  # health asks for the loss once more
            seen[-1] = (seen[-1], batch)
        return loss(self, z, batch)

    monkeypatch.setattr(InfoNCE, "embed", lambda self, views: seen.append(list(views)) or embed(self, views))
    monkeypatch.setattr(InfoNCE, "loss", look)
    return seen


def test_a_third_view_is_of_the_negative_that_the_data_names(
    tiny: Tiny, photos: Photos, against: Any, tmp_path: Path
) -> None:
    photos("others", count=40, classes=0, seed=5)
    data = manifest(photos(), "negative", lambda i: f"others/{i:02}.png" if i % 4 else "")
    options = {"method": "infonce", "steps": 1, "micro_batch": 16}
    run = tiny(data, out=tmp_path / "one", **options)
    tiny(manifest(tmp_path / "photos", "note", str), out=tmp_path / "two", **options)
    assert "the data has a column `negative`" in (run.path / "config.toml").read_text()
    (views, batch), (plain, other) = against
    assert (len(views), len(plain)) == (3, 2)
    assert torch.equal(views[0], plain[0])
    assert torch.equal(views[1], plain[1])
    assert batch.ids.tolist() == other.ids.tolist()
    assert batch.present.shape == (3, 16)
    assert batch.present[:2].all()
    assert batch.present[2].tolist() == (batch.negative_ids != batch.ids).tolist()
    assert 0 < batch.present[2].sum() < 16
    assert other.present is None


def test_a_method_that_wants_no_negatives_gets_none(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = manifest(photos(), "negative", lambda i: f"photos/class {(i + 5) % 4}/{(i + 5) % 40:02}.png")
    one = tiny(data, out=tmp_path / "one")
    other = tiny(manifest(tmp_path / "photos", "note", str), out=tmp_path / "other")
    assert equal(weights(one.path), weights(other.path))


def test_given_negatives_do_not_go_round_a_ring(tiny: Tiny, photos: Photos, tmp_path: Path) -> None:
    data = manifest(photos(), "negative", lambda i: f"photos/class {(i + 5) % 4}/{(i + 5) % 40:02}.png")
    with pytest.raises(ConfigError, match="do not go round a ring: give --gather all, or data without a column"):
        tiny(data, method="infonce", gather="ring")
    run = tiny(data, gather="ring", steps=1)  # simclr has no use for them
    assert 'gather = "ring"' in (run.path / "config.toml").read_text()


def test_given_negatives_change_what_is_learnt_and_resume_to_the_bit(
    tiny: Tiny, photos: Photos, resumes: Resumes, tmp_path: Path
) -> None:
    data = manifest(photos(), "negative", lambda i: f"photos/class {(i + 5) % 4}/{(i + 5) % 40:02}.png")
    whole = resumes(str(data), method="infonce")
    plain = manifest(tmp_path / "photos", "note", str)
    other = tiny(plain, out=tmp_path / "plain", steps=8, method="infonce")
    assert not equal(weights(whole), weights(other.path))


def test_an_unreadable_negative_is_listed_and_left_out(tiny: Tiny, photos: Photos, against: Any) -> None:
    run = tiny(manifest(photos(), "negative", lambda i: "gone.png"), method="infonce", steps=3, micro_batch=16)
    assert "gone.png" in (run.path / "skipped.csv").read_text()
    assert not any(batch.present[2].any() for _, batch in against)


# Streams.


def test_a_run_over_shards_is_trained_and_judged(photos: Photos, tiny: Tiny, tmp_path: Path) -> None:
    run = tiny(str(shards(photos())))
    assert chosen(run.path, "order") == "shuffled"
    embedded = nf.embed(run.path, str(shards(tmp_path / "photos")))
    assert embedded.keys[0] == "shard-0000.tar#00.png"
    assert embedded.labels[:4] == ["0", "3", "2", "1"]


def test_streaming_is_chosen_for_shards_that_memory_does_not_hold(
    photos: Photos, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settle, "available_memory", lambda: 1000)
    run = tiny(str(shards(photos())))
    assert chosen(run.path, "order") == "streamed"


def test_a_streamed_run_resumes_to_the_bit(photos: Photos, resumes: Resumes) -> None:
    resumes(str(shards(photos())), order="streamed", shuffle_buffer=10)


# Balanced classes, by a method that asks for them.


class Classes(Method):
    """NT-Xent over balanced batches; remembers the labels it met."""

    Options = SimCLR.Options
    requires = Requirements(wide=2, labels=True, samples_per_class=4)
    met: list[list[int]]

    def __init__(self, encoder: Encoder, options: Any) -> None:
        super().__init__(encoder)
        Classes.met = []

    def embed(self, views: Views) -> Latents:
        features = self.encoder(views)
        return Latents(z=features, features=features)

    def loss(self, z: Latents, batch: Batch) -> Losses:
        if torch.is_grad_enabled():  # health asks for it too, without
            Classes.met.append(batch.labels.tolist())
        return Losses(nt_xent(z["z"][0], z["z"][1], temperature=0.5, ids=batch.ids, rows=batch.rows))


@pytest.fixture
def classes(monkeypatch: pytest.MonkeyPatch) -> type[Classes]:
    monkeypatch.setattr(methods, "load", lambda name: Classes)
    return Classes


def test_a_method_gets_the_classes_and_samples_that_it_asks_for(classes: Any, photos: Photos, tiny: Tiny) -> None:
    tiny(photos(classes=5))
    assert len(classes.met) == 6
    for labels in classes.met:
        assert sorted(labels.count(label) for label in set(labels)) == [4, 4, 4, 4]
    assert {label for labels in classes.met for label in labels} == set(range(5))


def test_a_run_over_balanced_classes_resumes_to_the_bit(classes: Any, photos: Photos, resumes: Resumes) -> None:
    resumes(photos(classes=5))


def test_a_method_of_classes_needs_labels(classes: Any, photos: Photos, tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match=r"learns from labels, and .* has none of at least two classes"):
        tiny(photos(classes=0))


def test_what_was_settled_is_said_with_its_reason(photos: Photos, tiny: Tiny, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "nearfar")
    tiny(manifest(photos(), "group", lambda i: f"g{i // 2}"))
    assert "the data has a column `group`" in caplog.text


@pytest.mark.parametrize("positives", [None, "group"])
def test_samples_of_a_large_group_come_from_one_place_and_are_not_the_same(
    positives: str | None,
    photos: Photos,
    tiny: Tiny,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("nearfar.api.settle._LARGEST_GROUP", 5)
    caplog.set_level("INFO", "nearfar")
    tiny(manifest(photos(), "group", lambda i: f"g{i % 2}"), positives=positives)
    assert ("say where these come from, not what they show" in caplog.text) == (positives is None)
