"""Pictures by pieces: the same as at once, on any number of threads."""

import pytest
import torch

from nearfar.modalities.image.views import pieces
from nearfar.modalities.image.views.pieces import by_pieces


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("samples", [0, 1, 5])
def test_every_sample_is_made_once_and_in_its_place(large, threads, monkeypatch, count, samples):
    large(1)
    monkeypatch.setattr(pieces, "_PIECE", 2 * 3 * 4 * 4)  # two views
    threads(count)
    pictures = torch.arange(samples * 48, dtype=torch.float32).view(samples, 3, 4, 4)
    sizes = []

    def doubled(part):
        sizes.append(len(pictures[part]))
        return 2 * pictures[part]

    assert torch.equal(by_pieces(pictures, 4, doubled), 2 * pictures)
    assert sum(sizes) == samples
    assert max(sizes, default=0) <= 2


def test_the_threads_of_torch_are_as_before(large, threads, monkeypatch):
    large(1)
    monkeypatch.setattr(pieces, "_PIECE", 1)
    threads(2)
    pictures = torch.zeros(4, 1, 2, 2)
    seen = []
    by_pieces(pictures, 2, lambda part: (seen.append(torch.get_num_threads()), pictures[part])[1])
    assert set(seen) == {1}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", [1, 2])
def test_inference_mode_reaches_the_threads(large, threads, count):
    large(1)
    threads(count)
    pictures = torch.zeros(4, 1, 2, 2)
    with torch.inference_mode():
        found = by_pieces(pictures, 2, lambda part: pictures[part] + torch.is_inference_mode_enabled())
    assert (found == 1).all()


def test_an_error_in_a_thread_is_the_callers(large, threads):
    large(1)
    threads(2)

    def refuse(part):
        raise ArithmeticError("of this piece")

    with pytest.raises(ArithmeticError, match="of this piece"):
        by_pieces(torch.zeros(4, 1, 2, 2), 2, refuse)


def test_small_pictures_go_at_once():
    pictures = torch.zeros(4, 1, 8, 8)
    parts = []
    by_pieces(pictures, 8, lambda part: (parts.append(part), pictures[part])[1])
    assert parts == [slice(0, 4)]
