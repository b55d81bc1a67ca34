"""What kind of data rows and files are, recognised by their names and from a look at the first cells."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from nearfar.data.columns import ROLES, is_row_number
from nearfar.data.dialect import is_number
from nearfar.data.folder import extension_of
from nearfar.data.words import count_words

BY_EXTENSION = {
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff"), "images"),
    **dict.fromkeys((".wav", ".flac", ".ogg", ".mp3", ".m4a"), "sounds"),
    **dict.fromkeys((".txt", ".md"), "texts"),
}
"""What files are, by extension."""

IMAGES = (
    *("image", "path", "file", "filepath", "filename", "img"),
    *("file_name", "file_path", "image_path", "img_path", "image_file"),
)
"""Names of a manifest's column of images; the first one present is taken."""

_SOUNDS = {"audio", "sound", "wav"}
_TEXTS = {"text", "sentence", "question", "review", "comment", "document", "abstract", "tweet", "utterance", "premise"}
_CAPTIONS = {"caption", "captions", "text", "description", "sentence", "prompt", "keywords", "alt", "alttext", "title"}
_TITLES = {"name", "title"}
"""Beside another caption they are one, too."""
_USERS = {"user", "userid", "customer", "customerid", "reviewerid", "session", "sessionid", "visitorid", "uid"}
_ITEMS = {"item", "itemid", "iid", "movieid", "product", "productid", "asin", "songid", "trackid", "artistid", "bookid"}


class Kind(NamedTuple):
    """A kind of data: `name` is that of the modality for it, whether there is one or not; empty where nothing tells.

    `holds` says what the data holds and what shows it, and `instead` what else could be done with it.
    """

    name: str
    holds: str = ""
    instead: str = ""
    sides: tuple[str, ...] = ()
    """Of pairs: the kinds of their two sides."""


UNKNOWN = Kind("")


def texts(shown_by: str, instead: str = "") -> Kind:
    """The kind of texts."""
    return Kind("text", f"texts ({shown_by})", instead)


def of_files(found: Mapping[str, int]) -> Kind:
    """The kind of files by how many there are with each extension; unknown where pictures are among them."""
    count = Counter[str]()
    for extension, number in found.items():
        count[BY_EXTENSION.get(extension, "others")] += number
    if count["images"] or count["others"] >= count["sounds"] + count["texts"]:
        return UNKNOWN
    if count.total() < 2 and not count["sounds"]:  # one text may be a list of files
        return UNKNOWN
    if count["sounds"] >= count["texts"] and count["sounds"]:
        return Kind("audio", "sounds")
    return Kind("text", "texts") if count["texts"] else UNKNOWN


def of_shapes(shapes: Mapping[str, tuple[int, ...]]) -> Kind:
    """The kind of arrays by their shapes."""
    from nearfar.data.arrays import is_label

    inputs = [shape for name, shape in shapes.items() if not is_label(name)] or list(shapes.values())
    rows = all(len(shape) < 3 for shape in inputs) and any(len(shape) == 2 for shape in inputs)
    return Kind("table", "rows") if rows else UNKNOWN


def of_columns(head: Mapping[str, Sequence[str]]) -> Kind:
    """The kind of rows by their columns: names, and the first cells of each as text."""
    names = {name: "".join(filter(str.isalnum, name.lower())) for name in head}
    written = [name for name, cells in head.items() if are_texts(cells)]
    sounds = [name for name in head if names[name] in _SOUNDS or _name_files(head[name], "sounds")]
    named = [name for name in head if name.strip().lower() in IMAGES and name not in sounds]
    images = [name for name in head if name in named or _name_files(head[name], "images")]
    if images:
        return _perhaps_told(head, images, Kind("image", "images"))
    if sounds:
        return _perhaps_told(head, sounds, Kind("audio", f"sounds (column {sounds[0]!r})"))
    users = [name for name in head if names[name] in _USERS]
    items = [name for name in head if names[name] in _ITEMS]
    if users and items and (len(head) <= 4 or 2 * len(set(head[users[0]])) < len(head[users[0]])):
        return Kind("interactions", f"what users did with items (columns {users[0]!r} and {items[0]!r})")
    written += [n for n in head if n not in written and _stem(n) in _TEXTS and not are_numbers(head[n])]
    others = [n for n in head if n not in written and n.lower() not in ROLES["label"] and _is_input(n, head[n])]
    if written and 2 * len(written) >= len(others):
        instead = "--modality table takes the other columns alone" if len(others) > 1 else ""
        return texts(f"column {written[0]!r}", instead)
    return Kind("table", "rows of numbers and categories")


def _perhaps_told(head: Mapping[str, Sequence[str]], files: Sequence[str], kind: Kind) -> Kind:
    """A kind of files, or pairs of these and texts where a column says in words what they show."""
    found = captions(head, files)
    if not found:
        return kind
    holds = kind.holds.partition(" (")[0]
    shown_by = f"columns {files[0]!r} and {found[0]!r}"
    instead = f"--modality {kind.name} takes the {holds} alone"
    return Kind("pairs", f"{holds} with texts ({shown_by})", instead, (kind.name, "text"))


def captions(head: Mapping[str, Sequence[str]], others: Collection[str] = ()) -> list[str]:
    """The columns that say in words what a row shows, by their names and first cells; none of the `others`."""
    names = {name: "".join(filter(str.isalnum, name.lower())).rstrip("0123456789") for name in head}
    able = [name for name in head if name not in others and not are_numbers(head[name])]
    able = [name for name in able if names[name] in ("caption", "captions") or not are_few(head[name])]
    found = [name for name in able if names[name] in _CAPTIONS or are_texts(head[name])]
    return [name for name in able if name in found or (found and names[name] in _TITLES)]


def name_files(cells: Sequence[str], extensions: Collection[str]) -> bool:
    """Whether most cells are names of files with one of these extensions."""
    filled = [cell for cell in cells if cell]
    return 2 * sum(extension_of(cell.strip()) in extensions for cell in filled) > len(filled)


def are_texts(cells: Sequence[str]) -> bool:
    """Whether cells are mostly texts of several words, nearly all different."""
    words = [count_words(cell) for cell in cells if cell]
    return bool(words) and sum(words) >= 3 * len(words) and 2 * len(set(cells)) > len(cells) and not are_numbers(cells)


def _name_files(cells: Sequence[str], kind: str) -> bool:
    return name_files(cells, [extension for extension, name in BY_EXTENSION.items() if name == kind])


def are_numbers(cells: Sequence[str]) -> bool:
    """Whether cells are mostly numbers."""
    filled = [cell for cell in cells if cell]
    return bool(filled) and 2 * sum(map(is_number, filled)) > len(filled)


def are_few(cells: Sequence[str]) -> bool:
    """Whether the same cells come again and again, as classes do."""
    return len(cells) > 3 and 2 * len(set(cells)) <= len(cells)


def _is_input(name: str, cells: Sequence[str]) -> bool:
    if is_row_number(name) or name.lower().endswith(("id", "split")):
        return False
    return are_numbers(cells) or are_few(cells)


def _stem(name: str) -> str:
    """`sentence` for `sentence1`, `Sentence_A` and `sentences`."""
    return name.lower().rstrip("0123456789_ ").removesuffix("_a").removesuffix("_b").removesuffix("s")
