"""A network of transformers' library over pictures, from a local folder: what it pools, or its class token."""

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from nearfar.errors import ConfigError, MissingExtra
from nearfar.files import read_json


class Transformer(nn.Module):
    """The network that a `config` of transformers describes, with fresh weights, for pictures of `size` pixels."""

    def __init__(self, config: dict[str, Any], size: int) -> None:
        super().__init__()
        try:
            from transformers import AutoConfig, AutoModel
        except ImportError:
            raise MissingExtra("An encoder by the name hf:...", "transformers", "text") from None
        kind = config.get("model_type")
        try:
            made = AutoConfig.for_model(
                str(kind), **{name: value for name, value in config.items() if name != "model_type"}
            )
            self.model: Any = AutoModel.from_config(made)  # type: ignore[no-untyped-call]
        except Exception as error:  # of an altered config, anything may come
            raise ConfigError(f"transformers cannot make the network {kind!r}: {str(error)[:200]}") from None
        self.config = config
        self.dim = int(getattr(made, "hidden_size", None) or made.hidden_sizes[-1])
        self._resized = size != getattr(made, "image_size", size)

    def forward(self, pictures: Tensor) -> Tensor:
        """Pictures `[n, 3, size, size]` to `[n, dim]`."""
        more = {"interpolate_pos_encoding": True} if self._resized else {}
        found = self.model(pixel_values=pictures, **more)
        pooled: Tensor | None = getattr(found, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        last: Tensor = found.last_hidden_state
        return last[:, 0] if last.ndim == 3 else last.mean((2, 3))


def weights_in(folder: Path) -> dict[str, Tensor]:
    """The weights in a local folder of transformers, by the names of a `Transformer`; raises ConfigError.

    The library reads them: in a file they may go by names of an earlier version.
    """
    from transformers import AutoModel

    try:
        model: nn.Module = AutoModel.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # of a damaged folder, anything may come
        raise ConfigError(f"transformers cannot read the network in {str(folder)!r}: {str(error)[:200]}") from None
    return {f"model.{name}": value for name, value in model.state_dict().items()}


def config_of(folder: Path) -> dict[str, Any]:
    """The config.json of a local folder of transformers; raises ConfigError."""
    try:
        found = read_json(folder / "config.json")
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or "model_type" not in found:
        raise ConfigError(f"{str(folder)!r} is no folder of a network of transformers: it needs config.json there.")
    return found
