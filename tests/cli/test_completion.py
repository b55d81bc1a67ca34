import shutil
import subprocess

import pytest

from nearfar.cli import COMMANDS, main
from nearfar.cli.completion import SHELLS


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_completes_commands_options_and_names(shell, capsys):
    assert main(["completion", shell]) == 0
    script = capsys.readouterr().out
    for word in (*COMMANDS, "batch-size", "no-whiten", "siglip", "resnet18", "corruption", "modalities"):
        assert word in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)
