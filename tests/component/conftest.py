"""Component tests: the whole controller against a small API in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.component.world import World, world


@pytest.fixture
async def place() -> AsyncIterator[World]:
    """A world without an operator yet."""
    async with world() as made:
        yield made
