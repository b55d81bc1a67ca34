"""What the tests of views share."""

import pytest

from nearfar.modalities.image.views import pieces


@pytest.fixture
def large(monkeypatch):
    """`large(side)`: pictures on a CPU go by pieces from this many pixels a side on."""
    return lambda side: monkeypatch.setattr(pieces, "LARGE", side)
