"""Texts: lines of a file, cells of a table, or files.

A view is a text with some words left out, or a span of it; where the encoder has dropout, that alone may be enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar.contract import Modality
from nearfar.errors import ConfigError
from nearfar.modalities.text.columns import COLUMNS
from nearfar.modalities.text.options import ENCODERS, TextOptions

if TYPE_CHECKING:
    from nearfar.contract import Baseline, Card, Requirements, Rows, Views
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.modalities.text.encoder import TextEncoder
    from nearfar.modalities.text.source import Texts, TextSource
    from nearfar.options import Choice, Facts

__all__ = ["MODALITY", "Text"]


class Text(Modality):
    """The modality `text`."""

    name = "text"
    Options = TextOptions
    encoders = ENCODERS
    extensions = frozenset({".txt", ".md"})
    columns = COLUMNS
    inline = True
    tasks = ("classify", "retrieve", "similarity", "match", "label_free")
    gentle: ClassVar[Mapping[str, Any]] = {"word_deletion": 0.1, "span_scale": 1.0}
    advice: ClassVar[Mapping[str, str]] = {
        "inputs alike": "such as one text in all rows",
        "views unrelated": "lower --word-deletion, raise --span-scale",
        "too easy": "raise --word-deletion, lower --span-scale",
    }

    def claims(self, found: Found) -> bool:
        """Whether it is texts, by the columns' names, the first cells and the files' extensions."""
        return found.kind.name == self.name

    def recognise(self, head: Mapping[str, Sequence[str]]) -> Mapping[str, str | None]:
        """Which column holds the texts, and which ones what belongs to them, by their names and cells."""
        from nearfar.modalities.text.columns import recognise

        return recognise(head)

    def baselines(self) -> Sequence[Baseline]:
        """TF-IDF of words, TF-IDF of words and characters, BM25."""
        from nearfar.modalities.text.baselines import BM25, TfIdf

        return [TfIdf(characters=False), TfIdf(characters=True), BM25()]

    def source(self, samples: Samples, **reading: Any) -> TextSource:
        """The texts of these samples."""
        from nearfar.modalities.text.source import TextSource

        return TextSource(samples)

    def settle(
        self, options: TextOptions, source: TextSource, encoder: str | None, facts: Facts
    ) -> tuple[TextOptions, str, list[Choice]]:
        """Options without None, the encoder's name, and what was chosen."""
        from nearfar.modalities.text import making
        from nearfar.modalities.text.choosing import settled

        return settled(options, source, making.lasting(encoder) if encoder else None, facts)

    def weights_of(self, encoder: str) -> str | None:
        """The file of weights that a name such as `st:FOLDER` stands for, or `hub`; None where it has none."""
        from nearfar.modalities.text import making

        return making.weights_of(encoder)

    def encoder(
        self,
        name: str,
        source: TextSource,
        options: TextOptions,
        *,
        width: int | None = None,
        pretrained: str | None = None,
    ) -> TextEncoder:
        """A new encoder, whose words or tokens are those of the data, or a trained one by its name."""
        from nearfar.modalities.text import making

        if pretrained not in (None, making.weights_of(name)):
            raise ConfigError(
                f"The encoder {name!r} has no published weights: take hf:NAME, st:FOLDER or static:FILE, "
                "which have theirs, or --init RUN."
            )
        return making.new(name, source, options, width=width)

    def published(self, name: str, weights: str | None) -> TextEncoder | None:
        """The trained encoder that `hf:NAME`, `st:FOLDER` or `static:FILE` stands for."""
        from nearfar.modalities.text import making

        if name.partition(":")[0] not in making.PREFIXES:
            return None
        if weights not in (None, "hub"):
            raise ConfigError(f"{name!r} has weights of its own: leave out @{weights}.")
        return making.published(name, TextOptions(fetch_weights=weights == "hub"))

    def restore(self, config: Mapping[str, Any]) -> TextEncoder:
        """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.text import making

        return making.restored(config)

    def views(
        self,
        raw: Texts,
        draws: Rows,
        *,
        requires: Requirements,
        seed: int,
        options: TextOptions,
        encoder: TextEncoder,
    ) -> Views:
        """The views of a raw batch, text i keyed by (seed, draws[i], view), on the encoder's device."""
        from nearfar.modalities.text.views import make_views

        return make_views(raw, draws, requires=requires, seed=seed, options=options, encoder=encoder)

    def plain(self, raw: Texts, start: int, stop: int, encoder: TextEncoder) -> list[str]:
        """The texts."""
        return list(raw.strings[start:stop])

    def viewed(self, made: Any, encoder: TextEncoder) -> Any:
        """Texts as inputs; raises ConfigError for anything else."""
        from nearfar.modalities.text.source import Texts

        if not isinstance(made, list):
            raise ConfigError(f"views makes {type(made).__name__}: a view of a text is a text.")
        return encoder.prepare(Texts(made))

    def show(self, inputs: Any, encoder: TextEncoder) -> list[Card]:
        """The words of one view."""
        from nearfar.contract import Card
        from nearfar.modalities.text.source import shortened

        return [Card(key="", text=shortened(text)) for text in encoder.words(inputs)]


MODALITY = Text()
