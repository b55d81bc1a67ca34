"""An encoder of texts as a folder of sentence-transformers: its network, its pooling, and what follows them.

A whitening is an affine map, and becomes a layer of the kind `Dense`; adapters are merged into the layers beside them.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nearfar.contract import Encoder
from nearfar.errors import ConfigError
from nearfar.exporting.registry import WHITENING
from nearfar.exporting.written import Written
from nearfar.files import write as write_file
from nearfar.modalities.adapters import merged
from nearfar.modalities.text.static import Static
from nearfar.modalities.text.transformer import TOKENIZER, Transformer, library, silent
from nearfar.whitening import Whitening

_MODES = {
    "cls": "cls_token",
    "mean": "mean_tokens",
    "max": "max_tokens",
    "mean_sqrt_len": "mean_sqrt_len_tokens",
    "last": "lasttoken",
}
"""Poolings, and what sentence-transformers calls them."""


_CODE = """\
from sentence_transformers import SentenceTransformer

encoder = SentenceTransformer(".")
vectors = encoder.encode(["one text", "and another"])
"""


def write(encoder: Encoder, folder: Path, inside: frozenset[str]) -> Written:
    """Write the encoder into a folder; raises ConfigError for an encoder that has no such form."""
    if isinstance(encoder, Transformer):
        parts = [_transformer(encoder, folder), _pooling(encoder, folder)]
        parts += [_module("Normalize", f"{len(parts)}_Normalize")] if encoder.config.get("unit") else []
    elif isinstance(encoder, Static):
        parts = [_static(encoder, folder)]
    else:
        raise ConfigError(
            f"sentence-transformers has no part that computes what the encoder {encoder.config.get('encoder')!r} does: "
            "encoders that go there are transformer, hf:, st: and static:."
        )
    if isinstance(encoder.output, Whitening) and WHITENING in inside:
        parts.append(_dense(encoder.output, folder, f"{len(parts)}_Dense"))
    _json(folder / "modules.json", [{"idx": i, "name": str(i), **part} for i, part in enumerate(parts)])
    _json(folder / "config_sentence_transformers.json", {"similarity_fn_name": "cosine", **_prompts(encoder)})
    return Written("sentence-transformers", _CODE, {"texts": "a list of texts"})


def _transformer(encoder: Transformer, folder: Path) -> dict[str, str]:
    config = encoder.config
    with silent():
        _with_pooler(merged(encoder.network)).save_pretrained(folder, safe_serialization=True)
    write_file(folder / TOKENIZER, encoder.tokenizer.text.encode())
    said = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config["max_length"]}
    _json(folder / "tokenizer_config.json", {**said, **encoder.tokenizer.special()})
    _json(
        folder / "sentence_bert_config.json",
        {"max_seq_length": config["max_length"], "do_lower_case": bool(config.get("lower"))},
    )
    return _module("Transformer", "")


def _with_pooler(network: Any) -> Any:
    """With the layer that the architecture has behind its first token, which nobody asks here: zeros, so that whoever
    loads the folder is not told that weights are missing."""
    found = library("AutoModel")[0].from_config(network.config, dtype=torch.float32)
    lacking = found.load_state_dict(network.state_dict(), strict=False).missing_keys
    with torch.no_grad():
        for name in lacking:
            found.get_parameter(name).zero_()
    return found


def _pooling(encoder: Transformer, folder: Path) -> dict[str, str]:
    flags = {f"pooling_mode_{name}": mode == encoder.config["pooling"] for mode, name in _MODES.items()}
    said = {"word_embedding_dimension": encoder.dim, **flags, "include_prompt": True}
    _json(folder / "1_Pooling" / "config.json", said)
    return _module("Pooling", "1_Pooling")


def _static(encoder: Static, folder: Path) -> dict[str, str]:
    """A table whose rows are multiplied with the weights of their tokens, with the bias in each."""
    place = folder / "0_StaticEmbedding"
    write_file(place / TOKENIZER, encoder.tokenizer.text.encode())
    _tensors(place / "model.safetensors", {"embedding.weight": encoder.rows()})
    return _module("StaticEmbedding", "0_StaticEmbedding")


def _dense(whitening: Whitening, folder: Path, name: str) -> dict[str, str]:
    """`(x - mean) @ matrix` as a layer with a bias."""
    matrix, dim = whitening.matrix, len(whitening.mean)
    _tensors(
        folder / name / "model.safetensors",
        {"linear.weight": matrix.T, "linear.bias": -(whitening.mean.double() @ matrix.double()).to(matrix)},
    )
    _json(
        folder / name / "config.json",
        {
            "in_features": dim,
            "out_features": dim,
            "bias": True,
            "activation_function": "torch.nn.modules.linear.Identity",
        },
    )
    return _module("Dense", name)


def _prompts(encoder: Encoder) -> dict[str, Any]:
    prompt = encoder.config.get("prompt")
    return {"prompts": {"default": prompt}, "default_prompt_name": "default"} if prompt else {}


def _module(kind: str, path: str) -> dict[str, str]:
    return {"path": path, "type": f"sentence_transformers.models.{kind}"}


def _tensors(file: Path, tensors: dict[str, Tensor]) -> None:
    from safetensors.torch import save

    with torch.no_grad():
        write_file(file, save({name: one.detach().float().cpu().contiguous() for name, one in tensors.items()}))


def _json(file: Path, said: Any) -> None:
    write_file(file, json.dumps(said, indent=2).encode())
