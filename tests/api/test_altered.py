"""An altered run is refused in plain words, or gone on with from what is whole; no code that it holds is run."""

import json
import pickle
import re
import resource
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import nearfar as nf
from nearfar.api.run import Run
from nearfar.errors import NearfarError, RunError, UserError
from nearfar.training import checkpoint
from nearfar.training.run_folder import RunFolder
from tests.altering import TIMES, Bomb, altered, named, untouched
from tests.api.conftest import photos_in

Tiny = Callable[..., Run]
Photos = Callable[..., Path]

ODD: list[Any] = ["3", -1, 0, 1.5, True, 10**9, 1e308, None, [[]], {"a": 1}]


@pytest.fixture(scope="module")
def encoders(
    tmp_path_factory: pytest.TempPathFactory, finished: tuple[Path, Run], tiny_settings: dict[str, Any]
) -> dict[str, tuple[Path, Any]]:
    """The folder `encoder/` of a run on photos and of one on a table, and a sample for each."""
    place = tmp_path_factory.mktemp("encoders")
    rows = [f"{i},{i % 3},{'uv'[i % 2]},{i % 5}" for i in range(20)]
    (place / "table.csv").write_text("\n".join(["w,x,y,z", *rows]))
    settings = {**tiny_settings, "encoder": None, "width": None, "hidden": 8, "layers": 2}
    settings = {name: value for name, value in settings.items() if value is not None}
    run = nf.train(place / "table.csv", out=place / "run", evaluate=False, **settings)
    return {
        "photos": (finished[1].path / "encoder", next(finished[0].rglob("*.png"))),
        "table": (run.path / "encoder", {"w": 1, "x": 2, "y": "u", "z": 3}),
    }


@pytest.fixture
def copied(encoders: dict[str, tuple[Path, Any]], tmp_path: Path) -> Callable[[str], tuple[Path, Any]]:
    def copy(kind: str) -> tuple[Path, Any]:
        folder, sample = encoders[kind]
        shutil.copytree(folder, tmp_path / "around" / kind)
        return tmp_path / "around" / kind, sample

    return copy


def use(folder: Path, sample: Any) -> None:
    """Load an encoder and embed a sample, or be refused."""
    try:
        encoder = nf.load(folder)
    except RunError:
        return
    assert encoder.encode(sample).shape == (encoder.dim,)


@pytest.fixture
def little_memory() -> Iterator[None]:
    """The process takes less than 300 MB more than it ever has."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    yield
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["photos", "table"])
def test_an_altered_encoder_is_loaded_or_refused(
    copied: Callable[[str], tuple[Path, Any]], tmp_path: Path, kind: str, name: str
) -> None:
    folder, sample = copied(kind)
    whole = (folder / name).read_bytes()
    for number in range(20 * TIMES):
        (folder / name).write_bytes(altered(whole, number))
        with named(kind, name, number), untouched(tmp_path):
            use(folder, sample)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("kind", ["photos", "table"])
def test_a_config_that_says_something_odd_is_refused_by_name(
    copied: Callable[[str], tuple[Path, Any]], tmp_path: Path, kind: str
) -> None:
    folder, sample = copied(kind)
    config = json.loads((folder / "config.json").read_text())
    for name in config:
        for value in [*ODD, "left out"]:
            odd = {key: one for key, one in (config | {name: value}).items() if (key, one) != (name, "left out")}
            (folder / "config.json").write_text(json.dumps(odd))
            with named(kind, name, value):
                use(folder, sample)


WRONG: list[tuple[str, str, Any, str]] = [
    ("photos", "modality", [], "modality must be text"),
    ("photos", "modality", "../image", "No modality is named"),
    ("photos", "encoder", "../../x", "No encoder is named"),
    ("photos", "encoder", "resnet18.bogus", "timm cannot make 'resnet18.bogus'"),
    ("photos", "width", 10**9, r"model\.safetensors' is not of the encoder|width must be|GB in the encoder"),
    ("photos", "width", 9, r"model\.safetensors' is not of the encoder.*tensors differ"),
    ("photos", "width", "8", "width must be a whole number, got '8'"),
    ("photos", "image_size", None, "image_size must be a whole number"),
    ("photos", "mean", [0.1, 0.2], "mean must be a list of 3 numbers"),
    ("photos", "seed", -1, "seed must be at least 0"),
    ("table", "hidden", 10**9, "give a smaller hidden"),
    ("table", "layers", 10**9, "layers must be at most 100"),
    ("table", "columns", {}, "columns must be a list of columns"),
    ("table", "columns", [{"name": "w"}], "a column must have name, values, median, mean, scale"),
]


def test_the_value_that_makes_no_encoder_is_named(copied: Callable[[str], tuple[Path, Any]]) -> None:
    folders = {kind: copied(kind)[0] for kind in ("photos", "table")}
    for kind, name, value, message in WRONG:
        file = folders[kind] / "config.json"
        whole = file.read_text()
        file.write_text(json.dumps(json.loads(whole) | {name: value}))
        with named(kind, name, value), pytest.raises(RunError, match=message):
            nf.load(folders[kind])
        file.write_text(whole)


NO_CONFIG = ["", "[" * 100_000, '{"modality":' * 50_000, '{"modality": NaN}', "\0", "\ud800", '"modality"', "1" * 5000]


def test_a_config_that_is_none_is_refused(copied: Callable[[str], tuple[Path, Any]]) -> None:
    folder, _ = copied("photos")
    for content in NO_CONFIG:
        (folder / "config.json").write_bytes(content.encode("utf-8", "surrogatepass"))
        with named(content[:20]), pytest.raises(RunError, match=r"config\.json"):
            nf.load(folder)


def forged(header: Any, body: bytes = b"\0" * 16, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + body


def one(shape: list[int], start: int, stop: int, kind: str = "F32") -> dict[str, Any]:
    return {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}


FORGED = [
    forged({}, length=2**63),
    forged({}, length=2**32),
    forged({"w": one([2], 0, 8), "v": one([2], 4, 12)}),
    forged({"w": one([10**12], 0, 4 * 10**12)}),
    forged({"w": one([2**62, 8], 0, 16)}),
    forged({"w": one([-1], 0, 4)}),
    forged({"w": one([4], 16, 0)}),
    forged({"w": one([4], 0, 16, "F33")}),
    forged({"w": one([4], 0, 16, "BF16")}),
    forged({"w": [1, 2]}),
    forged(b"[" * 50_000),
    forged({}),
    b"",
    b"\x80\x04.",
]


@pytest.mark.usefixtures("little_memory")
def test_weights_with_a_forged_header_are_refused(copied: Callable[[str], tuple[Path, Any]]) -> None:
    folder, _ = copied("photos")
    for number, content in enumerate(FORGED):
        (folder / "model.safetensors").write_bytes(content)
        with named(number), pytest.raises(RunError, match=r"model\.safetensors"):
            nf.load(folder)


def test_weights_of_another_encoder_are_refused(encoders: dict[str, tuple[Path, Any]], tmp_path: Path) -> None:
    for config, weights in (("photos", "table"), ("table", "photos")):
        shutil.copytree(encoders[config][0], tmp_path / config)
        shutil.copy(encoders[weights][0] / "model.safetensors", tmp_path / config)
        with pytest.raises(RunError, match="is not of the encoder"):
            nf.load(tmp_path / config)


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory, tiny_settings: dict[str, Any]) -> Path:
    """A run of six steps with a checkpoint for each, of which the last two are there; not to be changed."""
    folder = tmp_path_factory.mktemp("six")
    how = tiny_settings | {"checkpoint_every": 1e-9, "evaluate": False}
    return nf.train(photos_in(folder / "photos"), out=folder / "run", **how).path


@pytest.fixture
def run(six: Path, tmp_path: Path, unjudged: None) -> Path:
    """A copy of that run, to be altered."""
    return Path(shutil.copytree(six, tmp_path / "around" / "run"))


@pytest.fixture
def without_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs do everything but train."""
    from nearfar.training import loop

    monkeypatch.setattr(loop, "fit", lambda plan, clock, folder, state, *_: state)


def newest(run: Path) -> Path:
    return max((run / "checkpoint").iterdir())


def go_on(run: Path) -> int | None:
    """Resume; the step that was reached, None where it was refused."""
    try:
        nf.train(out=run, resume=True, quiet=True)
    except NearfarError:
        return None
    saved = checkpoint.latest(run / "checkpoint")
    assert saved is not None
    return int(saved.state["step"])


@pytest.mark.usefixtures("without_steps")
def test_no_pickle_of_a_run_is_read(run: Path, tmp_path: Path) -> None:
    mark = tmp_path / "was run"
    bomb = pickle.dumps(Bomb(mark))
    for path in [path for path in run.rglob("*") if path.is_file()]:
        whole = path.read_bytes()
        path.write_bytes(bomb)
        for use in (nf.load, nf.Embeddings.load, lambda _: nf.train(out=run, resume=True, quiet=True)):
            with named(path.name), suppress(NearfarError):
                use(path if use == nf.Embeddings.load else run)
        path.write_bytes(whole)
    (tmp_path / "weights.pt").write_bytes(bomb)
    with pytest.raises(UserError, match="cannot be read as weights"):
        nf.train("digits", out=tmp_path / "other", pretrained=tmp_path / "weights.pt", encoder="small_cnn", steps=1)
    assert not mark.exists()
    pickle.loads(bomb)
    assert mark.exists()  # it would have been seen


@pytest.mark.parametrize("name", ["weights.safetensors", "optimizer.safetensors", "state.json"])
def test_a_damaged_newest_checkpoint_gives_way_to_the_one_before(run: Path, name: str) -> None:
    file = newest(run) / name
    whole = file.read_bytes()
    for number in range(8 * TIMES):
        content = altered(whole, number)
        file.write_bytes(content)
        saved = checkpoint.latest(run / "checkpoint")
        with named(name, number):
            assert saved is not None
            assert saved.state["step"] == (6 if content == whole else 5)
    file.write_bytes(b"[" * 100_000)
    assert go_on(run) == 6


def test_a_run_whose_checkpoints_are_all_damaged_starts_again(run: Path) -> None:
    for place in (run / "checkpoint").iterdir():
        (place / "state.json").write_text("{}")
    assert go_on(run) == 6


CONFUSED = {
    "step": ["5", -1, 1.5, None, 10**30, []],
    "elapsed": ["1", None, []],
    "recorded": ["x", None],
    "loss": ["x"],
    "steps": ["x", 0.5],
    "micro_batch": ["x", 0, -3],
    "alarms": [None, 3, [3], [{"step": 1}]],
    "data": [],
}


@pytest.mark.usefixtures("without_steps")
def test_a_forged_state_is_refused_whatever_its_checksum_says(run: Path, six: Path) -> None:
    file = newest(run) / "state.json"
    whole = json.loads(file.read_text())
    sums = whole.pop("sha256")
    shutil.rmtree(min((run / "checkpoint").iterdir()))
    for name in CONFUSED:
        lacking = {key: value for key, value in whole.items() if key != name}
        for state in [lacking, *({**whole, name: value} for value in CONFUSED[name])]:
            file.write_text(json.dumps({**state, "sha256": {**sums, "state.json": checkpoint._sum_of(state)}}))
            with named(name, state.get(name)):
                if name == "step":  # it is not that of its folder
                    assert checkpoint.latest(run / "checkpoint") is None
                elif name in state or name not in ("loss", "steps", "micro_batch"):
                    with pytest.raises(RunError, match="does not say of its run"):
                        nf.train(out=run, resume=True, quiet=True)


SETTINGS = ["", "\0", "a = " + "[" * 100_000, "format = 2", "format = 'x'", "data = 3", "[data]\n", "[else]\nx = 1\n"]
"""What stands in the place of all settings."""

VALUES = [
    ("method", "3"),
    ("method", "'../simclr'"),
    ("modality", "[]"),
    ("encoder", "'../../x'"),
    ("width", "0"),
    ("steps", "'6'"),
    ("lr", "nan"),
    ("lr", "'x'"),
    ("image_size", "1000000000"),
    ("threads", "1000000000"),
    ("data", "3"),
    ("data", '"a\\u0000/b"'),
]
"""What stands in the place of one of them, which is named."""


def test_altered_settings_are_refused_before_any_work(run: Path) -> None:
    file = run / "config.toml"
    whole = file.read_text()
    tried = [(".", content) for content in SETTINGS]
    for name, value in VALUES:
        line = re.search(rf"(?m)^{name} = .*", whole)
        assert line is not None
        tried.append((name, whole.replace(line[0], f"{name} = {value}", 1)))
    for name, content in tried:
        file.write_text(content)
        with named(name, content[:40]), untouched(run / "checkpoint"), pytest.raises(UserError, match=name):
            nf.train(out=run, resume=True)


@pytest.mark.usefixtures("without_steps")
def test_settings_with_any_damage_are_refused_or_taken(run: Path) -> None:
    whole = (run / "config.toml").read_bytes()
    for number in range(20 * TIMES):
        (run / "config.toml").write_bytes(altered(whole, number))
        with named(number), suppress(UserError):
            nf.train(out=run, resume=True, quiet=True)


LINES = ["5", "[]", '"x"', "{}", "[" * 100_000, "\ufffd", '{"step": "x"}', '{"step": true}', '{"step": NaN}',
         '{"step": 2, "loss": NaN}']  # fmt: skip


def test_lines_of_metrics_that_are_no_records_are_left_out(tmp_path: Path) -> None:
    for line in LINES:
        (tmp_path / "metrics.jsonl").write_text(f'{{"step": 1}}\n{line}\n{{"step": 3}}\n')
        assert RunFolder(tmp_path).metrics() == [{"step": 1}, {"step": 3}], line
        RunFolder(tmp_path).rewind_metrics(2)
        assert RunFolder(tmp_path).metrics() == [{"step": 1}]


def test_a_report_does_without_a_lost_environment_and_odd_metrics(finished: tuple[Path, Run], tmp_path: Path) -> None:
    run = Path(shutil.copytree(finished[1].path, tmp_path / "run"))
    (run / "environment.json").write_bytes(b"[]")
    odd = ['{"step": 9, "loss": "x"}', '{"step": 10, "loss": [1]}', '{"step": 11, "loss": null, "knn": {}}']
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n".join(odd))
    assert nf.report(run).path.is_file()


def test_a_damaged_start_is_refused(tiny: Tiny, finished: tuple[Path, Run], unjudged: None) -> None:
    data, before = finished
    run = tiny(data, init=before.path, steps=2)
    start = run.path / "encoder" / "start.safetensors"
    start.write_bytes(start.read_bytes()[:-9])
    with pytest.raises(RunError, match=r"start\.safetensors' cannot be loaded"):
        nf.evaluate(run.path, data)


def test_a_run_folder_without_anything_is_refused(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    with pytest.raises(RunError, match="There is no encoder"):
        nf.load(tmp_path)
    (tmp_path / "encoder" / "config.json").mkdir()
    with pytest.raises(RunError, match="cannot be read"):
        nf.load(tmp_path)
