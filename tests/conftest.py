"""What tests of several parts share."""

import os

import pytest


@pytest.fixture
def flushes(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one whenever everything is flushed to disk, which is not done."""
    counted: list[None] = []
    monkeypatch.setattr(os, "sync", lambda: counted.append(None))
    return counted
