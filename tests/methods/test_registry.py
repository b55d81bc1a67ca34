import pytest

from nearfar.contract import Method
from nearfar.errors import ConfigError, UnknownName
from nearfar.methods import registry


def test_every_method_has_its_file_and_its_options():
    for name in registry.METHODS:
        method = registry.load(name)
        assert issubclass(method, Method)
        assert method.Options is registry.options_of(name)


def test_an_unknown_method_suggests_the_nearest():
    with pytest.raises(UnknownName, match=r"No method is named 'simlcr'\. Did you mean 'simclr'\?"):
        registry.load("simlcr")


def test_a_ring_is_refused_with_the_methods_that_have_one():
    able = (
        r"simclr \(variant=nt_xent\), infonce \(supervised=False, selection=all, guard=off\), moco \(queue=0\), "
        r"densecl, clip, siglip\.$"
    )
    for name, options in (
        ("byol", {}),
        ("simclr", {"variant": "hard"}),
        ("moco", {}),
        ("infonce", {"supervised": True}),
    ):
        with pytest.raises(ConfigError, match=f"^The method {name} needs gather=all with these options.*{able}"):
            registry.check_ring(name, registry.load(name).Options(**options))
    for name, options in (("clip", {}), ("simclr", {}), ("moco", {"queue": 0}), ("infonce", {})):
        registry.check_ring(name, registry.load(name).Options(**options))
