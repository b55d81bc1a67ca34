"""Cells of rows: one that is taken away is missing."""

from pathlib import Path

import pytest
import torch

from nearfar.modalities.table import MODALITY, TableOptions
from nearfar.testing.parts import check_parts
from tests.modalities.table.opening import opened


@pytest.mark.parametrize("name", ["mlp", "wide", "transformer"])
def test_cells_are_named_and_can_be_missing(tmp_path: Path, name: str) -> None:
    (tmp_path / "t.csv").write_text("a,colour,b\n1,red,2\n3,blue,5\n?,red,1\n4,blue,7\n")
    torch.manual_seed(0)
    source = opened(str(tmp_path / "t.csv"))
    encoder = MODALITY.encoder(name, source, TableOptions(hidden=8, layers=2)).eval()
    inputs = encoder.preprocess([{"a": 3, "colour": "blue", "b": 7}])
    with torch.no_grad():
        parts = encoder.parts(inputs)
        assert list(parts.names) == ["a: 3", "colour: blue", "b: 7"]
        assert (parts.tokens is not None) == (name == "transformer")
        found = parts.without(torch.tensor([[False, True, True], [True, False, True]]))
    wanted = encoder.preprocess([{"a": None, "colour": "blue", "b": 7}, {"a": 3, "colour": None, "b": 7}])
    assert torch.equal(found, wanted)
    check_parts(encoder, inputs)
