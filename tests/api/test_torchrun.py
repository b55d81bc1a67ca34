"""One command on several processes: what it writes, how it stops, and that it survives the loss of one of them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import nearfar as nf
from nearfar.training import checkpoint

Photos = Callable[..., Path]
SameEnd = Callable[[Path, Path], None]
TOGETHER = "--steps 40 --sync-norm --gather ring".split()
WORDS = "--encoder small_cnn --width 8 --batch-size 16 --precision fp32 --threads 1 --knn-every 0".split()


def command(data: Path, out: Path, *more: str, restarts: int = 0) -> list[str]:
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--max-restarts", str(restarts)]
    return [sys.executable, *launcher, "-m", "nearfar", "train", str(data), "--out", str(out), *WORDS, *more]


def begun(words: list[str]) -> subprocess.Popen[str]:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def said_by(process: subprocess.Popen[str]) -> str:
    try:
        return process.communicate(timeout=100)[0]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise


def until_saved(process: subprocess.Popen[str], out: Path) -> None:
    while not list((out / "checkpoint").glob("step-*")):
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.02)


def workers(process: subprocess.Popen[str]) -> list[int]:
    """The processes of the ranks."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    if not children.is_file():
        pytest.skip("this system does not say which processes a process has started")
    return [int(number) for number in children.read_text().split()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, str]:
    """Photos, a run of two processes on them, and what it said."""
    from tests.api.conftest import photos_in

    folder = tmp_path_factory.mktemp("ranks")
    data, out = photos_in(folder / "photos"), folder / "run"
    with begun(command(data, out, *TOGETHER)) as process:
        said = said_by(process)
    assert process.returncode == 0, said
    return data, out, said


def test_one_of_the_processes_writes_and_speaks(whole: tuple[Path, Path, str]) -> None:
    _, out, said = whole
    assert len(re.findall(r"^report ", said, re.MULTILINE)) == 1
    assert len(re.findall(r"samples from", said)) == 1
    assert json.loads((out / "environment.json").read_text())["ranks"] == 2
    assert 'gather = "ring"' in (out / "config.toml").read_text()
    assert {"config.toml", "encoder", "evaluation.json", "report.html"} <= {path.name for path in out.iterdir()}
    found = checkpoint.latest(out / "checkpoint")
    assert found is not None
    assert found.state["step"] == 40
    assert nf.load(out).dim > 0


def test_a_killed_rank_is_started_again_and_nothing_is_lost(
    whole: tuple[Path, Path, str], tmp_path: Path, same_end: SameEnd
) -> None:
    data, before, _ = whole
    out = tmp_path / "killed"
    more = [*TOGETHER, "--checkpoint-every", "0.001"]
    with begun(command(data, out, *more, restarts=1)) as process:
        until_saved(process, out)
        os.kill(workers(process)[-1], signal.SIGKILL)
        said = said_by(process)
    assert process.returncode == 0, said
    assert "going on from step" in said
    same_end(before, out)


def test_ctrl_c_saves_on_all(whole: tuple[Path, Path, str], tmp_path: Path) -> None:
    data, out = whole[0], tmp_path / "stopped"
    with begun(command(data, out, "--steps", "100000", "--checkpoint-every", "0.001")) as process:
        until_saved(process, out)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the launcher and to all ranks
        said = said_by(process)
    assert process.returncode != 0
    assert len(re.findall("all is saved. Go on with: nearfar train --resume", said)) == 1
    found = checkpoint.latest(out / "checkpoint")
    assert found is not None
    assert f"Stopped at step {found.state['step']};" in said
