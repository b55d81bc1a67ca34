"""The figure: a PNG that shows heat, names of any kind, and is known again as one of ours."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from nearfar.inspection.explain.explanation import explain
from nearfar.inspection.explain.figure import is_figure, overlaid, png
from tests.inspection.explain.linear import linear


def changed(found, **parts):
    sides = [dataclasses.replace(side, parts=dataclasses.replace(side.parts, **parts)) for side in (found.a, found.b)]
    return dataclasses.replace(found, a=sides[0], b=sides[1])


def pixels(found):
    return np.asarray(Image.open(io.BytesIO(png(found))).convert("RGB")).astype(int)


@pytest.mark.parametrize("running", [True, False])
def test_parts_are_coloured_by_what_they_add(running):
    found = changed(explain(*linear()), running=running)
    red, _, blue = np.moveaxis(pixels(found), 2, 0)
    assert (red - blue > 60).sum() > 100, "what makes them near"
    assert (blue - red > 60).sum() > 100, "what parts them"


def test_heat_lies_where_its_cell_is():
    found = explain(*linear(parts=4, grid=(2, 2)))
    found = changed(found, backdrop=np.full((40, 40, 3), 128, dtype=np.uint8))
    shown = np.asarray(overlaid(found.a, np.array([0, 0, 0, 1], dtype=np.float32), 100, 100)).astype(int)
    warm = shown[..., 0] - shown[..., 2]
    assert warm[90, 90] > 60
    assert warm[10, 10] == 0


def test_names_of_any_script_and_length_are_drawn():
    names = ["\ud800 lone", "x" * 500, "日本語", "tab\tand\nline", "", "\N{GRINNING FACE}"]
    for running in (True, False):
        found = changed(explain(*linear(), names=("a" * 900, "\udcff")), names=names, running=running)
        assert pixels(found).shape[1] < 1000


def test_of_many_parts_some_are_shown_and_the_others_counted():
    found = explain(*linear(parts=200))
    assert pixels(found).shape[0] < 2500
    assert pixels(changed(found, running=True)).shape[0] < 2500


def test_a_sample_without_parts_is_drawn():
    found = explain(*linear(parts=1))
    none = {method: heat[:0] for method, heat in found.a.heat.items()}
    side = dataclasses.replace(found.a, parts=dataclasses.replace(found.a.parts, names=[]), heat=none)
    assert pixels(dataclasses.replace(found, a=side, matches=None)).size


def test_a_figure_is_known_again(tmp_path):
    found = explain(*linear())
    found.save(tmp_path / "new" / "why.png")
    assert is_figure(tmp_path / "new" / "why.png")
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    (tmp_path / "text.png").write_text("no picture")
    assert not is_figure(tmp_path / "photo.png")
    assert not is_figure(tmp_path / "text.png")
