"""Every method goes on as if it had never stopped: its queues, momentum encoders, centres and prototypes included."""

from collections.abc import Callable
from pathlib import Path

import pytest

import nearfar as nf
from nearfar.api.run import Run
from tests.methods.toys import PLAIN


@pytest.mark.usefixtures("unjudged")
@pytest.mark.parametrize("name", PLAIN)
def test_a_stopped_run_ends_as_if_it_never_was(
    name: str,
    tiny: Callable[..., Run],
    tmp_path: Path,
    stop_at: Callable[..., None],
    same_end: Callable[[Path, Path], None],
) -> None:
    options = {"method": name, "image_size": 8, "health_every": 1}
    whole = tiny("digits:test", out=tmp_path / "whole", **options)
    stop_at(3)
    with pytest.raises(KeyboardInterrupt, match="Stopped at step 4"):
        tiny("digits:test", out=tmp_path / "cut", **options)
    nf.train(out=tmp_path / "cut", resume=True)
    same_end(whole.path, tmp_path / "cut")
