"""Checkpoints come back bit for bit, whole or not at all, and the one before stands in for a damaged one."""

import errno
import json
import logging
import os
import pickletools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.errors import MachineError, RunError
from nearfar.training import checkpoint

WEIGHTS = {
    "w": torch.randn(3, 4, 2, 2, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last),
    "half": torch.randn(5).bfloat16(),
    "double": torch.randn(5).double(),
    "count": torch.tensor(7),
    "odd": torch.tensor([0.0, -0.0, 1e-45, 3e38]),
}
OPTIMIZER = {"w/momentum_buffer": torch.randn(3, 4, 2, 2), "w/step": torch.tensor(7.0)}
STATE = {"elapsed": 0.1 + 0.2, "alarms": [{"step": 1, "name": "é", "sentence": "so"}]}


def save(folder: Path, step: int) -> Path:
    weights = {name: value + step if name == "count" else value for name, value in WEIGHTS.items()}
    return checkpoint.save(folder, step, weights, OPTIMIZER, STATE)


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        a.dtype == b.dtype and a.shape == b.shape and torch.equal(a.flatten().view(-1), b.contiguous().flatten())
        for a, b in zip(one.values(), (other[name] for name in one), strict=True)
    )


def steps(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_comes_back_bit_for_bit(tmp_path: Path) -> None:
    checkpoint.save(tmp_path / "c", 12, WEIGHTS, OPTIMIZER, STATE)
    found = checkpoint.latest(tmp_path / "c")
    assert found is not None
    assert same(found.weights, WEIGHTS)
    assert same(found.optimizer, OPTIMIZER)
    assert found.state == STATE | {"step": 12}
    assert torch.signbit(found.weights["odd"]).tolist() == [False, True, False, False]


def test_the_last_two_are_kept_and_the_newest_is_taken(tmp_path: Path) -> None:
    for step in (2, 3, 9, 10):
        save(tmp_path, step)
    assert steps(tmp_path) == ["step-000000009", "step-000000010"]
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.state["step"] == 10


def test_the_same_step_can_be_saved_again(tmp_path: Path) -> None:
    save(tmp_path, 3)
    checkpoint.save(tmp_path, 3, WEIGHTS, OPTIMIZER, STATE | {"elapsed": 9.0})
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.state["elapsed"] == 9.0
    assert steps(tmp_path) == ["step-000000003"]


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


def raise_the_step(path: Path) -> None:
    path.write_text(path.read_text().replace('"step": 2', '"step": 3'))


def replace_by_a_list(path: Path) -> None:
    path.write_text("[1, 2]")


def nest(path: Path) -> None:
    path.write_text("[" * 100_000)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        *(("weights.safetensors", how) for how in (cut, alter, empty)),
        ("optimizer.safetensors", alter),
        *(("state.json", how) for how in (cut, raise_the_step, replace_by_a_list, nest)),
        ("weights.safetensors", Path.unlink),
        ("state.json", Path.unlink),
    ],
)
def test_the_one_before_stands_in_for_a_damaged_one(
    tmp_path: Path, name: str, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path, 1)
    damage(save(tmp_path, 2) / name)
    with caplog.at_level(logging.WARNING, logger="nearfar"):
        found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.state["step"] == 1
    assert len(caplog.messages) == 1
    assert "step-000000002 is damaged" in caplog.messages[0]


def test_when_none_is_there_or_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "nowhere") is None
    assert checkpoint.latest(tmp_path) is None
    for step in (1, 2):
        cut(save(tmp_path, step) / "state.json")
    assert checkpoint.latest(tmp_path) is None


def test_a_run_that_goes_back_behind_damaged_ones_keeps_its_new_ones(tmp_path: Path) -> None:
    for step in (100, 200):
        cut(save(tmp_path, step) / "state.json")
    for step in (10, 20, 30):
        save(tmp_path, step)
        found = checkpoint.latest(tmp_path)
        assert found is not None
        assert found.state["step"] == step
    assert steps(tmp_path) == ["step-000000020", "step-000000030"]


def test_a_checkpoint_of_another_step_than_its_name_says_is_damaged(tmp_path: Path) -> None:
    save(tmp_path, 1)
    save(tmp_path, 2).rename(tmp_path / "step-000000003")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.state["step"] == 1


@pytest.mark.parametrize("point", ["os.fsync", "pathlib.Path.mkdir", "pathlib.Path.rename", "pathlib.Path.open"])
def test_a_full_disk_is_said_and_keeps_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, point: str) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for step, kept in ((1, "No earlier one is kept"), (2, "step-000000001 is kept")):
        with monkeypatch.context() as patch:
            patch.setattr(point, full)
            with pytest.raises(
                MachineError, match=rf"cannot be written: No space left on device\. {kept}: make room and .*--resume"
            ):
                save(tmp_path, step)
        found = checkpoint.latest(tmp_path)
        assert (found and found.state["step"]) == (None if step == 1 else 1)
        assert steps(tmp_path) == ([] if step == 1 else ["step-000000001"])
        save(tmp_path, 1)


class Crash(BaseException):
    """The process is gone: nothing is cleaned up."""


def crash(*_: Any) -> None:
    raise Crash


@pytest.mark.parametrize("step", [1, 2], ids=["same step", "next step"])
def test_a_crash_before_the_rename_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    save(tmp_path, 1)
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "_sum_of", crash)
        with pytest.raises(Crash):
            save(tmp_path, step)
    found = checkpoint.latest(tmp_path)
    assert found is not None
    assert found.state["step"] == 1


def test_what_a_crash_left_is_cleared_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(checkpoint, "_sum_of", crash)
        with pytest.raises(Crash):
            save(tmp_path, 1)
    assert steps(tmp_path) == [".step-000000001.draft"]
    save(tmp_path, 2)
    assert steps(tmp_path) == ["step-000000002"]


def test_files_hold_no_pickle(tmp_path: Path) -> None:
    place = save(tmp_path, 1)
    assert sorted(path.name for path in place.iterdir()) == [
        "optimizer.safetensors",
        "state.json",
        "weights.safetensors",
    ]
    for path in place.iterdir():
        with pytest.raises(Exception, match=r"."):
            list(pickletools.genops(path.read_bytes()))
        assert not path.read_bytes().startswith(b"PK")  # torch's own archive
    json.loads((place / "state.json").read_text())


def test_tied_weights_are_kept(tmp_path: Path) -> None:
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(3, 3)
            self.other = nn.Linear(3, 3)
            self.other.weight = self.one.weight

    module = Tied()
    checkpoint.save(tmp_path, 1, module.state_dict(), {}, {})
    again = Tied()
    found = checkpoint.latest(tmp_path)
    assert found is not None
    checkpoint.restore_module(again, found.weights)
    assert torch.equal(again.one.weight, module.one.weight)
    assert again.other.weight is again.one.weight


def test_a_checkpoint_of_another_shape_is_refused() -> None:
    with pytest.raises(RunError, match="does not fit the run's settings"):
        checkpoint.restore_module(nn.Linear(3, 2), nn.Linear(4, 2).state_dict())
