"""How many words a text has, in any script."""

import re

UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan; Burmese; Khmer
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"  # kana, Chinese
)
"""Runs of characters of scripts that put no spaces between words."""


def count_words(cell: str) -> int:
    """The number of words, as many as half of the characters where a script has no spaces."""
    if cell.isascii():
        return len(cell.split())
    return len(UNSPACED.sub(" ", cell).split()) + sum(map(len, UNSPACED.findall(cell))) // 2
