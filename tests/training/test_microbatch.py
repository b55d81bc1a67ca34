"""A micro-batch is as large as memory allows."""

from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nearfar.contract import Encoder
from nearfar.methods.simclr import SimCLR, SimCLROptions
from nearfar.training import microbatch
from tests.training.test_step import views_of


class Layers(Encoder):
    """Linear and ReLU, whose memory is easily counted."""

    def __init__(self, norm: bool = False) -> None:
        super().__init__()
        self.dim = 8
        layers: list[tuple[str, nn.Module]] = [
            ("one", nn.Linear(4, 32)),
            ("relu", nn.ReLU()),
            ("two", nn.Linear(32, 8)),
        ]
        self.network = nn.Sequential(OrderedDict(layers + [("norm", nn.BatchNorm1d(8))] * norm))

    def features(self, inputs: Any) -> Tensor:
        return self.network(inputs)  # type: ignore[no-any-return]


def method_of(norm: bool = False) -> SimCLR:
    torch.manual_seed(0)
    return SimCLR(Layers(norm), SimCLROptions(projector_hidden=16, projector_out=4))


def views(samples: int) -> Any:
    return views_of(torch.randn(samples, 4), torch.randn(samples, 4))


def test_a_graph_is_counted_without_its_weights() -> None:
    """Inputs, ReLU's output (saved once, by ReLU and the next layer), and what heads keep; all grow with the batch."""
    one, two, four = (microbatch.graph_bytes(method_of(), views(n)) for n in (32, 64, 128))
    assert two - one == pytest.approx((four - two) / 2, rel=0.02)
    encoder = 2 * 4 * (4 + 32)  # two views of float32
    assert (two - one) / 32 >= encoder
    assert (two - one) / 32 < 8 * encoder


def test_counting_changes_no_statistics_and_no_mode() -> None:
    method = method_of(norm=True).eval()
    before = {name: value.clone() for name, value in method.state_dict().items()}
    microbatch.graph_bytes(method, views(16))
    assert not method.training
    assert all(torch.equal(value, before[name]) for name, value in method.state_dict().items())
    assert all(parameter.grad is None for parameter in method.parameters())


def test_a_batch_that_fits_is_one_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(microbatch, "available_memory", lambda: 2**40)
    choice = microbatch.choose(method_of(), views(32), 10_000)
    assert (choice.name, choice.value) == ("micro_batch", 10_000)


def test_one_that_does_not_is_embedded_in_pieces_that_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    method = method_of()
    each = microbatch.graph_bytes(method, views(16)) // 16
    monkeypatch.setattr(microbatch, "available_memory", lambda: 4 * each * 100)
    assert microbatch.choose(method, views(32), 10_000).value == 64
    assert microbatch.choose(method, views(32), 100).value == 100
    assert microbatch.choose(method, views(32), 10_000, processes=2).value == 32
    monkeypatch.setattr(microbatch, "available_memory", lambda: 0)
    assert microbatch.choose(method, views(32), 10_000).value == 2
    monkeypatch.setattr(microbatch, "available_memory", lambda: 4 * each * 9_000)
    assert microbatch.choose(method, views(32), 10_000).value == 512


def test_an_encoder_that_does_not_split_stays_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    method = method_of()
    method.encoder.splits = False
    monkeypatch.setattr(microbatch, "available_memory", lambda: 0)
    assert microbatch.choose(method, views(32), 10_000).value == 10_000
