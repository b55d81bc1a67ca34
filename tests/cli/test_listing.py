import json

import pytest

from nearfar.cli import main
from nearfar.cli.listing import KINDS, names
from nearfar.modalities.registry import MODALITIES


@pytest.mark.parametrize("kind", KINDS)
def test_every_name_has_a_line(kind):
    found = names(kind)
    assert found
    assert all(found.values())


def test_the_losses_are_those_that_the_package_exports():
    import nearfar.losses

    assert set(names("losses")) == set(nearfar.losses.__all__)


@pytest.mark.parametrize(
    ("kind", "name"), [("methods", "simclr"), ("encoders", "resnet18"), ("encoders", "mlp"), ("modalities", "image")]
)
def test_what_there_is_is_listed(kind, name):
    assert name in names(kind)


def test_a_list_is_printed_one_name_a_line(capsys):
    assert main(["list", "modalities"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MODALITIES)


def test_a_list_as_json_has_names_and_lines(capsys):
    assert main(["list", "methods", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"command": "list", "what": "methods", "names": names("methods")}
