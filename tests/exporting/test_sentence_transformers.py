"""An encoder and its export give the same vectors, and so does the export read back."""

import numpy as np
import pytest
import torch

import nearfar
from nearfar.errors import ConfigError, OutputError, UnknownName
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source
from nearfar.modalities.text.options import TextOptions
from nearfar.whitening import Whitening

WORDS = ["card", "bank", "money", "lost", "where", "is", "my", "new", "arrived", "please"]
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 3 + i % 9)) for i in range(24)]
OPTIONS = {"depth": 1, "vocabulary": 60, "max_length": 8}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "lines.txt"
    path.write_text("\n".join(TEXTS))
    return open_source(registry.load("text"), str(path), least=2)


def made(source, name="transformer", **options):
    torch.manual_seed(0)
    width = 64 if name in ("transformer", "bag") else None
    return registry.load("text").encoder(name, source, TextOptions(**{**OPTIONS, **options}), width=width).eval()


def whitened(encoder):
    encoder.output = Whitening(encoder.dim).fit(torch.randn(100, encoder.dim) + 0.5)
    return encoder


def by_sentence_transformers(folder, texts):
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(folder), device="cpu").encode(texts, show_progress_bar=False)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last", "mean_sqrt_len"])
def test_an_export_gives_the_same_vectors_in_sentence_transformers_and_here(source, tmp_path, pooling):
    encoder = made(source, pooling=pooling)
    encoder.config["unit"] = pooling in ("mean", "cls")
    nearfar.export(encoder, "sentence-transformers", tmp_path / "out")
    wanted = encoder.encode(TEXTS)
    assert by_sentence_transformers(tmp_path / "out", TEXTS) == pytest.approx(wanted, abs=1e-6)
    assert nearfar.load(f"st:{tmp_path / 'out'}").encode(TEXTS) == pytest.approx(wanted, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_adapters_and_whitening_go_along(source, tmp_path):
    nearfar.export(made(source), "sentence-transformers", tmp_path / "first")
    encoder = made(source, f"st:{tmp_path / 'first'}", lora=2)
    with torch.no_grad():
        for parameter in encoder.parameters():
            if parameter.requires_grad:
                parameter.normal_(std=0.1)
    nearfar.export(whitened(encoder), "sentence-transformers", tmp_path / "out")
    found, wanted = torch.from_numpy(by_sentence_transformers(tmp_path / "out", TEXTS)), encoder.encode(TEXTS)
    assert torch.nn.functional.normalize(found).numpy() == pytest.approx(
        torch.nn.functional.normalize(torch.from_numpy(wanted)).numpy(), abs=1e-6
    )


@pytest.mark.filterwarnings("ignore")
def test_static_vectors_go_with_their_weights(tmp_path):
    (tmp_path / "glove.txt").write_text("\n".join(f"{word} {i} {i * i % 7} 1" for i, word in enumerate(WORDS)))
    encoder = nearfar.load(f"static:{tmp_path / 'glove.txt'}")
    with torch.no_grad():
        encoder.weight.uniform_(0.5, 2)
        encoder.bias.uniform_(-1, 1)
    nearfar.export(encoder, "sentence-transformers", tmp_path / "out")
    assert by_sentence_transformers(tmp_path / "out", TEXTS) == pytest.approx(encoder.encode(TEXTS), rel=1e-5, abs=1e-6)


def test_what_cannot_be_exported_is_told(source, tmp_path):
    with pytest.raises(ConfigError, match="bag"):
        nearfar.export(made(source, "bag"), "sentence-transformers", tmp_path / "out")
    with pytest.raises(UnknownName, match="Did you mean 'sentence-transformers'"):
        nearfar.export(made(source), "sentence-transformer", tmp_path / "out")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    with pytest.raises(OutputError, match="no empty folder"):
        nearfar.export(made(source), "sentence-transformers", tmp_path / "full")
