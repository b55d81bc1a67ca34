"""Words of texts: tokens that belong together, and vectors that are sums over words."""

import pytest
import torch

from nearfar.modalities import registry
from nearfar.modalities.opening import open_source
from nearfar.modalities.text.parts import words_of
from nearfar.testing.parts import check_parts
from tests.modalities.text.test_text_encoders import TEXTS, made


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    path = tmp_path_factory.mktemp("texts") / "lines.txt"
    path.write_text("\n".join(TEXTS))
    return open_source(registry.load("text"), str(path), least=2)


@pytest.mark.parametrize("pooling", ["mean", "mean_sqrt_len", "cls", "max", "last"])
def test_a_transformer_says_its_words(source, pooling):
    encoder = made(source, pooling=pooling)
    inputs = encoder.preprocess(["please arrived money"])
    with torch.no_grad():
        parts = encoder.parts(inputs)
    assert list(parts.names) == ["please", "arrived", "money"]
    assert (parts.terms is not None) == ("mean" in pooling)
    assert (parts.tokens is None) == ("mean" in pooling)
    check_parts(encoder, inputs)


def test_vectors_that_are_normalised_are_still_sums(source):
    encoder = made(source, pooling="mean")
    encoder.config["unit"] = True
    check_parts(encoder, encoder.preprocess(["please arrived money"]))


@pytest.mark.parametrize("name", ["transformer", "bag"])
def test_a_text_that_lost_a_word_is_that_without_it(source, name):
    encoder = made(source, name)
    with torch.no_grad():
        parts = encoder.parts(encoder.preprocess(["please arrived money"]))
        found = encoder.vectors(parts.without(torch.tensor([[True, False, True], [False, False, True]])))
        for vector, text in zip(found, ("please money", "money"), strict=True):
            wanted = encoder.vectors(encoder.preprocess([text]))[0]
            torch.testing.assert_close(vector, wanted, rtol=1e-4, atol=1e-5)


def test_words_end_where_decoding_puts_a_space():
    pieces = ["an", "other", " word", "ly", " ."]
    words, of = words_of(range(5), lambda ids: "".join(pieces[i] for i in ids).strip())
    assert words == ["another", "wordly", "."]
    assert of == [0, 0, 1, 1, 2]


def test_where_decoding_rewrites_what_was_said_tokens_are_words():
    words, of = words_of([0, 1], lambda ids: {(0,): "do", (1,): "n't", (0, 1): "don't do"}[tuple(ids)][::-1])
    assert len(words) == 2
    assert of == [0, 1]


def test_a_text_without_words_has_no_parts(source):
    for name in ("transformer", "bag"):
        encoder = made(source, name)
        with torch.no_grad():
            assert len(encoder.parts(encoder.preprocess([" "]))) == 0
