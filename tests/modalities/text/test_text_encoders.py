"""Encoders of texts: bags, transformers from scratch and from folders, static vectors."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import nearfar
from nearfar.errors import ConfigError, DataError, UnknownName
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source
from nearfar.modalities.text.options import TextOptions
from nearfar.modalities.text.tokenizer import Tokenizer, trained
from nearfar.modalities.text.transformer import TOKENIZER
from nearfar.options import Facts
from nearfar.testing import check_modality
from nearfar.training.encoder_folder import load_encoder_config, load_weights, save_encoder

FACTS = Facts(samples=24, device="cpu", threads=1)
WORDS = ["card", "bank", "money", "lost", "where", "is", "my", "new", "arrived", "please"]
TINY = {"depth": 1, "vocabulary": 60, "max_length": 16}
TEXTS = [" ".join(np.random.default_rng(i).choice(WORDS, 3 + i % 6)) for i in range(24)]


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "lines.txt"
    path.write_text("\n".join(TEXTS))
    return open_source(registry.load("text"), str(path), least=2)


def made(source, name="transformer", width=64, **options):
    text = registry.load("text")
    torch.manual_seed(0)
    settled, name, _ = text.settle(TextOptions(**{**TINY, **options}), source, name, FACTS)
    return text.encoder(name, source, settled, width=width).eval()


def test_a_transformer_keeps_the_promises_of_a_modality(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join(TEXTS))
    check_modality(
        registry.load("text"),
        str(tmp_path / "lines.txt"),
        encoder="transformer",
        samples=lambda keys: [TEXTS[int(key.split("#")[1])] for key in keys],
        **TINY,
    )


@pytest.mark.parametrize("pooling", ["mean", "cls", "max", "last", "mean_sqrt_len"])
def test_a_text_does_not_pay_for_longer_ones(source, pooling):
    encoder = made(source, pooling=pooling)
    alone = np.stack([encoder.encode(text) for text in TEXTS])
    assert encoder.encode(TEXTS, batch_size=24) == pytest.approx(alone, abs=1e-5)


def test_a_batch_is_cut_into_widths(source):
    encoder, seen = made(source), []
    encoder.network.register_forward_hook(
        lambda module, args, more, out: seen.append(tuple(more["input_ids"].shape)), with_kwargs=True
    )
    encoder.encode(["card"] * 24 + ["card " * 12] * 8, batch_size=32)
    assert [count for count, _ in seen] == [8] * 4
    assert len({width for _, width in seen[:3]}) == 1
    assert seen[3][1] == TINY["max_length"]


def test_views_of_a_transformer_differ_by_dropout_alone(source):
    encoder = made(source, word_deletion=0.0).train()
    options = TextOptions(**TINY, word_deletion=0.0, span_scale=1.0)
    raw, rows = source.fetch(np.arange(8))
    from nearfar.contract import Requirements

    views = registry.load("text").views(raw, rows, requires=Requirements(), seed=0, options=options, encoder=encoder)
    assert torch.equal(views[0]["ids"], views[1]["ids"])
    torch.manual_seed(0)
    one, other = encoder(views)
    assert not torch.allclose(one, other)
    torch.manual_seed(0)
    assert torch.equal(encoder(views)[0], one)


def test_a_saved_encoder_has_its_tokenizer_beside_it(source, tmp_path):
    encoder = made(source)
    save_encoder(tmp_path, encoder)
    assert (tmp_path / TOKENIZER).read_text() == encoder.config["files"][TOKENIZER]
    again = registry.load("text").restore(load_encoder_config(tmp_path))
    load_weights(tmp_path / "model.safetensors", again)
    assert np.array_equal(again.eval().encode(TEXTS), encoder.encode(TEXTS))


def test_the_tokenizer_is_the_same_each_time():
    assert trained(TEXTS, 60) == trained(TEXTS, 60)


def test_special_tokens_stand_around_a_text_that_is_cut():
    tokenizer = Tokenizer(trained(TEXTS, 60))
    ids = tokenizer.around(tokenizer(["c", "card bank money lost"], 6))
    first, length = ids.ids[0].tolist(), int(ids.lengths[0])
    assert (ids.lengths[1], length < 6) == (6, True)
    assert (first[0], first[length - 1], set(first[length:])) == (2, 3, {0})
    assert (ids.ids[1, 0], ids.ids[1, 5]) == (2, 3)


def test_adapters_learn_alone(source, tmp_path):
    encoder = made(source)
    folder = in_transformers(encoder, tmp_path)
    adapted = registry.load("text").encoder(f"hf:{folder}", source, TextOptions(lora=2, max_length=16))
    learning = {name for name, one in adapted.named_parameters() if one.requires_grad}
    assert learning
    assert all("lora" in name for name in learning)
    save_encoder(tmp_path / "saved", adapted)
    again = registry.load("text").restore(load_encoder_config(tmp_path / "saved"))
    load_weights(tmp_path / "saved" / "model.safetensors", again)
    assert np.array_equal(again.eval().encode(TEXTS), adapted.eval().encode(TEXTS))


def test_a_folder_of_transformers_is_an_encoder(source, tmp_path):
    encoder = made(source)
    found = nearfar.load(f"hf:{in_transformers(encoder, tmp_path)}")
    assert found.encode(TEXTS) == pytest.approx(encoder.encode(TEXTS), abs=1e-6)


def test_nothing_is_fetched_unasked():
    with pytest.raises(ConfigError, match=r"no/such-model.*--fetch-weights"):
        nearfar.load("hf:no/such-model")


def test_vectors_of_a_file_are_an_encoder(tmp_path):
    (tmp_path / "glove.txt").write_text("3 2\ncat 1 0\ndog 0 1\nsat 1 1\n")
    encoder = nearfar.load(f"static:{tmp_path / 'glove.txt'}")
    assert encoder.encode("Cat DOG").tolist() == [0.5, 0.5]
    assert encoder.encode("sat unknown").tolist() == [0.5, 0.5]
    vectors = torch.eye(60)[:, :8].contiguous()
    (tmp_path / "weights").mkdir()
    (tmp_path / "tokenizers").mkdir()
    save_file({"embedding.weight": vectors.half()}, tmp_path / "weights" / "small.safetensors")
    (tmp_path / "tokenizers" / "small.json").write_text(trained(TEXTS, 60))
    assert nearfar.load(f"static:{tmp_path / 'weights' / 'small.safetensors'}").dim == 8


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("bagg", UnknownName, "Did you mean 'bag'"),
        ("st:", ConfigError, "needs a name"),
        ("st:nowhere", ConfigError, "no modules.json"),
        ("static:nowhere.txt", DataError, "no file of word vectors"),
    ],
)
def test_names_that_stand_for_nothing(source, name, error, words):
    with pytest.raises(error, match=words):
        registry.load("text").encoder(name, source, TextOptions())


def test_copies_of_a_bag_read_the_same_words(source):
    encoder = made(source, "bag", buckets=64)
    other = copy.deepcopy(encoder)
    inputs = encoder.prepare(replace(source.fetch(np.arange(2))[0], strings=["quite new words"]))
    assert torch.equal(other.features(inputs), encoder.features(inputs))
    assert encoder.words(inputs) == ["quite new words"]


def test_rare_words_weigh_more_in_an_untrained_bag(source):
    encoder = made(source, "bag", buckets=4096)
    common, rare = (encoder.features(encoder.preprocess([word])).norm() for word in ("card", "unheard"))
    assert rare > common


def in_transformers(encoder, folder):
    """The encoder's network in a folder, as transformers saves it."""
    from transformers import PreTrainedTokenizerFast

    encoder.network.save_pretrained(folder / "network")
    (folder / "t.json").write_text(encoder.tokenizer.text)
    PreTrainedTokenizerFast(tokenizer_file=str(folder / "t.json")).save_pretrained(folder / "network")
    return folder / "network"


def test_a_run_that_starts_from_another_takes_its_tokenizer(tmp_path):
    settings = {**TINY, "encoder": "transformer", "width": 64, "batch_size": 4, "steps": 2, "lr": 1e-9, "threads": 1}
    settings |= {"precision": "fp32", "quiet": True, "evaluate": False, "whiten": False}
    first = nearfar.train(TEXTS, out=tmp_path / "first", **settings)
    others = [text.replace("card", "house").upper() for text in TEXTS]
    second = nearfar.train(others, init=first.path, out=tmp_path / "second", **settings)
    assert second.encoder.config["files"] == first.encoder.config["files"]
    assert second.encoder.encode(TEXTS) == pytest.approx(first.encoder.encode(TEXTS), abs=1e-4)


def test_a_run_of_static_vectors_is_a_start(tmp_path):
    file = tmp_path / "glove.txt"
    file.write_text("3 2\nhouse 1 0\nbank 0 1\ncard 1 1\n")
    settings = {**TINY, "encoder": f"static:{file}", "batch_size": 4, "steps": 2, "lr": 1e-9, "threads": 1}
    settings |= {"precision": "fp32", "quiet": True, "evaluate": False, "whiten": False}
    first = nearfar.train(TEXTS, out=tmp_path / "first", **settings)
    second = nearfar.train(TEXTS, init=first.path, out=tmp_path / "second", **{**settings, "encoder": None})
    assert second.encoder.encode(TEXTS) == pytest.approx(first.encoder.encode(TEXTS), abs=1e-5)
    with pytest.raises(ConfigError, match="width has no meaning"):
        nearfar.train(TEXTS, out=tmp_path / "third", **settings, width=3)
