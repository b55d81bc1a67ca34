"""The pages below docs/ name what there is."""

import importlib.util
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def test_the_page_of_losses_has_a_row_for_every_loss():
    import nearfar.losses

    table = (DOCS / "losses.md").read_text(encoding="utf-8").split("## The table")[1].split("\n## ")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= set(nearfar.losses.__all__)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8"))
    assert not [target for target in targets if not (page.parent / target).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_code_imports_what_there_is(page):
    for code in re.findall(r"^```python\n(.*?)^```$", page.read_text(encoding="utf-8"), flags=re.M | re.S):
        for line in re.findall(r"^from nearfar.*$", code, flags=re.M):
            exec(line, {})


def test_the_page_of_methods_has_a_row_for_every_method():
    from nearfar.methods.registry import METHODS

    table = (DOCS / "methods.md").read_text(encoding="utf-8").split("## Which one")[1].split("\n\n")[1]
    assert re.findall(r"^\| `(\w+)`", table, flags=re.M) == list(METHODS)


def test_the_tables_of_methods_are_what_the_code_and_the_results_say():
    spec = importlib.util.spec_from_file_location("tables", DOCS / "tables.py")
    assert spec is not None
    assert spec.loader is not None
    tables = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tables)
    for path in tables.PAGES:
        page = path.read_text(encoding="utf-8")
        assert page == tables.rendered(page), "python docs/tables.py writes them anew"


def test_the_code_of_the_page_on_own_parts_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    text = (DOCS / "own.md").read_text(encoding="utf-8")
    code = "\n".join(re.findall(r"^```python\n(.*?)^```$", text, flags=re.M | re.S))
    found: dict[str, object] = {}
    exec(compile(code.replace(", steps=20", ", steps=2, evaluate=False"), "own.md", "exec"), found)
    losses = found["losses"]
    assert losses.total < 9  # NT-Xent of 512 pairs begins near log(1023)
    assert (tmp_path / "runs" / "warm").is_dir()
