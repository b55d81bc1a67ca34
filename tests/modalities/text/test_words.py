"""Units of texts in several scripts, and the features of words."""

import pytest

from nearfar.modalities.text.words import PARTS, features, name_of, units


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Don't PANIC, café!", ["don", "t", "panic", "café"]),
        ("\uff26ull width", ["full", "width"]),
        ("हिन्दी में लिखा", ["हिन्दी", "में", "लिखा"]),
        ("我喜欢 NLP", ["我", "我喜", "喜", "喜欢", "欢", "nlp"]),
        ("good 👍👍", ["good", "👍", "👍"]),
        ("!?", ["!", "?"]),
        ("", []),
    ],
)
def test_units_of_scripts(text, found):
    assert units(text) == found


def test_words_of_one_stem_share_features():
    one, other, third = (set(features(word, 2**20)) for word in ("connection", "connections", "umbrella"))
    assert len(one & other) > 10
    assert not one & third


def test_features_are_few_and_never_the_padding():
    found = features("x" * 500, 1000)
    assert len(found) == PARTS
    assert 0 < min(found) <= max(found) < 1000


def test_names_of_words_stay_the_same():
    assert name_of("card") == name_of("card") != name_of("cards")
