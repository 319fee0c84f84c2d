"""Small worlds see both ways of finding partners: trying a few, and the indexes of a crowd."""

import pytest

from domain.matching import pair_pool


@pytest.fixture(params=[pair_pool.FEW, 1], ids=["tried", "indexed"])
def few(request, monkeypatch):
    """How many legs are still tried one by one."""
    monkeypatch.setattr(pair_pool, "FEW", request.param)
