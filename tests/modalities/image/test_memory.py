"""Memory of pictures: where it comes from changes nothing but the time."""

import gc
import mmap
import resource

import pytest
import torch

from nearfar.modalities.image import memory
from nearfar.modalities.image.memory import along, recycled

LARGE = (3, 700, 1000)


@pytest.fixture(autouse=True)
def nothing_free():
    gc.collect()
    memory._free.clear()


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
@pytest.mark.parametrize("shape", [(0, 3), (5, 7), LARGE, (2**21,)])
def test_memory_is_as_large_as_asked(shape, dtype):
    found = recycled(*shape, dtype=dtype)
    assert (found.shape, found.dtype) == (shape, dtype)
    assert found.is_contiguous()
    assert (found.fill_(7) == 7).all()


def test_memory_outlives_its_maker_and_its_neighbours():
    found = [recycled(1, 2**20).fill_(i) for i in range(4)]
    del found[1]
    again = recycled(1, 2**20).fill_(9)
    assert [int(one.sum()) // 2**20 for one in (*found, again)] == [0, 2, 3, 9]


def test_memory_that_is_left_is_taken_again_without_new_pages():
    place = recycled(*LARGE).fill_(1).data_ptr()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        assert recycled(*LARGE).fill_(2).data_ptr() == place
    assert resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before < 100


def test_memory_is_not_reused_as_long_as_a_part_of_it_is_held():
    part = recycled(*LARGE).fill_(1)[1, 3:5]
    other = recycled(*LARGE).fill_(2)
    assert (part == 1).all()
    assert (other == 2).all()


@pytest.mark.parametrize("other", [(3, 1400, 1000), (3, 350, 1000)])
def test_memory_of_another_size_is_other_memory(other):
    place = recycled(*LARGE).data_ptr()
    assert recycled(*other).data_ptr() != place
    assert recycled(*LARGE).data_ptr() == place


def test_only_a_little_is_kept():
    held = [recycled(*LARGE) for _ in range(10)]
    del held
    assert len(memory._free) == 4


def test_memory_is_found_where_there_are_no_large_pages(monkeypatch):
    def refuse(*args, **more):
        raise OSError("no such pages")

    monkeypatch.setattr(memory.mmap, "mmap", refuse)
    assert recycled(2**21).shape == (2**21,)
    monkeypatch.delattr(mmap, "MADV_HUGEPAGE", raising=False)
    assert recycled(2**21).shape == (2**21,)


def test_a_row_of_values_is_each_channels_own():
    values, pictures = torch.rand(3), torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    row = along(values, 5)
    assert row.stride()[0] == 1
    assert torch.equal(pictures + row, pictures + values[:, None, None])
