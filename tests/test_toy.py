"""A modality of a user's own goes through every command, and views of two kinds through one encoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import nearfar
from nearfar.contract import Views
from nearfar.modalities import registry
from tests.toy import Bag, Digits

SETTINGS: dict[str, Any] = {"batch_size": 16, "threads": 1, "precision": "fp32", "quiet": True, "steps": 6}


class CountsEncoder(Bag):
    """Strings go through the bag, and counts of digits through a layer of their own."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.counts = nn.Linear(10, self.dim)

    def features(self, inputs: Any) -> Tensor:
        return self.counts(inputs) if isinstance(inputs, Tensor) else super().features(inputs)


class StringsAndCounts(Digits):
    """The first view is a string, a mapping of tensors; the second its digits' counts, a tensor."""

    name = "strings-and-counts"

    def restore(self, config: Any) -> CountsEncoder:
        return CountsEncoder(config)

    def views(self, raw: Any, draws: Any, *, requires: Any, **more: Any) -> Views:
        strings = super().views(raw, draws, requires=requires, **more)

        def make(view: int, start: int, stop: int) -> Any:
            one = strings.part(start, stop)[view]
            return nn.functional.one_hot(one["digits"], 11).sum(1)[:, :10].float() if view % 2 else one

        return Views(make, strings.numbers, 0, len(draws), strings.wide)


@pytest.fixture(scope="module", autouse=True)
def registered() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "MODALITIES", dict(registry.MODALITIES))
        patch.setattr(registry, "_registered", {})
        registry.register(StringsAndCounts())
        registry.register(Digits())
        yield


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    rows = []
    for i in range(80):
        digits = "".join(map(str, rng.integers(0, 10, 1 + i % 6)))
        rows.append(f"{'17'[i % 2] * 2}{digits},{'one' if i % 2 == 0 else 'seven'}")
    rows[5] = "abc,one"
    path = tmp_path_factory.mktemp("toy") / "strings.csv"
    path.write_text("\n".join(["string,label", *rows]))
    return path


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return nearfar.train(str(data), out=tmp_path_factory.mktemp("toy") / "run", **SETTINGS)


def test_a_modality_of_ones_own_goes_through_every_command(run: Any, data: Path, tmp_path: Path) -> None:
    assert 'modality = "digit-strings"' in (run.path / "config.toml").read_text()
    assert "strings.csv#5,no string of up to eight digits" in (run.path / "skipped.csv").read_text()
    encoder = nearfar.load(run.path)
    embeddings = nearfar.embed(run.path, data, out=tmp_path / "e.parquet")
    assert embeddings.vectors.shape == (79, encoder.dim)
    assert set(embeddings.labels or ()) == {"one", "seven"}
    vector = encoder.encode("1123")
    np.testing.assert_allclose(encoder.encode(["1123"])[0], vector)
    assert len(nearfar.search(embeddings, "1123", k=3, encoder=encoder)) == 3
    why = nearfar.explain(run.path, "1123", "strings.csv#3", within=data, out=tmp_path / "why.png")
    assert list(why.a.parts.names) == ["1", "1", "2", "3"]
    assert why.a.heat["occlusion"].any()
    assert str(nearfar.evaluate(run.path, data).verdict())
    nearfar.report(run.path)
    assert embeddings.keys[0] in (run.path / "report.html").read_text()


def test_it_resumes_as_if_it_had_never_stopped(
    run: Any, data: Path, tmp_path: Path, stop_at: Any, same_end: Any
) -> None:
    stop_at(3)
    with pytest.raises(KeyboardInterrupt):
        nearfar.train(str(data), out=tmp_path / "run", **SETTINGS)
    nearfar.train(out=tmp_path / "run", resume=True, quiet=True)
    same_end(run.path, tmp_path / "run")


def test_views_of_two_kinds_are_routed_by_one_encoder(data: Path, tmp_path: Path) -> None:
    settings = SETTINGS | {"modality": "strings-and-counts", "method": "clip"}
    whole = nearfar.train(str(data), out=tmp_path / "whole", **settings)
    parts = nearfar.train(str(data), out=tmp_path / "parts", micro_batch=5, **settings)
    before = registry.load("strings-and-counts").restore(whole.encoder.config)
    for (name, one), other in zip(whole.encoder.named_parameters(), parts.encoder.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)
        assert not torch.equal(one, before.get_parameter(name)), name
