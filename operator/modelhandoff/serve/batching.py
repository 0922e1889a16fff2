"""Waiting requests share one call of the model, and never each other's failures.

While every worker is busy, requests queue; the worker that comes free takes as many of them
as fit. An idle worker takes a request at once (or after ``max_wait``, to let company arrive).
When a shared call fails, each request is run alone, so that one bad row costs its own request
only. Joining needs tensors whose first dimension is free; the warm-up finds out whether a
model really treats rows independently (see ``warmup``).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np

from modelhandoff.serve.model import ModelFailed, Runnable
from modelhandoff.serve.tensors import Feeds


class TooManyWaiting(Exception):
    """The queue is full."""


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """How requests share calls.

    Attributes:
        max_rows: rows per shared call; 1 turns sharing off. A larger request runs alone.
        max_wait: seconds an idle worker waits for company.
        workers: calls at a time.
        max_pending: requests waiting or running; above it ``TooManyWaiting``.
    """

    max_rows: int = 16
    max_wait: float = 0.0
    workers: int = 1
    max_pending: int = 256


@dataclass(slots=True)
class _Job:
    feeds: Feeds
    rows: int
    answer: asyncio.Future[Feeds]
    key: tuple[tuple[str, tuple[int, ...]], ...] = field(init=False)

    def __post_init__(self) -> None:
        self.key = tuple((name, array.shape[1:]) for name, array in self.feeds.items())


class Batcher:
    """A bounded queue in front of a bounded pool of model calls.

    Args:
        model: what to call.
        limits: sizes and waits.
        joins_rows: whether requests may share a call.
        on_call: told the number of rows of each call of the model; runs on the event loop.
    """

    def __init__(
        self,
        model: Runnable,
        limits: BatchLimits,
        *,
        joins_rows: bool,
        on_call: Callable[[int], None] = lambda _rows: None,
    ) -> None:
        self._model = model
        self._limits = limits
        self._max_rows = limits.max_rows if joins_rows else 1
        self._on_call = on_call
        self._pool = ThreadPoolExecutor(limits.workers, thread_name_prefix="inference")
        self._waiting: deque[_Job] = deque()
        self._arrived = asyncio.Condition()
        self._pending = 0
        self._tasks = [asyncio.create_task(self._work()) for _ in range(limits.workers)]

    @property
    def pending(self) -> int:
        """Requests waiting or running."""
        return self._pending

    async def submit(self, feeds: Feeds, rows: int) -> Feeds:
        """Outputs for one request, in its own rows.

        Raises:
            ModelFailed: the model failed on this request's rows.
            TooManyWaiting: the queue is full.
        """
        if self._pending >= self._limits.max_pending:
            raise TooManyWaiting
        job = _Job(feeds, rows, asyncio.get_running_loop().create_future())
        self._pending += 1
        try:
            async with self._arrived:
                self._waiting.append(job)
                self._arrived.notify_all()
            return await job.answer
        finally:
            self._pending -= 1

    async def close(self) -> None:
        """Stop the workers. Call it when nothing is pending any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._pool.shutdown(wait=True)

    async def _work(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            async with self._arrived:
                await self._arrived.wait_for(lambda: bool(self._waiting))
            if self._limits.max_wait > 0 and self._waiting_rows() < self._max_rows:
                await self._wait_for_company()
            batch = self._take()
            if not batch:
                continue
            outcomes = await loop.run_in_executor(self._pool, self._call, batch)
            for job, outcome in zip(batch, outcomes, strict=True):
                if job.answer.done():  # its client's patience ended meanwhile
                    continue
                if isinstance(outcome, Exception):
                    job.answer.set_exception(outcome)
                else:
                    job.answer.set_result(outcome)
            self._on_call(sum(job.rows for job in batch))

    def _waiting_rows(self) -> int:
        return sum(job.rows for job in self._waiting)

    async def _wait_for_company(self) -> None:
        async with self._arrived:
            try:
                async with asyncio.timeout(self._limits.max_wait):
                    await self._arrived.wait_for(lambda: self._waiting_rows() >= self._max_rows)
            except TimeoutError:
                pass

    def _take(self) -> list[_Job]:
        """The oldest job and those right behind it that fit into the same call."""
        batch: list[_Job] = []
        rows = 0
        while self._waiting:
            job = self._waiting[0]
            if job.answer.done():
                self._waiting.popleft()
                continue
            if batch and (job.key != batch[0].key or rows + job.rows > self._max_rows):
                break
            batch.append(self._waiting.popleft())
            rows += job.rows
        return batch

    def _call(self, batch: list[_Job]) -> list[Feeds | Exception]:
        """One outcome per job; runs in the pool."""
        if len(batch) > 1:
            try:
                return list(self._shared_call(batch))
            except ModelFailed:
                pass  # somebody's rows are bad: find out whose
        return [self._single_call(job) for job in batch]

    def _single_call(self, job: _Job) -> Feeds | Exception:
        try:
            return self._model.run(job.feeds)
        except ModelFailed as error:
            return error

    def _shared_call(self, batch: list[_Job]) -> list[Feeds]:
        feeds = {
            name: np.concatenate([job.feeds[name] for job in batch]) for name in batch[0].feeds
        }
        outputs = self._model.run(feeds)
        total = sum(job.rows for job in batch)
        if any(array.shape[:1] != (total,) for array in outputs.values()):
            raise ModelFailed("the model did not answer row by row")
        shares: list[Feeds] = []
        start = 0
        for job in batch:
            end = start + job.rows
            shares.append({name: array[start:end] for name, array in outputs.items()})
            start = end
        return shares
