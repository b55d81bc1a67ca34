"""Alarms: each says once, and in time, what looks wrong and what to change; a healthy run has none."""

from typing import Any

import pytest

from nearfar.training.alarms import Alarm, Watchdog

HEALTHY: dict[str, Any] = {
    "step": 7,
    "progress": 0.2,
    "seconds": 60.0,
    "loss": 3.0,
    "repeats": 0.0,
    "effective_rank": 30.0,
    "dead_dimensions": 0.0,
    "uniformity": -2.0,
    "view_retrieval": 0.7,
    "agreement": 0.6,
    "pull": 3.0,
    "collapse_gain": -1.0,
    "update_ratio": 0.02,
    "weight_norm": 10.0,
    "data_wait": 0.05,
    "processor_wait": 0.02,
}

ALARMS: list[tuple[str, dict[str, Any], str]] = [
    ("samples alike", {"repeats": 0.9}, "copies"),
    ("steps too long", {"update_ratio": 0.8}, "--lr"),
    ("collapse pays", {"collapse_gain": 1.0}, "stop-gradient"),
    ("collapse", {"effective_rank": 1.2}, "--lr"),
    ("one point", {"uniformity": -0.001}, "--lr"),
    ("dead dimensions", {"dead_dimensions": 0.6}, "--weight-decay"),
    ("no pull", {"pull": 0.01}, "--temperature"),
    ("views unrelated", {"agreement": 0.01}, " (lower --mildness)"),
    ("too easy", {"view_retrieval": 1.0}, " (raise --mildness)"),
    ("not replayed", {"replay_deviation": 0.2}, "--micro-batch"),
    ("waiting for data", {"data_wait": 0.8}, "--threads"),
    ("processor shared", {"processor_wait": 0.6}, "fewer --threads"),
]
wrong = pytest.mark.parametrize(("name", "record", "advice"), ALARMS, ids=[alarm[0] for alarm in ALARMS])


def looks(*records: dict[str, Any]) -> list[Alarm]:
    """The alarms of a run with these records, after a first one that is healthy."""
    watchdog = Watchdog(advice={"views unrelated": "lower --mildness", "too easy": "raise --mildness"})
    assert watchdog.look(HEALTHY | {"progress": 0.0}) == []
    return [alarm for record in records for alarm in watchdog.look(HEALTHY | record)]


@wrong
def test_an_alarm_says_once_in_the_first_tenth_what_to_change(name: str, record: dict[str, Any], advice: str) -> None:
    for records in ([record] * 6, [record | {"progress": hundredth / 100} for hundredth in range(1, 11)]):
        (alarm,) = looks(*records)
        assert (alarm.step, alarm.name) == (7, name)
        assert advice in alarm.sentence
        assert alarm.sentence.endswith(".")


@pytest.mark.parametrize("progress", [0.0, 0.03, 0.1, 0.25, 0.5, 1.0])
def test_a_healthy_run_raises_none(progress: float) -> None:
    assert looks(*[{"progress": progress}] * 6) == []


def test_a_record_without_figures_raises_none() -> None:
    assert Watchdog().look({"step": 1, "progress": 0.5, "loss": 3.0}) == []


def test_inputs_are_alike_where_features_never_differ_before_the_first_step() -> None:
    (alarm,) = Watchdog().look({"step": 1, "progress": 0.0, "dead_dimensions": 1.0})
    assert alarm.name == "inputs alike"
    assert [alarm.name for alarm in looks({"dead_dimensions": 1.0})] == ["dead dimensions"]


def test_what_another_alarm_explains_is_not_said() -> None:
    collapsed = {"effective_rank": 1.0, "dead_dimensions": 1.0, "pull": 0.0, "agreement": 0.0, "uniformity": 0.0}
    assert [alarm.name for alarm in looks(*[{"repeats": 1.0, **collapsed}] * 6)] == ["samples alike"]
    assert [alarm.name for alarm in looks(*[{"update_ratio": 1.0, "collapse_gain": 2.0}] * 6)] == ["steps too long"]


def test_several_alarms_can_come_at_once() -> None:
    found = looks({"effective_rank": 1.0, "dead_dimensions": 1.0, "view_retrieval": 1.0})
    assert [alarm.name for alarm in found] == ["collapse", "dead dimensions", "too easy"]


def test_steps_that_lengthened_the_weights_were_too_long() -> None:
    (alarm,) = looks({"weight_norm": 30.0, "update_ratio": 0.2})
    assert alarm.name == "steps too long"
    assert looks({"weight_norm": 30.0}, {"update_ratio": 0.2}) == []


def test_a_loss_that_is_solved_late_is_no_alarm() -> None:
    assert looks(*[{"progress": 0.5, "pull": 0.0, "view_retrieval": 1.0}] * 6) == []


@pytest.mark.parametrize("record", [{"agreement": 0.01}, {"pull": 0.01}, {"collapse_gain": 1.0}])
def test_what_is_noisy_must_last(record: dict[str, Any]) -> None:
    assert looks(*[record, {}] * 6) == []


def test_collapse_gains_count_beside_the_pull() -> None:
    assert looks(*[{"collapse_gain": 1.0, "pull": 8.0}] * 6) == []


def test_a_run_of_seconds_may_wait_for_its_data() -> None:
    assert looks(*[{"data_wait": 0.8, "processor_wait": 0.8, "seconds": 2.0}] * 6) == []


def test_a_run_that_goes_on_knows_what_was_said_and_seen() -> None:
    before = [HEALTHY | {"progress": 0.0}, *[HEALTHY | {"agreement": 0.01}] * 3]
    assert [alarm.name for alarm in Watchdog(records=before).look(before[-1])] == ["views unrelated"]
    said = Alarm(7, "views unrelated", "Said.")
    assert Watchdog([said], before).look(before[-1]) == []


def losses(*values: float) -> Watchdog:
    watchdog = Watchdog()
    for number, value in enumerate(values):
        watchdog.look(HEALTHY | {"step": number, "loss": value})
    return watchdog


@pytest.mark.parametrize(
    "values",
    [
        (0.0, 6.0, 8.0, 9.0, 11.1, 11.1, 11.1),  # a queue that fills to 65,536
        (-0.01, -0.5, -0.9, -0.9, -0.9),
        (50.0, 40.0, 4000.0, 4000.0, 4000.0, 30.0),
        (5.0, 1e4, 1e5, 4.0, 1e5, 1e6, 4.0),  # it came back
    ],
)
def test_no_loss_that_lives_has_exploded(values: tuple[float, ...]) -> None:
    assert not losses(*values).exploded


def test_a_loss_far_above_its_start_for_three_records_has_exploded() -> None:
    assert not losses(5.0, 4.0, 600.0, 700.0).exploded
    assert losses(5.0, 4.0, 600.0, 700.0, 600.0).exploded
    assert losses(-1.0, 101.0, 101.0, 101.0).exploded


def test_nothing_explodes_before_the_first_record() -> None:
    assert not Watchdog().explodes(1e9)
    assert not losses(5.0).explodes(float("nan"))
