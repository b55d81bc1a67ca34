"""Pictures by pieces: the same as at once, on any number of threads."""

import cv2
import pytest
import torch

from nearfar.modalities.image.views import pieces
from nearfar.modalities.image.views.pieces import by_pieces, one_by_one


@pytest.fixture
def threads(monkeypatch):
    """Sets how many threads there are, for views of any size."""
    monkeypatch.setattr(pieces, "_ALONE", 0)
    before = torch.get_num_threads(), cv2.getNumThreads()
    yield torch.set_num_threads
    torch.set_num_threads(before[0])
    cv2.setNumThreads(before[1])


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("samples", [0, 1, 5])
def test_every_sample_is_made_once_and_in_its_place(threads, monkeypatch, count, samples):
    monkeypatch.setattr(pieces, "_PIECE", 2 * 3 * 4 * 4)  # two views
    threads(count)
    pictures = torch.arange(samples * 48, dtype=torch.float32).view(samples, 3, 4, 4)
    sizes = []

    def doubled(part, out):
        sizes.append(len(out))
        torch.mul(pictures[part], 2, out=out)

    assert torch.equal(by_pieces(pictures, 4, doubled), 2 * pictures)
    assert sum(sizes) == samples
    assert max(sizes, default=0) <= 2


def test_the_threads_of_torch_and_opencv_are_as_before(threads, monkeypatch):
    monkeypatch.setattr(pieces, "_PIECE", 1)
    threads(2)
    cv2.setNumThreads(2)
    pictures = torch.zeros(4, 1, 2, 2)
    seen = []
    by_pieces(pictures, 2, lambda part, out: seen.append((torch.get_num_threads(), cv2.getNumThreads())))
    assert set(seen) == {(1, 1)}
    assert (torch.get_num_threads(), cv2.getNumThreads()) == (2, 2)


def test_small_views_are_made_by_the_calling_thread_alone(threads, monkeypatch):
    threads(2)
    monkeypatch.setattr(pieces, "_PIECE", 1)
    monkeypatch.setattr(pieces, "_ALONE", 4)
    monkeypatch.setattr(pieces, "pool", None)
    made = by_pieces(torch.zeros(4, 1, 2, 2), 2, lambda part, out: out.fill_(1))
    assert (made == 1).all()


@pytest.mark.parametrize("count", [1, 2])
def test_inference_mode_reaches_the_threads(threads, count):
    threads(count)
    pictures = torch.zeros(4, 1, 2, 2)
    with torch.inference_mode():
        found = by_pieces(pictures, 2, lambda part, out: out.fill_(torch.is_inference_mode_enabled()))
    assert (found == 1).all()


def test_an_error_in_a_thread_is_the_callers(threads):
    threads(2)

    def refuse(part, out):
        raise ArithmeticError("of this piece")

    with pytest.raises(ArithmeticError, match="of this piece"):
        by_pieces(torch.zeros(4, 1, 2, 2), 2, refuse)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_innermost_in_memory(channels):
    found = by_pieces(torch.zeros(4, channels, 8, 8), 8, lambda part, out: out.zero_())
    assert found.stride() == (64 * channels, 1, 8 * channels, channels)


@pytest.mark.parametrize(("channels", "expected"), [(1, True), (3, True), (128, True), (129, False)])
def test_pictures_go_one_by_one_where_opencv_takes_their_channels(channels, expected):
    assert one_by_one(torch.zeros(1, channels, 2, 2)) == expected


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_another_device_takes_the_batch_at_once():
    assert not one_by_one(torch.zeros(4, 3, 8, 8, device="cuda"))
