"""Memory that runs out costs a step's repetition, and what it allowed is remembered."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import nearfar as nf
from nearfar.api.options import from_file
from nearfar.api.run import Run
from nearfar.contract import Latents, Views
from nearfar.errors import ConfigError, TrainingError
from nearfar.methods.simclr import SimCLR
from nearfar.training import checkpoint

Tiny = Callable[..., Run]


@pytest.fixture
def limited(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], list[int]]:
    """Lets simclr embed so many samples at once and no more; gives the sizes that were tried."""

    def limit(most: int) -> list[int]:
        embed, tried = SimCLR.embed, list[int]()

        def fails(self: SimCLR, views: Views) -> Latents:
            tried.append(views.samples)
            if views.samples > most:
                raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return embed(self, views)

        monkeypatch.setattr(SimCLR, "embed", fails)
        return tried

    return limit


@pytest.mark.usefixtures("unjudged")
def test_memory_that_runs_out_halves_the_micro_batch(
    tiny: Tiny, table: Path, limited: Callable[[int], list[int]], caplog: pytest.LogCaptureFixture
) -> None:
    tried = limited(5)
    run = tiny(table, encoder=None, width=None, batch_size=16, micro_batch=16, steps=3)
    assert tried[:3] == [16, 8, 4]
    assert set(tried[3:]) == {4}
    state = checkpoint.latest(run.path / "checkpoint")
    assert state is not None
    assert state.state["micro_batch"] == 4
    assert [alarm["name"] for alarm in state.state["alarms"][:2]] == ["memory, 8", "memory, 4"]
    assert "Memory ran out with micro-batches of 16 samples: the run goes on with 8." in caplog.text


@pytest.mark.usefixtures("unjudged")
def test_what_memory_allowed_is_remembered_when_a_run_goes_on(
    tiny: Tiny, table: Path, limited: Callable[[int], list[int]], stop_at: Any
) -> None:
    options = {"encoder": None, "width": None, "batch_size": 16, "micro_batch": 16, "steps": 6}
    tried = limited(5)
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        tiny(table, **options)
    tried.clear()
    nf.train(out=table.parent / "run", resume=True)
    assert set(tried) == {4}


@pytest.mark.usefixtures("unjudged")
def test_steps_after_it_equal_those_of_a_run_that_began_so(
    tiny: Tiny, table: Path, limited: Callable[[int], list[int]], tmp_path: Path
) -> None:
    options = {"encoder": None, "width": None, "batch_size": 16, "steps": 4}
    expected = tiny(table, out=tmp_path / "small", micro_batch=4, **options)
    limited(5)
    found = tiny(table, out=tmp_path / "found", micro_batch=16, **options)
    one, other = (checkpoint.latest(run.path / "checkpoint") for run in (expected, found))
    assert one is not None
    assert other is not None
    assert all(torch.equal(value, other.weights[name]) for name, value in one.weights.items())


@pytest.mark.usefixtures("unjudged")
def test_where_nothing_fits_the_run_says_what_to_do(
    tiny: Tiny, table: Path, limited: Callable[[int], list[int]]
) -> None:
    limited(0)
    with pytest.raises(TrainingError, match=r"Memory ran out at step 0, even with micro-batches of 2: take a smaller"):
        tiny(table, encoder=None, width=None, batch_size=16, micro_batch=16)


@pytest.mark.usefixtures("unjudged")
def test_the_micro_batch_is_measured_once_and_kept(tiny: Tiny, table: Path) -> None:
    run = tiny(table, encoder=None, width=None, batch_size=16, micro_batch="auto")
    assert from_file(run.path / "config.toml")["micro_batch"] == 16


@pytest.mark.parametrize("wrong", [1, 0, -4, "many", 2.5])
def test_a_micro_batch_is_a_number_or_auto(tiny: Tiny, table: Path, wrong: Any) -> None:
    with pytest.raises(ConfigError, match=r"micro_batch"):
        tiny(table, micro_batch=wrong)
