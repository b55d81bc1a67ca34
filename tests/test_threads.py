import os
from pathlib import Path

import pytest

from nearfar import threads


@pytest.mark.parametrize(("others", "policy"), [(0, None), (4 * (os.cpu_count() or 1), "PASSIVE")])
def test_waiting_threads_sleep_where_others_use_the_machine(
    others: int, policy: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "loadavg").write_text(f"0.1 0.2 0.3 {1 + others}/144 4711\n", encoding="ascii")
    monkeypatch.setattr(threads, "_LOAD", tmp_path / "loadavg")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
    monkeypatch.setenv("KMP_BLOCKTIME", "7")
    threads.sleep_where_busy()
    assert os.environ.get("OMP_WAIT_POLICY") == policy
    assert os.environ["KMP_BLOCKTIME"] == "7"  # what the user has set stays


def test_a_machine_that_says_nothing_is_taken_for_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "_LOAD", tmp_path / "none")
    assert not threads.quiet()
