"""Tasks that live and end together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

Start = Callable[[Coroutine[Any, Any, Any], str], asyncio.Task[Any]]


@contextlib.asynccontextmanager
async def together() -> AsyncIterator[Start]:
    """Tasks that do not outlive the block, whatever ends it; each failure is the caller's."""
    tasks: list[asyncio.Task[Any]] = []

    def start(work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.create_task(work, name=name)
        tasks.append(task)
        return task

    try:
        yield start
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def error_of(task: asyncio.Task[Any]) -> BaseException | None:
    """What a task ended with; ``None`` while it runs, when it was cancelled or ended well."""
    return task.exception() if task.done() and not task.cancelled() else None


def failure(task: asyncio.Task[Any]) -> str:
    """Why a task that should run for ever has ended, as a sentence."""
    error = error_of(task)
    return f"{type(error).__name__}: {error}" if error is not None else f"{task.get_name()} ended"
