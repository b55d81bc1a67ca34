"""`import nearfar` costs nothing: each name comes from its home when first asked for."""

import subprocess
import sys

import pytest

import nearfar


def test_importing_nearfar_imports_neither_torch_nor_numpy():
    code = "import nearfar, sys; print(*sorted({'torch', 'numpy', 'rich', 'nearfar.api'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"


def test_the_public_names_alone_are_listed_before_they_are_imported():
    assert {"train", "load", "embed", "evaluate", "search", "report", "demo", "Embeddings"} <= set(dir(nearfar))
    assert set(dir(nearfar)) == set(nearfar.__all__)


def test_a_name_is_that_of_its_home():
    from nearfar.errors import NearfarError

    assert nearfar.NearfarError is NearfarError


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="module 'nearfar' has no attribute 'trian'"):
        nearfar.trian  # noqa: B018
