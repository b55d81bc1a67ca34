"""Texts: lines of a file, cells of a table, or files.

A view is a text with some words left out, or a span of it; where the encoder has dropout, that alone may be enough.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nearfar.contract import Modality
from nearfar.errors import ConfigError, UnknownName
from nearfar.modalities.text.columns import COLUMNS
from nearfar.modalities.text.options import ENCODERS, TextOptions

if TYPE_CHECKING:
    from nearfar.contract import Card, Requirements, Rows, Views
    from nearfar.data.glance import Found
    from nearfar.data.samples import Samples
    from nearfar.modalities.text.bag import Bag
    from nearfar.modalities.text.encoder import TextEncoder
    from nearfar.modalities.text.source import Texts, TextSource
    from nearfar.options import Choice, Facts

__all__ = ["MODALITY", "Text"]

_COUNTED = 20_000  # texts whose words are counted


class Text(Modality):
    """The modality `text`."""

    name = "text"
    Options = TextOptions
    encoders = ENCODERS
    extensions = frozenset({".txt", ".md"})
    columns = COLUMNS
    inline = True
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

    def source(self, samples: Samples, **reading: Any) -> TextSource:
        """The texts of these samples."""
        from nearfar.modalities.text.source import TextSource

        return TextSource(samples)

    def settle(
        self, options: TextOptions, source: TextSource, encoder: str | None, facts: Facts
    ) -> tuple[TextOptions, str, list[Choice]]:
        """Options without None, the encoder's name, and what was chosen."""
        from nearfar.options import Choice, Settling

        settling = Settling(options)
        settling.choose("max_length", 256, "words, which most texts do not reach")
        settling.choose("word_deletion", 0.2, "a fifth of the words: texts stay what they say")
        settling.choose("span_scale", 0.6, "views share most of their words")
        if not encoder:
            settling.choices.append(Choice("encoder", "bag", "the fastest, and good on little data"))
        self._check(encoder or "bag")
        return settling.options, encoder or "bag", settling.choices

    def encoder(
        self,
        name: str,
        source: TextSource,
        options: TextOptions,
        *,
        width: int | None = None,
        pretrained: str | None = None,
    ) -> TextEncoder:
        """A new encoder; the words of up to 20,000 texts are counted. Raises UnknownName and ConfigError."""
        import numpy as np

        self._check(name)
        if pretrained is not None:
            raise ConfigError(f"The encoder {name!r} has no published weights: leave out --pretrained.")
        config = {
            "modality": self.name,
            "encoder": name,
            "width": width or 256,
            "buckets": options.buckets,
            "max_length": options.max_length or 256,
        }
        made = self.restore(config)
        some = np.arange(0, len(source), max(1, len(source) // _COUNTED))
        made.weigh(source.fetch(some)[0].strings)
        return made

    def restore(self, config: Mapping[str, Any]) -> Bag:
        """The encoder that `config` describes, its weights not yet loaded; raises ConfigError where it is none."""
        from nearfar.modalities.text.bag import Bag
        from nearfar.options import text

        self._check(text(config, "encoder"))
        return Bag(config)

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

    def show(self, inputs: Any, encoder: TextEncoder) -> list[Card]:
        """The words of one view."""
        from nearfar.contract import Card
        from nearfar.modalities.text.source import shortened

        return [Card(key="", text=shortened(text)) for text in encoder.words(inputs)]

    def _check(self, encoder: str) -> None:
        if encoder not in self.encoders:
            raise UnknownName("encoder", encoder, self.encoders)


MODALITY = Text()
