"""Static word vectors: one for each token, a text is their weighted mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nearfar.data.contents import reason_of
from nearfar.errors import DataError
from nearfar.memory import check_weights
from nearfar.modalities.text.encoder import TextEncoder, Tokens, refuse_preprocessing
from nearfar.modalities.text.options import LONGEST
from nearfar.modalities.text.pooled import WeightedMean, program
from nearfar.modalities.text.tokenizer import Tokenizer, is_tokenizer, of_words
from nearfar.modalities.text.transformer import TOKENIZER
from nearfar.options import whole

if TYPE_CHECKING:
    from nearfar.contract import Inputs, Parts
    from nearfar.contract.program import Program

_MOST_WORDS = 200_000


class Static(TextEncoder):
    """A table of vectors, a weight of each token that starts at 1, and a bias of the mean that starts at 0."""

    cheaper = "a smaller table of vectors"
    embed_batch = 1024

    def __init__(self, config: Mapping[str, Any]) -> None:
        super().__init__()
        self.config = dict(config)
        self.dim = whole(config, "width")
        rows = whole(config, "rows")
        self._longest = whole(config, "max_length", most=LONGEST)
        check_weights(rows * self.dim, "number or length of vectors")
        self.tokenizer = Tokenizer(config["files"][TOKENIZER])
        self.table = nn.Embedding(rows, self.dim)
        self.weight = nn.Parameter(torch.ones(rows))
        # Vectors of texts have a mean that says nothing of them: to move it takes one bias, or every row of the table.
        self.bias = nn.Parameter(torch.zeros(self.dim)) if config.get("bias") else None

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Texts as tokens."""
        return self.tokenizer(texts, self._longest)

    def inputs(self, tokens: Tokens) -> Inputs:
        """The ids `[n, t]`, and how many there are of each text."""
        return {"ids": torch.from_numpy(tokens.ids), "length": torch.from_numpy(tokens.lengths)}

    def words(self, inputs: Mapping[str, Tensor]) -> list[str]:
        """The texts that the ids say."""
        ids, lengths = inputs["ids"].cpu().numpy(), inputs["length"].tolist()
        return [self.tokenizer.decode(row[:length]) for row, length in zip(ids, lengths, strict=True)]

    def parts(self, inputs: Mapping[str, Tensor]) -> Parts:
        """The words of one text; its vector is a sum over their tokens."""
        from nearfar.modalities.text.parts import parts_of_words, words_of

        ids = inputs["ids"][0, : int(inputs["length"][0])]
        words, of = words_of(ids.tolist(), lambda some: self.tokenizer.decode(np.array(some)))

        def made(kept: Tensor, lengths: Tensor) -> Inputs:
            return {"ids": kept, "length": lengths}

        each = self.table(ids) * self.weight[ids][:, None] / max(len(ids), 1)
        return parts_of_words(words, ids, of, made, terms=each, features=self.features(inputs)[0])

    def rows(self) -> Tensor:
        """What each token adds to a mean `[rows, dim]`: its vector times its weight, and the bias."""
        with torch.no_grad():
            found = self.table.weight * self.weight[:, None]
            return found if self.bias is None else found + self.bias

    def programs(self, *, preprocessing: bool) -> dict[str, Program]:
        """Of ids and masks; texts become ids by the tokenizer alone. Raises ConfigError for preprocessing."""
        refuse_preprocessing(preprocessing)
        module = WeightedMean(self.rows())
        return {"encoder": program(module, self.tokenizer.size, self._longest)}

    def features(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """Ids `[n, t]` and lengths `[n]` to vectors `[n, dim]`."""
        ids, lengths = inputs["ids"], inputs["length"]
        flat = ids[torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]]
        total = F.embedding_bag(
            flat, self.table.weight, lengths.cumsum(0) - lengths, mode="sum", per_sample_weights=self.weight[flat]
        )
        mean = total / lengths.clamp_min(1)[:, None]
        return mean if self.bias is None else mean + self.bias


def read(path: str) -> tuple[Tensor, str]:
    """Vectors `[rows, dim]` of a file, and the JSON of the tokenizer for them; raises DataError.

    Of a `.safetensors`, whose one matrix holds them, the tokenizer is a JSON beside it or in `../tokenizers`; of a text
    file in the form of word2vec and GloVe, the words themselves.
    """
    file = Path(path)
    if not file.is_file():
        raise DataError(f"There is no file of word vectors at {path!r}.")
    return _of_tensors(file) if file.suffix == ".safetensors" else _of_lines(file)


def _of_tensors(file: Path) -> tuple[Tensor, str]:
    from safetensors.torch import load_file

    try:
        found = [one for one in load_file(file).values() if one.ndim == 2]
    except Exception as error:  # safetensors raises its own error, OSError and others
        raise DataError(f"{str(file)!r} cannot be read: {str(error)[:200]}.") from None
    if len(found) != 1:
        raise DataError(f"{str(file)!r} holds {len(found)} matrices where one of word vectors is wanted.")
    rows = len(found[0])
    for folder in (file.parent, file.parent.parent / "tokenizers"):
        for other in sorted(folder.glob("*.json")):
            said = other.read_text(encoding="utf-8")
            if is_tokenizer(said) and Tokenizer(said).size <= rows:
                return found[0].float(), said
    raise DataError(f"There is no tokenizer (a .json of `tokenizers` for {rows} tokens) beside {str(file)!r}.")


def _of_lines(file: Path) -> tuple[Tensor, str]:
    words, vectors, width = list[str](), list[np.ndarray[Any, Any]](), 0
    try:
        with open(file, encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines):
                word, *numbers = line.rstrip().split(" ")
                if number == 0 and len(numbers) == 1:  # the counts of word2vec
                    continue
                width = width or len(numbers)
                if len(numbers) != width or width < 2:
                    continue
                words.append(word)
                vectors.append(np.array(numbers, dtype=np.float32))
                if len(words) == _MOST_WORDS:
                    break
    except OSError as error:
        raise DataError(f"{str(file)!r} cannot be read: {reason_of(error)}.") from None
    except ValueError:
        raise DataError(f"{str(file)!r}: line {number + 1} is no word with its vector: {line[:60]!r}.") from None
    if not words:
        raise DataError(f"{str(file)!r} holds no word with its vector.")
    # Words that have none share a row of zeros, the last.
    return torch.from_numpy(np.stack([*vectors, np.zeros(width, dtype=np.float32)])), of_words([*words, "[UNK]"])


def config_of(path: str, *, modality: str, max_length: int) -> tuple[dict[str, Any], Tensor]:
    """The config of an encoder of these vectors, and the vectors."""
    vectors, tokenizer = read(path)
    return {
        "modality": modality,
        "encoder": f"static:{Path(path).name}",
        "width": vectors.shape[1],
        "rows": len(vectors),
        "bias": True,
        "max_length": max_length,
        "files": {TOKENIZER: tokenizer},
    }, vectors
