import io

import pytest
import torch
from rich.console import Console

from nearfar.evaluation import Split, compare, label_free
from nearfar.evaluation.table import cells, header, lines, table


@pytest.fixture(scope="module")
def found():
    labels = torch.arange(120) % 3
    generator = torch.Generator().manual_seed(0)

    def system(noise):
        x = 2 * torch.eye(3)[labels] + noise * torch.randn(120, 3, generator=generator)
        return Split(x, labels, x.flip(0) + 0.01, labels.flip(0))

    systems = {"raw input": system(2.0), "untrained encoder": system(3.0), "trained encoder": system(0.3)}
    return compare(systems, classes=["a", "b", "c"], draws=4)


def test_one_row_a_probe_and_one_column_a_system(found):
    assert header(found) == ["labels /class", "probe", *found.systems, "lead over best other"]
    assert [line[:2] for line in cells(found)] == [
        ["1", "kNN k=1"],
        ["1", "linear"],
        ["5", "kNN k=5"],
        ["5", "linear"],
        ["all", "kNN k=20"],
        ["all", "kNN k=200"],
        ["all", "linear"],
    ]


def test_the_best_is_marked_and_the_lead_said(found):
    first = cells(found)[0]
    assert [cell.endswith("*") for cell in first[2:5]] == [False, False, True]
    assert first[5].endswith("ahead")
    assert first[5].startswith("+")


def test_plain_lines_fit_80_columns(found):
    assert max(map(len, lines(found))) <= 80
    assert any("good: Training helped" in line for line in lines(found))


def test_rich_table_fits_80_columns_and_cuts_nothing(found):
    console = Console(file=io.StringIO(), width=80)
    console.print(table(found))
    text = console.file.getvalue()
    assert "…" not in text
    assert all(cell in text for line in cells(found) for cell in line)


def test_without_labels_the_lines_are_geometry_and_verdict():
    text = "\n".join(lines(label_free({"encoder": torch.randn(50, 4)})))
    assert "encoder: effective rank" in text
    assert "unclear: No sign of collapse" in text


def test_one_system_has_no_lead():
    labels = torch.arange(40) % 2
    x = torch.randn(40, 3)
    found = compare({"encoder": Split(x, labels, x, labels)}, classes=["a", "b"], draws=2)
    assert header(found)[-1] == "encoder"
    assert max(map(len, lines(found))) <= 80
