"""Memory of pictures: where it comes from changes nothing but the time."""

import mmap

import pytest
import torch

from nearfar.modalities.image import memory
from nearfar.modalities.image.memory import along, room


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(0, 3), (5, 7), (3, 700, 1000), (2**21,)])
def test_room_is_as_large_as_asked(shape, dtype):
    found = room(*shape, dtype=dtype)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert found.is_contiguous()
    assert (found.fill_(7) == 7).all()


def test_room_outlives_its_maker_and_its_neighbours():
    found = [room(1, 2**20).fill_(i) for i in range(4)]
    del found[1]
    again = room(1, 2**20).fill_(9)
    assert [int(one.sum()) // 2**20 for one in (*found, again)] == [0, 2, 3, 9]


def test_room_is_found_where_there_are_no_large_pages(monkeypatch):
    def refuse(*args, **more):
        raise OSError("no such pages")

    monkeypatch.setattr(memory.mmap, "mmap", refuse)
    assert room(2**21).shape == (2**21,)
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert room(2**21).shape == (2**21,)


def test_a_row_of_values_is_each_channels_own():
    values, pictures = torch.rand(3), torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    row = along(values, 5)
    assert row.stride()[0] == 1
    assert torch.equal(pictures + row, pictures + values[:, None, None])
