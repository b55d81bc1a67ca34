"""What the columns of a table of texts are for, by their names, and where these say nothing, by their cells."""

import logging
import re
from collections.abc import Mapping, Sequence

from nearfar.data.columns import MORE_NEGATIVES, ROLES, SCORES, find_column, is_row_number
from nearfar.data.kinds import are_few, are_numbers, are_texts

COLUMNS = (
    *("text", "sentence", "question", "query", "anchor", "premise", "sentence1", "sentence_1", "sentence_a"),
    *("text1", "text_1", "text_a", "question1", "review", "comment", "document", "tweet", "utterance", "message"),
    *("content", "body", "abstract", "title"),
)
"""Names of a column of texts; the first one present is taken."""

_POSITIVES = (
    *("positive", "pos", "sentence2", "sentence_2", "sentence_b", "text2", "text_2", "text_b", "question2"),
    *("paraphrase", "answer", "response", "passage", "hypothesis", "translation"),
)
_NEGATIVES = re.compile(r"(hard[_ ]?)?neg(ative)?s?[_ ]?\d*", re.IGNORECASE)

log = logging.getLogger("nearfar")


def recognise(head: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    """The columns of texts, of their positives and negatives, and of the scores of pairs.

    Of a file without a header, texts stand in that order, numbers beside a pair are its scores, and few words that come
    again and again are labels.
    """
    names = [name for name in head if not is_row_number(name) or name.isdigit()]
    if (content := find_column(names, COLUMNS)) is None:
        return _by_cells({name: head[name] for name in names})
    others = [name for name in names if name != content]
    found: dict[str, str | None] = {
        "content": content,
        "positive": find_column(others, _POSITIVES),
    }
    negatives = [name for name in others if _NEGATIVES.fullmatch(name.strip())]
    found |= dict(zip(("negative", *MORE_NEGATIVES), negatives, strict=False))
    label = find_column(others, ROLES["label"])
    if found["positive"] is not None and label is not None and find_column(others, SCORES) is None:
        cells = [cell for cell in head[label] if cell]
        if are_numbers(cells) and any("." in cell.rstrip("0").rstrip(".") for cell in cells):  # 3.8 is no class
            found |= {"score": label, "label": None}
    return found


def _by_cells(head: Mapping[str, Sequence[str]]) -> dict[str, str | None]:
    written = [name for name, cells in head.items() if are_texts(cells)]
    if not written:
        return {}
    found: dict[str, str | None] = {"content": written[0]}
    if all(name.isdigit() for name in head):
        found |= dict(zip(("positive", "negative", *MORE_NEGATIVES), written[1:], strict=False))
        left = [name for name in head if name not in written]
        if "positive" in found:
            found["score"] = next((name for name in left if are_numbers(head[name])), None)
        else:
            found["label"] = next((name for name in left if are_few(head[name])), None)
    said = ", ".join(f"{name!r} as {purpose}" for purpose, name in found.items() if name is not None)
    log.info("no column is named as those of texts are: columns are taken by their cells, %s", said)
    return found
