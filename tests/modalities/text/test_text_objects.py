"""Texts that are objects: lists of sentences, of pairs and triples, data frames and Datasets."""

import numpy as np
import pandas as pd
import pytest

import nearfar
from nearfar import given
from nearfar.errors import ConfigError
from nearfar.modalities import registry
from nearfar.modalities.opening import open_source

TEXTS = [f"sentence number {i} of these" for i in range(12)]
OTHERS = [f"another one, number {i}" for i in range(12)]


class Items:
    def __init__(self, items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def opened(data):
    with given.holding() as hold:
        name = hold("data", data)
        assert registry.find(name) == "text"
        return open_source(registry.load("text"), name, least=2)


def strings(source):
    return list(source.fetch(np.arange(len(source)))[0].strings)


@pytest.mark.parametrize(
    "data",
    [
        TEXTS,
        (TEXTS, ["a", "b"] * 6),
        list(zip(TEXTS, OTHERS, strict=True)),
        list(zip(TEXTS, OTHERS, OTHERS[::-1], strict=True)),
        [(text, other, 0.5) for text, other in zip(TEXTS, OTHERS, strict=True)],
        pd.DataFrame({"sentence": TEXTS, "class": [0, 1] * 6}),
        Items([(text, i % 2) for i, text in enumerate(TEXTS)]),
        Items([{"text": text, "label": i % 2} for i, text in enumerate(TEXTS)]),
    ],
    ids=["texts", "labelled", "pairs", "triples", "scored", "frame", "items", "dictionaries"],
)
def test_texts_of_all_forms_are_read(data):
    assert strings(opened(data)) == TEXTS


def test_tuples_are_pairs_with_negatives_and_scores():
    source = opened([*zip(TEXTS, OTHERS, OTHERS[::-1], strict=True)])
    assert strings(source.positives) == OTHERS
    assert strings(source.negatives) == OTHERS[::-1]
    source = opened([(text, other, i) for i, (text, other) in enumerate(zip(TEXTS, OTHERS, strict=True))])
    assert source.scores.tolist() == list(range(12))


def test_labels_beside_texts_are_their_classes():
    source = opened((TEXTS, ["cat", "dog"] * 6))
    assert [source.label_names[label] for label in source.labels] == ["cat", "dog"] * 6


def test_a_frame_of_numbers_stays_a_table():
    frame = pd.DataFrame({"a": np.arange(12.0), "b": np.arange(12) % 3, "c": np.arange(12) % 4, "note": TEXTS})
    with given.holding() as hold:
        assert registry.find(hold("data", frame)) == "table"


def test_a_list_of_sentences_is_trained_on(tmp_path):
    run = nearfar.train(
        TEXTS, buckets=64, width=8, steps=3, batch_size=4, threads=1, precision="fp32", quiet=True, evaluate=False,
        out=tmp_path / "run",
    )  # fmt: skip
    assert run.encoder.encode(["a sentence", "another"]).shape == (2, 8)


def test_a_function_of_ones_own_makes_views_of_texts(tmp_path):
    settings = {
        "buckets": 64,
        "width": 8,
        "steps": 3,
        "batch_size": 4,
        "threads": 1,
        "precision": "fp32",
        "quiet": True,
    }
    seen = []

    def half(text):
        seen.append(text)
        return " ".join(text.split()[: int(np.random.randint(1, 4))])

    nearfar.train(TEXTS, views=half, out=tmp_path / "run", **settings)
    assert set(seen) <= set(TEXTS)
    with pytest.raises(ConfigError, match="a view of a text is a text"):
        nearfar.train(TEXTS, views=len, out=tmp_path / "other", **settings)


def test_scores_let_a_bag_learn_its_weights_quickly(tmp_path, monkeypatch):
    from nearfar.training import optimisers

    seen = []
    build = optimisers.build
    monkeypatch.setattr(optimisers, "build", lambda *args, **more: seen.append(build(*args, **more)) or seen[-1])
    settings = {"buckets": 64, "width": 8, "steps": 1, "batch_size": 4, "threads": 1, "precision": "fp32"}
    settings |= {"quiet": True, "evaluate": False}
    pairs = [(text, other, i / 12) for i, (text, other) in enumerate(zip(TEXTS, OTHERS, strict=True))]
    nearfar.train(pairs, method="cosent", out=tmp_path / "scored", **settings)
    nearfar.train(TEXTS, out=tmp_path / "alone", **settings)
    rates = [max(group["rate"] for group in optimizer.param_groups) for optimizer in seen]
    assert rates == [30, 1]


def test_search_takes_a_text_and_shows_texts(tmp_path):
    (tmp_path / "lines.txt").write_text("\n".join([*TEXTS, "[urgent] where is my card", "a cat on the mat"]))
    run = nearfar.train(
        tmp_path / "lines.txt", buckets=512, width=32, lr=1e-9, steps=1, batch_size=4, threads=1, precision="fp32",
        quiet=True, out=tmp_path / "run",
    )  # fmt: skip
    (first, *_), (second, *_) = nearfar.search_run(run.path, ["[urgent] where is my card", "cats on a mat"], k=2)
    assert (first.key, first.text, first.similarity) == ("lines.txt#12", "[urgent] where is my card", 1.0)
    assert second.text == "a cat on the mat"
