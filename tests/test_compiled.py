"""A compiled network computes what it did, views are not traced, and a compiler that fails costs nothing but speed."""

import copy
import logging
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from nearfar import randomness
from nearfar.compiled import compile_network
from nearfar.contract import Encoder


class Drawing(Encoder):
    """Draws views by key, as modalities do, before its network sees anything."""

    def __init__(self, scale: float = 1.0) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
        self.scale, self.dim, self.config = scale, 3, {}

    def features(self, inputs: Tensor) -> Tensor:
        noise = torch.from_numpy(randomness.uniform(0, "noise", np.arange(len(inputs)), 4))
        return self.network(inputs + noise)  # type: ignore[no-any-return]


class Failing(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        raise ValueError("of the network itself")


def gradients(encoder: Encoder, inputs: Tensor) -> list[Tensor]:
    encoder.zero_grad()
    encoder([inputs, inputs]).square().sum().backward()  # type: ignore[no-untyped-call]
    return [parameter.grad for parameter in encoder.parameters() if parameter.grad is not None]


def test_only_the_network_is_compiled_and_computes_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = []

    def backend(graph: Any, inputs: Any) -> Any:
        traced.append([node for node in graph.graph.nodes if node.op == "placeholder"])
        return graph.forward

    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda call, **how: real(call, backend=backend, **how))
    plain, inputs = Drawing(), torch.randn(5, 4)
    compiled = copy.deepcopy(plain)
    compiled.compile(dynamic=False)
    for some in (inputs, inputs[:3]):  # of another length, too
        assert all(torch.equal(a, b) for a, b in zip(gradients(plain, some), gradients(compiled, some), strict=True))
    assert traced
    assert compiled.state_dict().keys() == plain.state_dict().keys()
    before = len(traced)
    copy.deepcopy(compiled)([inputs])
    assert len(traced) == before  # a copy, such as a momentum encoder, runs as it is


def test_a_compiler_that_fails_is_said_once_and_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def compile_nothing(_: Any) -> Any:
        def call(*_: Any, **__: Any) -> None:
            raise RuntimeError("No working C++ compiler\n found\n\nSet TORCHDYNAMO_VERBOSE=1")

        return call

    monkeypatch.setattr(torch, "compile", compile_nothing)
    plain, inputs = Drawing(), torch.randn(5, 4)
    compiled = copy.deepcopy(plain)
    compile_network(compiled)
    with caplog.at_level(logging.WARNING, logger="nearfar"):
        for _ in range(2):
            found = gradients(compiled, inputs)
    assert all(torch.equal(a, b) for a, b in zip(gradients(plain, inputs), found, strict=True))
    assert [message.split(":")[0] for message in caplog.messages] == [
        "The network cannot be compiled here (No working C++ compiler found)"
    ]


def test_an_error_of_the_network_is_raised_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda call: call)
    encoder = Drawing()
    encoder.network = Failing(4, 3)
    compile_network(encoder)
    with pytest.raises(ValueError, match="of the network itself"):
        encoder.features(torch.randn(2, 4))
