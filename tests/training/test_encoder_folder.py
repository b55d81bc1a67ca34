"""A saved encoder comes back as it was, and a broken one is refused in plain words."""

from pathlib import Path

import pytest
import torch
from torch import nn

from nearfar.contract import Encoder
from nearfar.errors import RunError
from nearfar.training import encoder_folder


class Tiny(Encoder):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.dim, self.config = width, {"modality": "toy", "width": width}
        self.layer = nn.Linear(2, width)


def test_an_encoder_is_its_weights_and_its_config(tmp_path: Path) -> None:
    encoder, again = Tiny(), Tiny()
    encoder_folder.save_encoder(tmp_path / "encoder", encoder)
    assert encoder_folder.load_encoder_config(tmp_path / "encoder") == encoder.config
    encoder_folder.load_weights(tmp_path / "encoder" / "model.safetensors", again)
    assert torch.equal(again.layer.weight, encoder.layer.weight)


def test_an_encoder_made_to_be_filled_draws_no_weights(tmp_path: Path) -> None:
    encoder = Tiny()
    encoder_folder.save_encoder(tmp_path, encoder)
    torch.manual_seed(0)
    before = torch.get_rng_state()
    with encoder_folder.Undrawn():
        again = Tiny()
        for draw in (nn.init.trunc_normal_, nn.init.kaiming_normal_, nn.init.xavier_uniform_, nn.init.normal_):
            draw(torch.empty(2, 2))
        assert nn.init.zeros_(torch.ones(2)).sum() == 0
    assert torch.equal(torch.get_rng_state(), before)
    encoder_folder.load_weights(tmp_path / "model.safetensors", again)
    assert torch.equal(again.layer.weight, encoder.layer.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no encoder in"),
        ("{", "cannot be read"),
        ("[]", "does not describe an encoder"),
        ('{"width": 3}', "does not describe an encoder"),
    ],
)
def test_a_broken_config_is_named(tmp_path: Path, content: str | None, message: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(RunError, match=message):
        encoder_folder.load_encoder_config(tmp_path)


def test_weights_that_are_broken_or_of_another_shape_are_named(tmp_path: Path) -> None:
    encoder_folder.save_encoder(tmp_path, Tiny())
    with pytest.raises(RunError, match=r"model.safetensors' cannot be loaded"):
        encoder_folder.load_weights(tmp_path / "model.safetensors", Tiny(4))
    (tmp_path / "model.safetensors").write_bytes(b"\x08")
    with pytest.raises(RunError, match=r"model.safetensors' cannot be loaded"):
        encoder_folder.load_weights(tmp_path / "model.safetensors", Tiny())


def test_draws_within_bounds_end_though_nothing_is_drawn() -> None:
    for mean, low, high in ((0.0, -2.0, 2.0), (3.0, 2.5, 9.0), (0.0, 4.0, 5.0)):
        x = torch.full((5,), 1e9)  # what memory happened to hold
        with encoder_folder.Undrawn():
            torch.nn.init.trunc_normal_(x, mean=mean, std=0.5, a=low, b=high)
        assert ((x >= low) & (x <= high)).all()
