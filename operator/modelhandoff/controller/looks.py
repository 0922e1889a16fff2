"""From a snapshot to what the metrics say now: one question to the metrics room, one judgement."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass

from modelhandoff.api.vocabulary import Reason
from modelhandoff.controller.abreast import Abreast
from modelhandoff.controller.handoff_series import LastLook
from modelhandoff.controller.telemetry import Telemetry
from modelhandoff.metrics.collector import (
    Answer,
    Arms,
    Closed,
    Collector,
    CollectRequest,
    Exclusion,
    NotYet,
    Segment,
    Unknown,
)
from modelhandoff.metrics.cursor import Cursor, CursorError
from modelhandoff.metrics.trouble import Trouble
from modelhandoff.rollout.actions import Collected
from modelhandoff.rollout.context import Context
from modelhandoff.rollout.inheriting import inherited
from modelhandoff.rollout.judging import (
    Memory,
    bin_edges,
    judge_again,
    judge_intervals,
    judged_state,
    measurement,
)
from modelhandoff.rollout.measure import Measurement
from modelhandoff.rollout.snapshot import Snapshot

log = logging.getLogger(__name__)

SOONEST = 0.5
"""Seconds: a look that is due is never asked for more often than this."""

REMEMBERED = 512
"""Attempts whose evidence is kept decoded, about 100 KB each."""


@dataclass(slots=True)
class _Asked:
    attempt: str
    cursor: str
    answer: Answer


class Looks:
    """What every pass asks of the metrics; what it remembers only spares work."""

    def __init__(self, collector: Collector, lag: float, telemetry: Telemetry) -> None:
        self._collector = collector
        self._lag = lag
        self._telemetry = telemetry
        self._memories: dict[str, Memory] = {}
        # One judgement per turn of the event loop: looks fall due together, and two hundred of
        # them in a row would keep the lease from being renewed.
        self._turn = asyncio.Lock()
        self._abreast = Abreast()

    def of_pass(self) -> Pass:
        """A new pass: the metrics are asked at most once until its answer has been stored."""
        return Pass(
            self._collector, self._lag, self._telemetry, self._memory,
            turn=self._turn, abreast=self._abreast,
        )  # fmt: skip

    def _memory(self, attempt: str) -> Memory:
        """What is remembered of an attempt, by uid; of very many only the newest."""
        found = self._memories.pop(attempt, None) or Memory()
        self._memories[attempt] = found
        while len(self._memories) > REMEMBERED:
            del self._memories[next(iter(self._memories))]
        return found


class Pass:
    """One pass's looks. Writes within the pass change the snapshot, so it is asked repeatedly."""

    def __init__(
        self,
        collector: Collector,
        lag: float,
        telemetry: Telemetry,
        memory: Callable[[str], Memory],
        *,
        turn: asyncio.Lock,
        abreast: Abreast,
    ) -> None:
        self._collector = collector
        self._lag = lag
        self._telemetry = telemetry
        self._memory = memory
        self._turn = turn
        self._abreast = abreast
        self._asked: _Asked | None = None

    async def collect(self, snapshot: Snapshot) -> Collected | None:
        """What the metrics say of this snapshot; ``None`` when there is nothing to measure."""
        ctx = Context(snapshot)
        wanted = measurement(ctx)
        if wanted is None or ctx.attempt is None:
            return None
        now = snapshot.now.timestamp()
        answer = await self._ask(ctx, wanted, now)
        if isinstance(answer, Closed):
            await self._abreast.take(self._memory(ctx.attempt.uid), answer.intervals)
        if not isinstance(answer, Unknown):
            try:
                async with self._turn:
                    judged = self._judge(ctx, wanted, answer, now)
            except ValueError as error:
                said = f"the stored evidence cannot be continued: {error}"
                answer = _damaged(said, now + wanted.interval)
            else:
                if isinstance(answer, Closed):
                    self._remember(ctx, answer, judged)
                return judged
        return Collected(
            unknown_reason=str(answer.reason),
            unknown_message=answer.message,
            next_due=max(SOONEST, answer.retry_at - now),
        )

    def _judge(
        self, ctx: Context, wanted: Measurement, answer: Closed | NotYet, now: float
    ) -> Collected:
        assert ctx.attempt is not None
        memory, at = self._memory(ctx.attempt.uid), ctx.now
        match answer:
            case Closed():
                return judge_intervals(
                    ctx.spec,
                    ctx.state,
                    answer.intervals,
                    answer.cursor.to_json(),
                    at,
                    edges=answer.edges,
                    history="" if ctx.state.evidence else inherited(ctx),
                    next_due=self._next(wanted, now),
                    warnings=answer.warnings,
                    memory=memory,
                )
            case NotYet():
                due = max(SOONEST, answer.until - now)
                return judge_again(ctx.spec, ctx.state, at, due, memory) or Collected(next_due=due)

    def _remember(self, ctx: Context, answer: Closed, judged: Collected) -> None:
        """Keep for the next scrape what a status has no room for."""
        assert ctx.attempt is not None
        counted = [i.requests for i in answer.intervals if i.requests[1] is not None]
        candidate = sum(mine for mine, _ in counted)
        everything = candidate + sum(theirs or 0.0 for _, theirs in counted)
        verdict = judged.verdict
        self._telemetry.last_looks[ctx.handoff.namespace, ctx.handoff.name] = LastLook(
            attempt=ctx.attempt.name,
            share=candidate / everything if everything else None,
            total_e=verdict.total_e if verdict else None,
            evidence={m.name: m.log_e_harm for m in verdict.metrics} if verdict else None,
        )

    async def _ask(self, ctx: Context, wanted: Measurement, now: float) -> Answer:
        assert ctx.attempt is not None
        asked, stored = self._asked, judged_state(ctx.spec, ctx.state).cursor
        if asked is not None and (asked.attempt, asked.cursor) == (ctx.attempt.name, stored):
            return asked.answer
        try:
            cursor = Cursor.from_json(stored) if stored else None
        except CursorError as error:
            return _damaged(str(error), now + wanted.interval)
        with self._telemetry.look_seconds.time():
            answer = await self._collector.collect(_request(ctx, wanted, self._lag), cursor, now)
        self._telemetry.looks.labels(_word(answer)).inc()
        self._asked = _Asked(ctx.attempt.name, stored, answer)
        return answer

    def _next(self, wanted: Measurement, now: float) -> float:
        """Seconds until the running interval can be closed."""
        open_since = math.floor((now - self._lag) / wanted.interval) * wanted.interval
        return max(SOONEST, open_since + wanted.interval + self._lag - now)


def _request(ctx: Context, wanted: Measurement, lag: float) -> CollectRequest:
    handoff = ctx.handoff
    return CollectRequest(
        key=f"{handoff.namespace}/{handoff.name}",
        source=wanted.source,
        namespace=handoff.namespace,
        arms=Arms(wanted.candidate, wanted.baseline),
        metrics=ctx.spec.monitoring.metrics,
        interval=wanted.interval,
        lag=lag,
        schedule=tuple(Segment(s.start, s.step, s.weight) for s in wanted.stages),
        exclusions=tuple(Exclusion(e.start, e.end, e.why) for e in wanted.exclusions),
        begin=wanted.begin,
        bins=bin_edges(ctx.state),
    )


def _word(answer: Answer) -> str:
    match answer:
        case Closed():
            return "Closed"
        case NotYet():
            return "NotYet"
        case Unknown():
            return str(answer.reason)


def _damaged(message: str, retry_at: float) -> Unknown:
    # A checkpoint that cannot be continued holds the weight and never lifts it; whatever else is to
    # be decided (an abort, a deletion) still is.
    return Unknown(Reason.METRICS_INVALID, message, Trouble.MISCONFIGURED, retry_at)


Look = Callable[[], Pass]
"""Starts the looks of one pass."""
