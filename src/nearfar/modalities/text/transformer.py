"""A transformer over tokens, by the library `transformers`: made anew, or read from a folder."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nearfar.contract import inputs as samples_of
from nearfar.errors import ConfigError, MissingExtra
from nearfar.modalities.adapters import add_adapters, merged
from nearfar.modalities.text.encoder import TextEncoder, Tokens, refuse_preprocessing
from nearfar.modalities.text.options import LONGEST, POOLINGS
from nearfar.modalities.text.pooled import Pooled, program
from nearfar.modalities.text.tokenizer import Tokenizer
from nearfar.options import text, whole

if TYPE_CHECKING:
    from nearfar.contract import Inputs, Parts
    from nearfar.contract.program import Program

TOKENIZER = "tokenizer.json"
_WIDTHS = 4  # lengths that a batch is sorted into
_LEAST = 8  # texts of one width: smaller products are no quicker


class Transformer(TextEncoder):
    """A network of `config["architecture"]` (as transformers writes it), and the pooling of its last states.

    `config["files"]` has the tokenizer; `pooling` is one of POOLINGS, and with `unit` vectors are normalised. With
    `lora` above 0 the network is fixed, and adapters of that rank learn beside its linear layers.
    """

    cheaper = "a smaller encoder (--width, --depth), or shorter texts (--max-length)"
    embed_batch = 128

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self._longest = whole(config, "max_length", most=LONGEST)
        self._pooling = text(config, "pooling", POOLINGS)
        files = config.get("files")
        if not isinstance(files, Mapping) or not isinstance(files.get(TOKENIZER), str):
            raise ConfigError(f"The encoder's folder has no {TOKENIZER}.")
        self.tokenizer = Tokenizer(
            files[TOKENIZER], lower=bool(config.get("lower")), prompt=str(config.get("prompt") or "")
        )
        self.network = network_of(config["architecture"])
        self.dim = int(self.network.config.hidden_size)
        if (rank := whole({"lora": config.get("lora") or 0}, "lora", least=0)) > 0:
            self.adapt(rank)

    def adapt(self, rank: int) -> None:
        """Fix the network, and put adapters of this rank beside its linear layers."""
        add_adapters(self.network, rank, str(self.config["encoder"]))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts as tokens without the special ones."""
        return self.tokenizer(texts, self._longest)

    def inputs(self, tokens: Tokens) -> Inputs:
        """The ids `[n, t]` with the special ones around them, and how many there are of each text."""
        whole_ = self.tokenizer.around(tokens)
        return {"ids": torch.from_numpy(whole_.ids), "length": torch.from_numpy(whole_.lengths)}

    def words(self, inputs: Mapping[str, Tensor]) -> list[str]:
        """The texts that the ids say."""
        return [
            self.tokenizer.decode(ids[:length])
            for ids, length in zip(inputs["ids"].cpu().numpy(), inputs["length"].tolist(), strict=True)
        ]

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Ids `[n, t]` and lengths `[n]` to vectors `[n, dim]`; texts of like length go through together."""
        order = inputs["length"].argsort(stable=True)
        groups = order.chunk(max(1, min(_WIDTHS, len(order) // _LEAST)))
        found = [self._pooled(inputs["ids"][group], inputs["length"][group]) for group in groups]
        vectors = torch.cat(found)[order.argsort()]
        return nn.functional.normalize(vectors, dim=-1) if self.config.get("unit") else vectors

    def tokens(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The last state of each token `[n, t, dim]`."""
        return self._states(inputs["ids"], inputs["length"])

    def parts(self, inputs: Mapping[str, Tensor]) -> Parts:
        """The words of one text; its vector is a sum over their states where these are averaged."""
        from nearfar.modalities.text.parts import parts_of_words, words_of

        length, before, behind = int(inputs["length"][0]), len(self.tokenizer.before), len(self.tokenizer.behind)
        own = slice(before, max(before, length - behind))
        ids = inputs["ids"][0]
        words, of = words_of(ids[own].tolist(), lambda some: self.tokenizer.decode(np.array(some)))

        def made(kept: Tensor, lengths: Tensor) -> Inputs:
            found = self.inputs(Tokens(kept.cpu().numpy(), lengths.cpu().numpy()))
            return samples_of.move(found, self.device)

        states = self.tokens(inputs)[0]
        if "mean" not in self._pooling:
            return parts_of_words(words, ids[own], of, made, states=states[own])
        each = states / (length**0.5 if self._pooling == "mean_sqrt_len" else length)
        if self.config.get("unit"):
            each = each / each[:length].sum(0).norm().clamp_min(1e-12)
        return parts_of_words(words, ids[own], of, made, terms=each[own], features=self.features(inputs)[0])

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """Of ids and masks; texts become ids by the tokenizer alone. Raises ConfigError for preprocessing."""
        refuse_preprocessing(preprocessing)
        lower, prompt = bool(self.config.get("lower")), str(self.config.get("prompt") or "")
        module = Pooled(merged(self.network), self._pooling, bool(self.config.get("unit")))
        return {"encoder": program(module, self.tokenizer.size, self._longest, lower=lower, prompt=prompt)}

    def _states(self, ids: Tensor, lengths: Tensor) -> Tensor:
        there = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        found: Tensor = self.network(input_ids=ids, attention_mask=there.long()).last_hidden_state
        return found

    def _pooled(self, ids: Tensor, lengths: Tensor) -> Tensor:
        ids = ids[:, : int(lengths.max())]
        states = self._states(ids, lengths)
        there = (torch.arange(ids.shape[1], device=ids.device) < lengths[:, None])[..., None]
        if self._pooling == "cls":
            return states[:, 0]
        if self._pooling == "last":
            return states[torch.arange(len(ids), device=ids.device), lengths - 1]
        if self._pooling == "max":
            return states.masked_fill(~there, float("-inf")).amax(1)
        total = (states * there).sum(1)
        return total / (lengths.sqrt() if self._pooling == "mean_sqrt_len" else lengths)[:, None]


def network_of(architecture: Any) -> Any:
    """A network as transformers describes it, with new weights; raises ConfigError and MissingExtra."""
    AutoConfig, AutoModel = library("AutoConfig", "AutoModel")
    if not isinstance(architecture, Mapping):
        raise ConfigError("The encoder's config has no architecture.")
    kind = architecture.get("model_type")
    try:
        said = {name: value for name, value in architecture.items() if name != "model_type"}
        made = AutoModel.from_config(AutoConfig.for_model(str(kind), **said), dtype=torch.float32)
    except Exception as error:  # of an altered config, anything may come
        raise ConfigError(f"transformers cannot make the network {kind!r}: {str(error)[:200]}") from None
    return without_pooler(made)


def without_pooler(network: Any) -> Any:
    """The network without the layer behind its first token, which is trained for other ends."""
    if getattr(network, "pooler", None) is not None:
        network.pooler = None
    return network


def small(vocabulary: int, width: int, depth: int, longest: int) -> dict[str, Any]:
    """The architecture of a small BERT: heads of 64 dimensions, layers four times as wide inside."""
    (BertConfig,) = library("BertConfig")
    made = BertConfig(
        vocab_size=vocabulary,
        hidden_size=width,
        num_hidden_layers=depth,
        num_attention_heads=max(1, width // 64),
        intermediate_size=4 * width,
        max_position_embeddings=longest,
        type_vocab_size=1,
    )
    return plain(made)


def plain(config: Any) -> dict[str, Any]:
    """A config of transformers as plain values, without the paths in it."""
    left = ("transformers_version", "dtype", "torch_dtype", "architectures")
    return {name: value for name, value in config.to_dict().items() if not name.startswith("_") and name not in left}


@contextmanager
def silent() -> Iterator[None]:
    """As long as this lasts, transformers shows no bars and tells nothing but errors."""
    logging = import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def library(*names: str) -> list[Any]:
    """These of transformers; raises MissingExtra."""
    try:
        import transformers
    except ImportError:
        raise MissingExtra("This encoder of texts", "transformers", "text") from None
    return [getattr(transformers, name) for name in names]
