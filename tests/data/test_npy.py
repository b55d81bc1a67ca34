import struct
import zipfile

import numpy as np
import pytest

from nearfar.data import npy
from nearfar.errors import DataError


def header(text, body=b"\0" * 81):
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + body


def test_shapes_are_read_from_headers_alone(tmp_path):
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "a.npz", x=np.ones((2, 3)), y=np.arange(2), z=np.zeros(1))
        assert npy.shapes(tmp_path / "a.npz") == {"x": (2, 3), "y": (2,), "z": (1,)}


def test_an_array_without_elements_is_one(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((0, 3)))
    np.savez(tmp_path / "a.npz", x=np.ones((3, 0)))
    assert npy.arrays(tmp_path / "a.npy")["a"].shape == (0, 3)
    assert npy.arrays(tmp_path / "a.npz")["x"].shape == (3, 0)


FORGED = [
    "{'descr': '|u1', 'fortran_order': False, 'shape': (",
    "  {'descr'\n   : 1",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (-1, 3, 3)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999, 3)}",
    "{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 3, 3)}",
    "{'descr': (), 'fortran_order': False, 'shape': (9, 3, 3)}",
    "{'descr': [('a',)], 'fortran_order': False, 'shape': (9, 3, 3)}",
    "{'descr': '<U99999999999', 'fortran_order': False, 'shape': (9, 3, 3)}",
    "{'descr': '|O', 'fortran_order': False, 'shape': (9, 3, 3)}",
    "{1: 2, 'a': 3}",
    "(" * 200,
]


@pytest.mark.parametrize("kind", ["npy", "npz", "packed"])
@pytest.mark.parametrize("text", FORGED, ids=range(len(FORGED)))
def test_a_forged_header_is_refused(tmp_path, kind, text):
    path = tmp_path / ("a.npy" if kind == "npy" else "a.npz")
    if kind == "npy":
        path.write_bytes(header(text))
    else:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind == "packed" else zipfile.ZIP_STORED) as file:
            file.writestr("x.npy", header(text))
    with pytest.raises(DataError, match=r"a\.np[yz]' is no file of arrays without pickle: "):
        npy.arrays(path)


def test_an_archive_named_as_an_array_is_refused(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(3))
    (tmp_path / "a.npz").rename(tmp_path / "a.npy")
    with pytest.raises(DataError, match="is no file of arrays"):
        npy.arrays(tmp_path / "a.npy")


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.npz' cannot be read: no such file"):
        npy.shapes(tmp_path / "a.npz")


def test_what_memory_cannot_hold_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((1000, 100)))
    assert npy.arrays(tmp_path / "a.npz")["x"].shape == (1000, 100)
    monkeypatch.setattr(npy, "available_memory", lambda: 700_000)
    with pytest.raises(DataError, match=r"unpacked it takes 0\.0 GB, and 0\.0 GB of memory are free"):
        npy.arrays(tmp_path / "a.npz")
