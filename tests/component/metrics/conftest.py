"""Fixtures for tests against a real Prometheus."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .exposition import Pod
from .prometheus import Prometheus


@pytest.fixture(scope="session")
def prometheus_binary() -> Path:
    """The program: named by MODELHANDOFF_PROMETHEUS, else the one the test cluster uses."""
    given = os.environ.get("MODELHANDOFF_PROMETHEUS")
    if given:
        return Path(given)
    from e2e.cluster import build

    return build.binaries("stack").prometheus


@pytest.fixture
def pod() -> Iterator[Callable[[str], Pod]]:
    """Make pods; all are gone when the test ends."""
    made: list[Pod] = []

    def make(name: str) -> Pod:
        made.append(Pod(name))
        return made[-1]

    yield make
    for one in made:
        one.kill()


@pytest.fixture
def prometheus(prometheus_binary: Path, tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Start an instance that scrapes the given pods; it is gone when the test ends."""
    made: list[Prometheus] = []

    def make(pods: list[Pod], jobs: int = 1) -> Prometheus:
        made.append(Prometheus(prometheus_binary, tmp_path / str(len(made)), pods, jobs))
        return made[-1].start()

    yield make
    for one in made:
        one.stop()
