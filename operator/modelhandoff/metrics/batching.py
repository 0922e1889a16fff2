"""Many tenants, one query: questions about the same window are asked together.

All handoffs of one source share the grid, so at the end of an interval they all want the same
window. The first to ask starts a batch for everybody who asked lately; the others find their
part of the answer waiting. A batch that fails through the fault of one tenant (too many series,
too large, too slow) is cut in halves until that one is alone; he then asks alone for a while.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from modelhandoff.metrics.prometheus import Endpoint
from modelhandoff.metrics.queries import Scope, arm_of, chunks, selector
from modelhandoff.metrics.reads import Template
from modelhandoff.metrics.samples import Series
from modelhandoff.metrics.trouble import MetricsError, Trouble

__all__ = ["RETRY_AFTER", "Batches", "Window"]

LONGEST: Final = 16_000
"""Characters of namespaces and Deployment names in one query."""

LINGER: Final = 0.02
"""Seconds that a batch waits for others after the first question."""

REMEMBERED: Final = 3
"""Intervals after which a tenant that has not asked is no longer asked for."""

ALONE: Final = 20
"""Intervals for which a tenant that broke a batch asks alone."""

RETRY_AFTER: Final = 5.0
"""Seconds before a failed question is asked again, at most one interval."""

SLACK: Final = 2.5
"""Seconds by which a failed question may be repeated sooner, because another one is."""

_Result: TypeAlias = "tuple[Series, ...] | MetricsError"


@dataclass(frozen=True, slots=True)
class Window:
    """What a question is about, in Unix milliseconds.

    Attributes:
        end: when the range selector is evaluated.
        length: its range.
        interval: length of the asker's interval.
        steady: whether it is the usual window; only those are asked for in advance.
    """

    end: int
    length: int
    interval: int
    steady: bool


@dataclass(slots=True)
class _Batch:
    """Questions of one kind about one window that go out together."""

    template: Template | None
    window: Window
    now: float
    names: set[str] = field(default_factory=set)
    waiting: dict[Scope, asyncio.Future[_Result]] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, Window]:
        return ("" if self.template is None else self.template.text, self.window)

    def settle(self, scopes: Iterable[Scope], failure: MetricsError) -> None:
        for scope in scopes:
            self.waiting[scope].set_result(failure)


@dataclass(slots=True)
class _Answer:
    names: frozenset[str]
    future: asyncio.Future[_Result]
    asked: float


@dataclass(frozen=True, slots=True)
class _Subscription:
    names: frozenset[str]
    asked: float


class Batches:
    """Questions to one endpoint. Used from one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self._answers: dict[tuple[str, Window], dict[Scope, _Answer]] = {}
        self._served: dict[tuple[str, Window], set[Scope]] = {}
        self._open: dict[tuple[str, Window], _Batch] = {}
        self._subscribers: dict[tuple[str, int], dict[Scope, _Subscription]] = {}
        self._failing: set[Scope] = set()
        self._sizes: dict[Scope, int] = {}
        self._alone: dict[Scope, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def fetch(
        self,
        template: Template | None,
        names: frozenset[str],
        scope: Scope,
        window: Window,
        now: float,
    ) -> tuple[Series, ...]:
        """The series of one tenant in a window.

        Args:
            template: the tenant's own selection, or ``None`` for built-in ``names``.
            names: built-in metric names.
            scope: the tenant's Deployments.
            window: what is asked.
            now: Unix seconds.

        Raises:
            MetricsError: no usable answer. The same failure is given again, without asking, until
                :data:`RETRY_AFTER` has passed.
        """
        kind = "" if template is None else template.text
        key = (kind, window)
        self._subscribers.setdefault((kind, window.interval), {})[scope] = _Subscription(names, now)
        answer = self._answers.get(key, {}).get(scope)
        if answer is None or not names <= answer.names or _may_retry(answer, window, now):
            answer = self._add(self._opened(template, window, now), names, scope)
        # The future is shared: one asker that is cancelled must not take the others with him.
        result = await asyncio.shield(answer.future)
        if isinstance(result, MetricsError):
            raise MetricsError(result.trouble, str(result), user_action=result.user_action)
        # Samples are bulky and wanted once; who wants them again asks again.
        if self._answers.get(key, {}).pop(scope, None) is not None:
            self._served.setdefault(key, set()).add(scope)
        return result

    async def close(self) -> None:
        """Abandon what is under way."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.endpoint.close()

    def _opened(self, template: Template | None, window: Window, now: float) -> _Batch:
        fresh = _Batch(template, window, now)
        batch = self._open.setdefault(fresh.key, fresh)
        if batch is fresh:
            task = asyncio.create_task(self._serve(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        return batch

    def _add(self, batch: _Batch, names: frozenset[str], scope: Scope) -> _Answer:
        batch.names |= names
        future = batch.waiting.get(scope)
        if future is None:
            future = batch.waiting[scope] = asyncio.get_running_loop().create_future()
        answer = _Answer(names, future, batch.now)
        self._answers.setdefault(batch.key, {})[scope] = answer
        return answer

    async def _serve(self, batch: _Batch) -> None:
        try:
            await asyncio.sleep(LINGER)
            del self._open[batch.key]
            self._add_failed(batch)
            self._add_subscribers(batch)
            self._forget(batch)
            self._alone = {one: until for one, until in self._alone.items() if until > batch.now}
            together = [scope for scope in batch.waiting if scope not in self._alone]
            most = self.endpoint.source.max_series * 4 // 5
            groups = chunks(together, LONGEST, self._sizes, most)
            groups += [[scope] for scope in batch.waiting if scope in self._alone]
            await asyncio.gather(*(self._ask(batch, group) for group in groups))
        finally:
            for future in batch.waiting.values():
                if not future.done():
                    future.set_result(MetricsError(Trouble.REFUSED, "the question was abandoned"))

    def _add_failed(self, batch: _Batch) -> None:
        """Ask again for everybody whose same question failed long enough ago.

        They come back within moments of each other, but not together; else an outage would cost
        one question per handoff.
        """
        for scope, answer in list(self._answers.get(batch.key, {}).items()):
            if scope not in self._alone and _may_retry(answer, batch.window, batch.now + SLACK):
                self._add(batch, answer.names, scope)

    def _add_subscribers(self, batch: _Batch) -> None:
        """Ask in advance for everybody who asked the same in the last intervals."""
        window = batch.window
        known = self._subscribers.get((batch.key[0], window.interval), {})
        for scope, one in list(known.items()):
            if batch.now - one.asked > REMEMBERED * window.interval / 1000:
                del known[scope]
                self._sizes.pop(scope, None)
                self._failing.discard(scope)
            elif (
                # Those whose last question failed have all missed the same intervals.
                (window.steady or scope in self._failing)
                and scope not in self._answers.get(batch.key, {})
                and scope not in self._served.get(batch.key, ())
                and scope not in self._alone
            ):
                self._add(batch, one.names, scope)

    def _forget(self, batch: _Batch) -> None:
        """Drop the answers about earlier windows that nobody came for."""
        for key in {*self._answers, *self._served}:
            window = key[1]
            if window.interval == batch.window.interval and window.end < batch.window.end:
                self._answers.pop(key, None)
                self._served.pop(key, None)

    async def _ask(self, batch: _Batch, scopes: list[Scope]) -> None:
        """Ask for some scopes; cut them in halves when one of them is to blame."""
        failure = await self._try(batch, scopes)
        if failure is None:
            return
        if len(scopes) > 1 and failure.trouble.tenants_own:
            await self._bisect(batch, scopes, failure)
        else:
            self._give_up(batch, scopes, failure)

    async def _bisect(self, batch: _Batch, scopes: list[Scope], failure: MetricsError) -> None:
        middle = len(scopes) // 2
        halves = (scopes[:middle], scopes[middle:])
        if failure.trouble is not Trouble.TIMEOUT:
            await asyncio.gather(*(self._ask(batch, half) for half in halves))
            return
        # A source that is slow for both halves is slow for everybody: cutting on would only
        # put more questions to it, each waiting for its timeout.
        outcomes = await asyncio.gather(*(self._try(batch, half) for half in halves))
        everybody = all(one is not None for one in outcomes)
        for half, outcome in zip(halves, outcomes, strict=True):
            if outcome is None:
                continue
            if everybody or len(half) == 1:
                self._give_up(batch, half, outcome)
            else:
                await self._bisect(batch, half, outcome)

    async def _try(self, batch: _Batch, scopes: list[Scope]) -> MetricsError | None:
        labels = self.endpoint.source.labels
        query = selector(batch.names, batch.template, scopes, labels, batch.window.length)
        try:
            series = await self.endpoint.ask(query, batch.window.end)
        except MetricsError as error:
            return error
        for scope, part in _shares(series, scopes, labels.namespace, labels.pod).items():
            self._sizes[scope] = len(part)
            self._failing.discard(scope)
            batch.waiting[scope].set_result(tuple(part))
        return None

    def _give_up(self, batch: _Batch, scopes: list[Scope], failure: MetricsError) -> None:
        if len(scopes) == 1 and failure.trouble.tenants_own:
            self._alone[scopes[0]] = batch.now + ALONE * batch.window.interval / 1000
        self._failing.update(scopes)
        batch.settle(scopes, failure)


def _may_retry(answer: _Answer, window: Window, now: float) -> bool:
    return (
        answer.future.done()
        and isinstance(answer.future.result(), MetricsError)
        and now >= answer.asked + min(RETRY_AFTER, window.interval / 1000)
    )


def _shares(
    series: Iterable[Series], scopes: Iterable[Scope], namespace: str, pod: str
) -> dict[Scope, list[Series]]:
    """Each tenant's own part of a shared answer; what belongs to nobody is dropped."""
    parts: dict[Scope, list[Series]] = {scope: [] for scope in scopes}
    owners: dict[str, dict[str, list[list[Series]]]] = {}
    for scope, part in parts.items():
        for workload in scope.workloads:
            owners.setdefault(scope.namespace, {}).setdefault(workload, []).append(part)
    found: dict[tuple[str, str], list[list[Series]]] = {}
    for one in series:
        place = one.labels.get(namespace, ""), one.labels.get(pod, "")
        shares = found.get(place)
        if shares is None:
            workloads = owners.get(place[0], {})
            owner = arm_of(place[1], workloads)
            shares = found[place] = workloads[owner] if owner is not None else []
        for part in shares:
            part.append(one)
    return parts
