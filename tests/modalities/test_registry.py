import subprocess
import sys
from dataclasses import fields, is_dataclass

import pytest

from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities import registry


def test_every_modality_is_loaded_by_its_name_with_its_own_options():
    from nearfar.config import SECTIONS

    settings = {field.name for section in SECTIONS.values() for field in fields(section)}
    for name in registry.MODALITIES:
        assert registry.load(name).name == name
        assert is_dataclass(registry.options(name))
        assert not settings & {field.name for field in fields(registry.options(name))}


def test_what_modalities_offer_is_read_without_torch():
    text = "from nearfar.modalities import registry as r; [(r.options(n), r.encoders(n)) for n in r.MODALITIES]; "
    text += "r.find('digits'); r.find('.'); import sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", text], check=True)


@pytest.mark.parametrize("ask", [registry.load, registry.options, registry.encoders])
def test_an_unknown_modality_suggests_the_nearest(ask):
    with pytest.raises(UnknownName, match=r"No modality is named 'imge'\. Did you mean 'image'\?"):
        ask("imge")


def test_who_names_sides_has_pairs(tmp_path):
    (tmp_path / "two.csv").write_text("photo,sketch\n" + "\n".join(f"{i}.jpg,{i}.png" for i in range(9)))
    data = str(tmp_path / "two.csv")
    assert registry.find(data) == registry.find(data, {"sides": None, "steps": 3}) == "image"
    assert registry.find(data, {"sides": "image,image"}) == "pairs"
    assert registry.find(data, {"side_columns": "image=photo,image2=sketch"}) == "pairs"


def test_a_modality_of_ones_own_comes_first_and_cannot_take_a_name_that_is_built_in(monkeypatch):
    from nearfar.modalities.table import Table

    class Wide(Table):
        """Tables of my own."""

        name = "wide"

        def claims(self, found):
            return found.path == "mine"

    monkeypatch.setattr(registry, "MODALITIES", dict(registry.MODALITIES))
    monkeypatch.setattr(registry, "_registered", {})
    mine = registry.register(Wide())
    assert registry.load("wide") is mine
    assert registry.MODALITIES["wide"] == "Tables of my own."
    assert (registry.find("mine"), registry.find("digits")) == ("wide", "image")
    with pytest.raises(ConfigError, match="'table' is built in"):
        registry.register(Table())
