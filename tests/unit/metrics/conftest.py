"""Fixtures for tests of the metrics room."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .loopback import LoopbackPrometheus


@pytest.fixture
def api() -> Iterator[LoopbackPrometheus]:
    made = LoopbackPrometheus()
    yield made
    made.close()
