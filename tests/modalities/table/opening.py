"""Tables opened for a test."""

from typing import Any

from nearfar.modalities.opening import open_source
from nearfar.modalities.table import MODALITY
from nearfar.modalities.table.source import TableSource


def opened(data: str, **more: Any) -> TableSource:
    """The rows of DATA, as `open_source` opens them."""
    source = open_source(MODALITY, data, **more)
    assert isinstance(source, TableSource)
    return source
