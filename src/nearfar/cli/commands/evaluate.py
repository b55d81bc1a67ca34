"""`nearfar evaluate`."""

from dataclasses import dataclass
from typing import Any

from nearfar.cli.form import (
    RUN,
    Form,
    Result,
    argument,
    cache_option,
    compile_option,
    device_option,
    label_column_option,
    threads_option,
)
from nearfar.cli.judged import judged, table
from nearfar.errors import ConfigError
from nearfar.options import listed, option


@dataclass(frozen=True, kw_only=True)
class Evaluate(Form):
    """How good the encoder is on labelled data: kNN, linear probe and more, next to two baselines.

    The baselines are the same encoder untrained, and the raw input. Without --test, TRAIN's own splits are used; else a
    stratified 80/20 split keyed by the seed.
    """

    run: str = argument(RUN, needed=True, path="input")
    train: str = argument("Labelled data the probes learn from.", needed=True, path="data")
    test: str | None = option(None, "Labelled data they are tested on.", path="data", local=True)
    baselines: bool = option(True, "Compare with the two baselines.", off="Leave the two baselines out.")
    label_column: str | None = label_column_option(several=True)
    group_column: str | None = option(
        None, "Column of what belongs together; when not given: that of the run, else `group`."
    )
    labels: str | None = option(
        None, "Numbers of labels, in all, that probes are given too, parted by commas: `100,1000`.", local=True
    )
    seed: int | None = option(None, "Key of the split and of the intervals; the run's own when not given.", least=0)
    compile: bool = compile_option()
    cache: str = cache_option()
    device: str | None = device_option()
    threads: int | None = threads_option()

    def check(self) -> None:
        """The numbers of labels are numbers."""
        _ = self.numbers_of_labels

    @property
    def numbers_of_labels(self) -> tuple[int, ...]:
        """The numbers in `labels`; raises ConfigError."""
        words = listed(self.labels)
        if not all(word.isdecimal() and int(word) > 0 for word in words):
            raise ConfigError(
                f"--labels must be whole numbers parted by commas, such as 100,1000, got {self.labels!r}."
            )
        return tuple(map(int, words))

    def call(self, api: Any, given: dict[str, Any]) -> Result:
        """Evaluate."""
        labels = {"labels": numbers} if (numbers := self.numbers_of_labels) else {}
        found = api.evaluate(self.run, self.train, self.test, **labels, **given)
        return {"run": self.run, **judged(found)}, table(found)
