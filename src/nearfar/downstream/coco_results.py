"""Predicted boxes as COCO's results: a json of all boxes; in a folder, pictures with them beside it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nearfar.downstream.mask_files import file_below
from nearfar.downstream.task import Record, Write
from nearfar.errors import ConfigError, OutputError
from nearfar.files import check_writable, write, write_json

RESULTS, PICTURES = "results.json", "pictures"


class CocoResults:
    """Writes `FILE.json`, or a new folder with `results.json` and `pictures/KEY.webp`.

    A box is `image_id`, `file_name`, `category_id`, `category_name`, `bbox` (left, top, width, height) and `score`.
    `categories` are the ids of the classes. Where COCO files lie beside the pictures, ids of pictures are theirs; else
    pictures are numbered from 1. Boxes with a score of `least` are drawn.
    """

    def __init__(self, out: Path, categories: Mapping[str, int], *, least: float) -> None:
        self.out, self.categories, self.least = out, dict(categories), least

    @property
    def draws(self) -> bool:
        """Whether records must come with their pictures."""
        return not self.out.suffix

    def check(self) -> None:
        """A new .json, or a new or empty folder."""
        if self.out.suffix and self.out.suffix.lower() != ".json":
            raise ConfigError(f"Boxes are written into a .json file, or into a folder: got {str(self.out)!r}.")
        if self.out.exists() and not (self.draws and self.out.is_dir() and not any(self.out.iterdir())):
            raise OutputError(f"{str(self.out)!r} is there already: remove it, or give another place to write to.")
        check_writable(self.out)

    @contextmanager
    def writing(self) -> Iterator[Write]:
        """Pictures are written as they come, the boxes at the end."""
        results: list[dict[str, Any]] = []
        taken: set[str] = set()
        place = self.out / RESULTS if self.draws else self.out
        numbers = iter(range(1, 2**63))

        def written(records: Sequence[Record]) -> None:
            for record in records:
                number = next(numbers)
                shared = {"image_id": number if record["image_id"] is None else record["image_id"]}
                shared["file_name"] = str(record["key"])
                for box, name, score in zip(record["boxes"], record["labels"], record["scores"], strict=True):
                    category = {"category_id": self.categories[name], "category_name": name}
                    results.append({**shared, **category, "bbox": box, "score": score})
                card = record.get("card")
                if card is not None and card.image is not None:
                    file = self.out / PICTURES / file_below(str(record["key"]), taken, ".webp")
                    file.parent.mkdir(parents=True, exist_ok=True)
                    write(file, card.image)

        yield written
        place.parent.mkdir(parents=True, exist_ok=True)
        write_json(place, results)

    def count(self, record: Record) -> list[str]:
        """The classes of the boxes that are drawn."""
        return [name for name, score in zip(record["labels"], record["scores"], strict=True) if score >= self.least]

    def drawn(self, record: Record) -> dict[str, Any]:
        """The boxes that are drawn over the picture of a record, as shares of it."""
        import numpy as np

        sure = [i for i, score in enumerate(record["scores"]) if score >= self.least]
        boxes = np.array([record["boxes"][i] for i in sure], dtype=np.float64).reshape(-1, 4)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1)
        numbers = {name: i for i, name in enumerate(self.categories)}
        labels = np.array([numbers[record["labels"][i]] for i in sure], dtype=np.int64)
        return {"boxes": corners / np.array([record["width"], record["height"]] * 2), "labels": labels}
