import pytest
import torch

from nearfar.evaluation import TaskData, Vectors, judge_systems
from nearfar.evaluation.table import header, lines, sections
from tests.evaluation.systems import blobs, data_of


@pytest.fixture(scope="module")
def found():
    systems = {"raw input": blobs(2.0), "untrained encoder": blobs(3.0), "trained encoder": blobs(0.3)}
    return judge_systems(systems, data_of(draws=4))


def test_one_section_a_task_and_one_column_a_system(found):
    assert header(found) == ["", *found.systems, "lead over best other"]
    named = [(heading, [line[0] for line in rows]) for heading, rows in sections(found)]
    assert named == [
        (
            "classify: accuracy",
            "kNN k=1 1/class|linear 1/class|kNN k=5 5/class|linear 5/class|kNN k=20 all|kNN k=200 all|linear all".split(
                "|"
            ),
        ),
        ("retrieve", ["precision@1", "map@r"]),
        ("label free", ["effective rank", "dead dimensions"]),
    ]


def test_the_best_is_marked_and_the_lead_said(found):
    first = sections(found)[0][1][0]
    assert [cell.endswith("*") for cell in first[1:4]] == [False, False, True]
    assert first[4].endswith("ahead")
    assert first[4].startswith("+")


def test_plain_lines_fit_80_columns(found):
    assert max(map(len, lines(found))) <= 80
    assert any(line.startswith("good: Training helps") for line in lines(found))


def test_without_labels_the_lines_are_label_free_figures_and_the_verdict():
    text = "\n".join(lines(judge_systems({"encoder": Vectors(torch.randn(50, 4))}, TaskData())))
    assert "effective rank" in text
    assert "unclear: Without labels of two classes nothing" in text


def test_one_system_has_no_lead():
    found = judge_systems({"encoder": blobs(1.0)}, data_of(draws=2))
    assert header(found)[-1] == "encoder"
    assert max(map(len, lines(found))) <= 80
