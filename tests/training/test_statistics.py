"""Running statistics move once a step, however many pieces it is made in."""

import copy

import pytest
import torch
from torch import Tensor, nn

from nearfar.methods.byol import BYOL, BYOLOptions
from nearfar.methods.simclr import SimCLR, SimCLROptions
from nearfar.training.ranks import ALONE
from nearfar.training.statistics import Statistics, normalises
from nearfar.training.step import pieces_of, training_step
from tests.training.test_step import method_of, pair, views_of
from tests.training.together import Flat


def norms(method: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in method.named_buffers() if "running" in name or "tracked" in name}


def test_one_piece_moves_them_as_a_plain_forward_does() -> None:
    method = method_of("simclr")
    plain = copy.deepcopy(method)
    views, batch = pair()
    training_step(method, views, batch)
    plain.embed(views)
    for name, value in norms(plain).items():
        assert torch.equal(value, norms(method)[name]), name


@pytest.mark.parametrize("size", [2, 3, 4])
def test_pieces_move_them_by_the_mean_of_what_each_makes_of_them(size: int) -> None:
    method = method_of("simclr")
    before = copy.deepcopy(method)
    views, batch = pair()
    training_step(method, views, batch, micro_batch=size)
    expected: dict[str, Tensor] = {}
    for piece in pieces_of(7, -(-7 // size)):
        own = copy.deepcopy(before)
        own.embed(views.part(piece.start, piece.stop))
        for name, value in norms(own).items():
            share = (piece.stop - piece.start) / 7 if value.is_floating_point() else 0
            expected[name] = expected.get(name, 0) + value * share if share else value
    for name, value in norms(method).items():
        torch.testing.assert_close(value, expected[name], rtol=1e-12, atol=1e-15, msg=name)


def test_means_in_pieces_are_those_of_the_whole_batch() -> None:
    """Of a norm at the encoder's start, whose inputs do not depend on other statistics."""

    class First(Flat):
        def __init__(self) -> None:
            super().__init__()
            self.network.insert(0, nn.BatchNorm1d(4))

    torch.manual_seed(0)
    method = SimCLR(First(), SimCLROptions(projector_hidden=8, projector_out=5)).double()
    plain = copy.deepcopy(method)
    views, batch = pair()
    training_step(method, views, batch, micro_batch=3)
    training_step(plain, views, batch)
    one, other = (norms(m)["encoder.network.0.running_mean"] for m in (method, plain))
    torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-15)


def test_a_momentum_encoders_own_move_once_too() -> None:
    torch.manual_seed(0)
    method = BYOL(Flat(), BYOLOptions(projector_hidden=8, projector_out=5, predictor_hidden=8)).double()
    views, batch = pair()
    training_step(method, views, batch, micro_batch=3)
    counts = {name: int(value) for name, value in norms(method).items() if "tracked" in name}
    assert set(counts.values()) == {2}  # two views, one after the other
    assert any(name.startswith("target_encoder") for name in counts)


def test_an_error_puts_them_back() -> None:
    method = method_of("simclr")
    before = norms(method)

    def stop() -> None:
        method.embed(pair()[0])
        raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"), Statistics(method):
        stop()
    assert all(torch.equal(value, before[name]) for name, value in norms(method).items())


def test_settling_with_no_piece_takes_no_part() -> None:
    method = method_of("simclr")
    with Statistics(method) as statistics:
        statistics.settle(ALONE, by=0)
    assert float(norms(method)["encoder.network.1.running_var"].abs().sum()) == 0  # as its share of none


def test_what_has_batch_norm_is_known() -> None:
    assert normalises(method_of("simclr"))
    assert not normalises(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
    assert views_of(torch.zeros(3, 2)).samples == 3
