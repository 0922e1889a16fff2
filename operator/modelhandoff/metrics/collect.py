"""The collector over Prometheus: one look = one shared query, walked pod by pod."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final

from modelhandoff.metrics.batching import RETRY_AFTER, Batches
from modelhandoff.metrics.collector import (
    Answer,
    Arms,
    CollectRequest,
    Cursor,
    NotYet,
    Unknown,
)
from modelhandoff.metrics.look import Look
from modelhandoff.metrics.prometheus import Endpoint, OnQuery, Source
from modelhandoff.metrics.queries import Scope
from modelhandoff.metrics.samples import Series
from modelhandoff.metrics.trouble import MetricsError, Trouble

__all__ = ["PrometheusCollector"]


REMEMBERED: Final = 1000
"""Askers whose newest answer is kept."""


class PrometheusCollector:
    """A :class:`~.collector.Collector`. One per process, so that handoffs share their queries.

    Args:
        sources: the configured metric sources.
        monotonic: a clock for timeouts, in seconds.

    Attributes:
        on_query: told of every query that is sent from now on.
    """

    def __init__(self, sources: Iterable[Source], monotonic: Callable[[], float]) -> None:
        self.on_query: OnQuery = lambda *_: None
        self._monotonic = monotonic
        self._sources = {source.name: source for source in sources}
        self._batches: dict[str, Batches] = {}
        self._answers: dict[str, tuple[tuple[object, ...], Answer]] = {}
        self._abandoned: set[asyncio.Task[None]] = set()
        self._asked = 0

    def configure(self, sources: Iterable[Source]) -> None:
        """Replace the sources; connections of those that are unchanged stay."""
        wanted = {source.name: source for source in sources}
        for name, batches in list(self._batches.items()):
            if wanted.get(name) != batches.endpoint.source:
                self._asked += batches.endpoint.asked
                del self._batches[name]
                task = asyncio.get_running_loop().create_task(batches.close())
                self._abandoned.add(task)
                task.add_done_callback(self._abandoned.discard)
        self._sources = wanted

    @property
    def asked(self) -> int:
        """Queries sent so far, for figures and tests."""
        return self._asked + sum(one.endpoint.asked for one in self._batches.values())

    async def close(self) -> None:
        """Close all connections."""
        await asyncio.gather(*(one.close() for one in self._batches.values()), *self._abandoned)
        self._batches.clear()

    async def collect(self, request: CollectRequest, cursor: Cursor | None, now: float) -> Answer:
        """See :meth:`~.collector.Collector.collect`."""
        look = Look(request, cursor, now)
        if look.too_early is not None:
            return NotYet(look.too_early)
        known = self._answers.get(request.key)
        if known is not None and known[0] == look.identity:
            return known[1]
        try:
            series = await self._fetch(look, now)
        except MetricsError as error:
            return _unknown(error, now + min(RETRY_AFTER, request.interval))
        answer: Answer
        try:
            answer = look.close(series, self._sources[request.source].labels)
        except MetricsError as error:
            # The window's answer is final: nothing new can be learned before the next one.
            answer = _unknown(error, look.next_window)
        self._remember(request.key, look.identity, answer)
        return answer

    def _remember(self, key: str, identity: tuple[object, ...], answer: Answer) -> None:
        """Keep the newest answer of every asker.

        Who asks again, after a conflict or for a watch event, gets the same without a query.
        """
        self._answers.pop(key, None)
        self._answers[key] = (identity, answer)
        while len(self._answers) > REMEMBERED:
            del self._answers[next(iter(self._answers))]

    async def _fetch(self, look: Look, now: float) -> tuple[Series, ...]:
        request = look.request
        batches = self._batch(request)
        scope = _scope(request.namespace, request.arms)
        wanted = look.reads
        shared, *own = await asyncio.gather(
            batches.fetch(None, wanted.builtin, scope, look.window, now),
            *(
                batches.fetch(template, frozenset(), scope, look.window, now)
                for template in wanted.templates
            ),
        )
        renamed = (
            replace(one, name=template.text)
            for template, part in zip(wanted.templates, own, strict=True)
            for one in part
        )
        return (*shared, *renamed)

    def _batch(self, request: CollectRequest) -> Batches:
        source = self._sources.get(request.source)
        if source is None:
            known = ", ".join(sorted(self._sources)) or "none"
            raise MetricsError(
                Trouble.MISCONFIGURED,
                f"no metric source named {request.source!r}; configured: {known}",
                user_action="name the source in the policy",
            )
        if source.name not in self._batches:
            self._batches[source.name] = Batches(Endpoint(source, self._monotonic, self._tell))
        return self._batches[source.name]

    def _tell(self, source: str, result: str, seconds: float) -> None:
        self.on_query(source, result, seconds)


def _scope(namespace: str, arms: Arms) -> Scope:
    names = {arms.candidate, *([arms.baseline] if arms.baseline is not None else [])}
    return Scope(namespace, tuple(sorted(names)))


def _unknown(error: MetricsError, retry: float) -> Unknown:
    return Unknown(error.trouble.reason, str(error), error.trouble, retry)
