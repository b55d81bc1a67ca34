from dataclasses import fields, is_dataclass

import pytest

from nearfar.errors import UnknownName
from nearfar.modalities import registry


@pytest.mark.parametrize("name", registry.MODALITIES)
def test_a_modality_is_loaded_by_its_name(name):
    assert registry.load(name).name == name


@pytest.mark.parametrize("name", registry.MODALITIES)
def test_its_options_are_those_it_takes(name):
    assert is_dataclass(registry.options(name))
    assert registry.load(name).Options is registry.options(name)


@pytest.mark.parametrize("name", registry.MODALITIES)
def test_its_options_take_no_name_of_a_run_s_settings(name):
    from nearfar.config import SECTIONS

    settings = {f.name for section in SECTIONS.values() for f in fields(section)}
    assert not settings & {f.name for f in fields(registry.options(name))}


@pytest.mark.parametrize("name", registry.MODALITIES)
def test_its_encoders_are_those_it_offers(name):
    assert dict(registry.load(name).encoders) == registry.encoders(name)


@pytest.mark.parametrize("ask", [registry.load, registry.options, registry.encoders])
def test_an_unknown_modality_suggests_the_nearest(ask):
    with pytest.raises(UnknownName, match=r"No modality is named 'imge'\. Did you mean 'image'\?"):
        ask("imge")
