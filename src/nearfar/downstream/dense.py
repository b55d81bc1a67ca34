"""What tasks have in common whose head says something of every place of a picture, learnt from annotations."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

from torch import nn

from nearfar.contract import Encoder, Method, Rows, Source
from nearfar.downstream.over_samples import of_samples
from nearfar.downstream.task import Downstream, Judged, Predictor, configured, head_of
from nearfar.errors import RunError
from nearfar.evaluation.task import Row
from nearfar.files import write, write_json
from nearfar.methods.dense import Dense
from nearfar.training.encoder_folder import load_weights, packed

Found = TypeVar("Found", bound=Judged)
Says = TypeVar("Says", bound=Predictor)
_NARROWEST, _WIDEST = 8, 4096  # heads


class DenseTask(Downstream, Generic[Says, Found]):
    """A head on the maps of an encoder; a subclass names its method, and judges what it says."""

    method: ClassVar[type[Dense]]
    least_classes: ClassVar[int] = 1
    most_classes: ClassVar[int]

    @abstractmethod
    def saying(self, encoder: Encoder, head: nn.Module, classes: Sequence[str], codes: Sequence[int] = ()) -> Says:
        """What makes predictions; `codes` are the data's own numbers of the classes, where it has any."""

    @abstractmethod
    def told(self, predictor: Says, judges: Source) -> Found:
        """What is said of the annotated pictures of a source, beside what is true."""

    @abstractmethod
    def notes(self, source: Source, judges: Source) -> list[str]:
        """What to know of the annotations."""

    @abstractmethod
    def rows(self, told: Mapping[str, Sequence[Found]], setting: Mapping[str, str | int]) -> list[Row]:
        """The figures of several systems."""

    def finish(self, method: Method, source: Source, held_back: Rows, judges: Source | None, folder: Path) -> Any:
        """Write the head."""
        made = head_of(method, self.method)
        assert source.annotations is not None
        classes, codes = list(source.annotations.classes), list(source.annotations.codes)
        config = {"task": self.name, "classes": classes, "codes": codes, "width": made.options.head_width}
        write(folder / "model.safetensors", packed(made.head.state_dict()))
        write_json(folder / "config.json", config)
        if judges is None or judges.annotated is None or not (judges.annotated >= 0).any():
            return None
        found = self.told(self.saying(made.encoder, made.head, classes, codes), judges)
        found.notes += self.notes(source, judges)
        return found

    def compare(self, found: Mapping[str, Sequence[Judged]], setting: Mapping[str, str | int]) -> list[Row]:
        """The figures, over draws of annotated pictures."""
        told: Any = found
        return self.rows(told, of_samples(setting))

    def predictor(self, encoder: Encoder, folder: Path) -> Says:
        """What was written, on its encoder; raises RunError where it is damaged."""
        path = folder / "config.json"
        config = configured(path)
        try:
            classes, width = [str(name) for name in config["classes"]], int(config["width"])
            codes = [int(code) for code in config.get("codes", ())]
        except (KeyError, ValueError, TypeError) as error:
            raise RunError(f"{str(path)!r} does not describe a head: {str(error)[:200]}") from None
        if (
            not self.least_classes <= len(classes) <= self.most_classes
            or len(codes) not in (0, len(classes))
            or not _NARROWEST <= width <= _WIDEST
        ):
            raise RunError(f"{str(path)!r} does not describe a head: {len(classes)} classes, width {width}.")
        head = self.method.head_for(encoder, len(classes), width)
        load_weights(folder / "model.safetensors", head)
        return self.saying(encoder, head.to(encoder.device), classes, codes)
