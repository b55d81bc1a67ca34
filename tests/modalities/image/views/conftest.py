"""What the tests of views share."""

import pytest

from nearfar.modalities.image.views import plain, recipe


@pytest.fixture
def take(monkeypatch):
    """`take("single")` or `take("batched")`: the way in which all views are made from there on."""

    def choose(way):
        for module in (plain, recipe):
            monkeypatch.setattr(module, "one_by_one", lambda pictures: way == "single")

    return choose


@pytest.fixture(params=["single", "batched"])
def way(request, take):
    """Both ways to make views, one after the other."""
    take(request.param)
    return request.param
