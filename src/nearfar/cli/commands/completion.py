"""`nearfar completion`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import Form, Result, argument


@dataclass(frozen=True, kw_only=True)
class Completion(Form):
    """Print the script that lets a shell complete commands, options and names.

    bash: eval "$(nearfar completion bash)" in ~/.bashrc; zsh: nearfar completion zsh > a folder of $fpath, as _nearfar;
    fish: nearfar completion fish > ~/.config/fish/completions/nearfar.fish.
    """

    torch = False

    shell: str = argument("bash, zsh or fish.", needed=True)

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Make the script."""
        from nearfar.cli.completion import script

        text = script(self.shell)
        return {"shell": self.shell, "script": text}, text
