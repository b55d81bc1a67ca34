"""TF-IDF and BM25 against their formulas."""

import math

import numpy as np
import pytest
import torch

from nearfar.data.contents import Cells
from nearfar.data.samples import Samples
from nearfar.data.strings import Strings
from nearfar.modalities.text.baselines import BM25, TfIdf
from nearfar.modalities.text.source import TextSource

TEXTS = ["the cat sat", "a cat ran away", "dogs bark", "the dog ran"]


def source_of(texts):
    keys, rows = Strings.of(map(str, range(len(texts)))), np.arange(len(texts))
    return TextSource(Samples(name="texts", keys=keys, contents=Cells(texts), rows=rows))


def tf_idf(text):
    counts = {word: text.split().count(word) for word in text.split()}
    there = {word: sum(word in other.split() for other in TEXTS) for word in counts}
    idf = {w: math.log(5 / (1 + there[w])) + 1 for w in counts if there[w]}
    found = {w: (1 + math.log(counts[w])) * idf[w] for w in idf}
    return {w: x / math.sqrt(sum(y * y for y in found.values())) for w, x in found.items()}


def cosine(one, other):
    a, b = tf_idf(one), tf_idf(other)
    return sum(a[w] * b[w] for w in a if w in b)


def test_texts_are_compared_by_their_words_and_the_rarity_of_these_in_the_training_part():
    baseline = TfIdf(characters=False)
    baseline.fit(source_of(TEXTS))
    queries = ["the cat cat ran", "unheard of"]
    found = baseline.rank(source_of(queries), source_of(TEXTS))
    assert found.tolist() == [[pytest.approx(cosine(query, text)) for text in TEXTS] for query in queries]
    pairs = baseline.similarity(source_of(TEXTS[:2]), source_of(TEXTS[1:3]))
    assert pairs.tolist() == pytest.approx([cosine(TEXTS[0], TEXTS[1]), 0])


def test_characters_find_another_form_of_a_word():
    baseline = TfIdf(characters=True)
    baseline.fit(source_of(TEXTS))
    found = baseline.rank(source_of(["a dog"]), source_of(["dogs", "cats"]))
    assert found[0, 0] > found[0, 1] == 0


def test_classes_are_told_by_their_words():
    baseline = TfIdf(characters=False)
    train = source_of(["good film", "good play", "bad film", "bad play", "odd film", "odd play"])
    baseline.fit(train)
    test = source_of(["good show", "odd show", "bad show"])
    found = baseline.classify(train, torch.tensor([0, 0, 1, 1, 3, 3]), test, 4)
    assert found.argmax(1).tolist() == [0, 3, 1]
    assert torch.allclose(found.sum(1), torch.ones(3, dtype=torch.float64))
    assert (found[:, 2] == 0).all()
    two = baseline.classify(train.take(np.arange(4)), torch.tensor([0, 0, 1, 1]), test, 2)
    assert two[0, 0] > 0.5 > two[2, 0]
    assert baseline.classify(train.take(np.arange(2)), torch.tensor([1, 1]), test, 2) is None


def test_bm25_is_its_formula():
    corpus = ["the cat sat on the mat", "a dog", "the dog and the cat"]
    query = ["the cat"]
    mean = sum(len(text.split()) for text in corpus) / 3
    expected = []
    for text in corpus:
        words, score = text.split(), 0.0
        for word in query[0].split():
            there = sum(word in other.split() for other in corpus)
            count = words.count(word)
            length = 1 - 0.75 + 0.75 * len(words) / mean
            score += math.log(1 + (3 - there + 0.5) / (there + 0.5)) * count * 2.2 / (count + 1.2 * length)
        expected.append(score)
    assert BM25().rank(source_of(query), source_of(corpus))[0].tolist() == pytest.approx(expected)


def test_an_unreadable_text_is_like_nothing():
    baseline = TfIdf(characters=False)
    baseline.fit(source_of(TEXTS))
    assert baseline.similarity(source_of(["the cat", " "]), source_of(["the cat", "the cat"])).tolist() == [
        pytest.approx(1), 0,
    ]  # fmt: skip
