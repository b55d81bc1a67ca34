"""Trained encoders in folders: those of transformers (`hf:`) and of sentence-transformers (`st:`)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from nearfar.errors import ConfigError
from nearfar.modalities import hub
from nearfar.modalities.text.options import LONGEST, POOLINGS
from nearfar.modalities.text.transformer import TOKENIZER, library, plain, silent, without_pooler

_WEIGHTS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json")
_MODES = {
    **{name: name for name in ("mean", "cls", "max", "mean_sqrt_len")},
    **{"mean_tokens": "mean", "cls_token": "cls", "max_tokens": "max", "mean_sqrt_len_tokens": "mean_sqrt_len"},
    **{"lasttoken": "last"},
}


@dataclass(frozen=True)
class Recipe:
    """What follows the network of a folder, and how its texts are read."""

    network: str
    pooling: str | None = None
    unit: bool = False
    max_length: int | None = None
    lower: bool = False
    prompt: str = ""


def of_transformers(name: str) -> Recipe:
    """A folder or a name of transformers: nothing is said but the network."""
    return Recipe(name)


def of_sentences(folder: str) -> Recipe:
    """What a folder of sentence-transformers says; raises ConfigError for one that holds other parts."""
    root = Path(folder)
    modules = _json(root / "modules.json")
    if not isinstance(modules, list):
        raise ConfigError(f"{folder!r} is no folder of sentence-transformers: it has no modules.json.")
    recipe = Recipe(folder)
    for module in modules:
        kind, place = str(module.get("type", "")).rpartition(".")[2], root / str(module.get("path", ""))
        if kind == "Transformer":
            said = _json(place / "sentence_bert_config.json") or {}
            longest = said.get("max_seq_length")
            recipe = Recipe(
                str(place),
                max_length=int(longest) if longest else None,
                lower=bool(said.get("do_lower_case")),
                prompt=_prompt(_json(root / "config_sentence_transformers.json") or {}),
            )
        elif kind == "Pooling":
            recipe = Recipe(**{**vars(recipe), "pooling": _pooling(_json(place / "config.json") or {}, str(place))})
        elif kind == "Normalize":
            recipe = Recipe(**{**vars(recipe), "unit": True})
        else:
            raise ConfigError(
                f"{folder!r} has a part of the kind {kind!r}: transformer, pooling and normalisation are what is read."
            )
    return recipe


def weights_in(folder: str) -> str | None:
    """The file of weights in a folder; None where there is none."""
    root = Path(folder)
    places = [root, *sorted(root.glob("0_*"))]
    return next((str(place / name) for place in places for name in _WEIGHTS if (place / name).is_file()), None)


def opened(recipe: Recipe, *, fetch: bool) -> tuple[Any, str]:
    """The network with its weights, and the JSON of its tokenizer; nothing is fetched unasked. Raises ConfigError."""
    AutoModel, AutoTokenizer = library("AutoModel", "AutoTokenizer")
    folder = hub.folder(recipe.network, fetch=fetch)
    try:
        with silent():
            network = AutoModel.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        text = str(tokenizer.backend_tokenizer.to_str())
    except Exception as error:  # of what is missing or altered, transformers raises much
        raise ConfigError(
            f"transformers cannot open {recipe.network!r}: {' '.join(str(error).split())[:200]}"
        ) from None
    return without_pooler(network), text


def config_of(
    recipe: Recipe, network: Any, tokenizer: str, *, longest: int | None, pooling: str | None
) -> dict[str, Any]:
    """What an encoder's config says of a network that was opened."""
    most = int(getattr(network.config, "max_position_embeddings", 0) or LONGEST)
    if network.config.model_type in ("roberta", "xlm-roberta", "camembert", "mpnet"):  # they count from behind padding
        most -= 2
    return {
        "architecture": plain(network.config),
        "pooling": pooling or recipe.pooling or "mean",
        "unit": recipe.unit,
        "lower": recipe.lower,
        "prompt": recipe.prompt,
        "max_length": min(longest or recipe.max_length or 128, most, LONGEST),
        "files": {TOKENIZER: tokenizer},
    }


def _pooling(said: Mapping[str, Any], place: str) -> str:
    named = said.get("pooling_mode")
    modes = [named] if isinstance(named, str) else list(named or ())
    flags = [name for name, value in said.items() if value is True and name.startswith("pooling_mode_")]
    modes = modes or [name.removeprefix("pooling_mode_") for name in flags]
    if len(modes) != 1 or modes[0] not in _MODES:
        raise ConfigError(f"{place!r}: one pooling of {', '.join(POOLINGS)} is read, got {modes}.")
    return _MODES[modes[0]]


def _prompt(said: Mapping[str, Any]) -> str:
    name, prompts = said.get("default_prompt_name"), said.get("prompts")
    return str(prompts.get(name, "")) if name and isinstance(prompts, dict) else ""


def _json(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{str(file)!r} cannot be read: {str(error)[:200]}.") from None
