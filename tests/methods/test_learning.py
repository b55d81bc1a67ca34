"""Every method learns: a short run on the digits leads the untrained encoder by the margin that was measured before.

The margin is the mean minus four standard deviations over ten seeds (`benchmarks/margins.py`); the seed here is none of
them.
"""

import json
from pathlib import Path

import pytest

from tests.methods.learning import SETTINGS, learn
from tests.methods.toys import PLAIN

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "margins.json"
SEED = 100


def test_the_margins_are_of_the_methods_and_settings_in_force() -> None:
    measured = json.loads(RESULTS.read_text(encoding="utf-8"))
    assert measured["methods"].keys() == set(PLAIN)
    assert measured["settings"] == SETTINGS
    assert SEED not in measured["seeds"]


@pytest.mark.parametrize("name", PLAIN)
def test_a_short_run_leads_the_untrained_encoder(name: str, tmp_path: Path) -> None:
    margin = json.loads(RESULTS.read_text(encoding="utf-8"))["methods"][name]["margin"]
    assert margin > 0
    found = learn(name, SEED, tmp_path / "run")
    assert found.lead >= margin
    assert [alarm for alarm in found.alarms if alarm.name != "processor shared"] == []  # that is the machine's
    assert found.effective_rank > 3
