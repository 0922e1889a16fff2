"""``wait``: until the verdict, with an exit code that scripts can rely on."""

from __future__ import annotations

import time
from dataclasses import dataclass

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Phase
from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api, Raw, patiently
from modelhandoff.cli.kubectl.printing import echo, span, warn
from modelhandoff.cli.kubectl.problem import Code, MissingError, Trouble, UnreachableError
from modelhandoff.cluster.kinds import HANDOFF

_WATCH_SECONDS = 240.0
_RETRY_SECONDS = 2.0
_PATIENCE = 300.0
"""Seconds without any answer after which waiting is given up."""
_ENDED = {
    Phase.PROMOTED: Code.OK,
    Phase.ROLLED_BACK: Code.ROLLED_BACK,
    Phase.REJECTED: Code.REJECTED,
    Phase.INCONCLUSIVE: Code.INCONCLUSIVE,
    Phase.ABORTED: Code.ABORTED,
    Phase.FALLEN_BACK: Code.ROLLED_BACK,
}
_BEFORE_TRAFFIC = frozenset(
    {
        "",
        Phase.PENDING,
        Phase.VERIFYING,
        Phase.AWAITING_APPROVAL,
        Phase.PROVISIONING,
        Phase.WARMING_UP,
    }
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a handoff stands for those who wait.

    Attributes:
        code: the exit code; ``None`` while it goes on.
        told: one line.
    """

    code: Code | None
    told: str


def judge(handoff: Raw, *, fail_on_pause: bool = False) -> Verdict:
    """How a handoff stands, from its status alone."""
    meta, status = handoff["metadata"], lookup.status_of(handoff)
    if int(status.get("observedGeneration", -1)) < int(meta.get("generation") or 0):
        return Verdict(None, "waiting for the operator to look at the handoff")
    told = str(status.get("message") or status.get("phase") or "no status yet")
    conditions = lookup.conditions_of(handoff)
    phase = str(status.get("phase") or "")
    if _value(conditions, "Ready") == "True":
        return Verdict(Code.OK, told)
    if _retry_pending(handoff, phase):
        return Verdict(None, "waiting for the operator to begin the retry")
    if _value(conditions, "Stalled") == "True":
        return Verdict(_stalled(phase), told)
    if fail_on_pause and _value(conditions, "Paused") == "True":
        return Verdict(Code.PAUSED, told)
    return Verdict(None, told)


def _stalled(phase: str) -> Code:
    """A stalled handoff: how its attempt ended, or that it cannot go on as it is."""
    if phase in _ENDED and phase != Phase.PROMOTED:
        return _ENDED[Phase(phase)]
    if phase in _BEFORE_TRAFFIC or phase in (Phase.SUPERSEDED, Phase.PROMOTED):
        # Nothing of what the handoff now says has had traffic: invalid, conflict, no baseline.
        return Code.REJECTED
    return Code.INCONCLUSIVE


def _retry_pending(handoff: Raw, phase: str) -> bool:
    """A retry was asked for and the status still speaks of the attempt before it."""
    annotations = handoff["metadata"].get("annotations") or {}
    asked = annotations.get(names.ANNOTATION_RETRY)
    ended = phase in _ENDED and phase != Phase.PROMOTED
    return bool(asked) and ended and asked == lookup.current_name(handoff)


def _value(conditions: object, kind: str) -> str:
    found = conditions.get(kind) if isinstance(conditions, dict) else None
    return str((found or {}).get("status") or "")


def wait(api: Api, name: str, *, timeout: str, fail_on_pause: bool, quiet: bool) -> Code:
    """Wait for the verdict and print it; progress goes to standard error.

    Raises:
        Trouble: the handoff is gone, or the API server does not answer for minutes.
    """
    deadline = None if not timeout else time.monotonic() + _seconds(timeout)
    handoff = lookup.find(api, name)
    meta = handoff["metadata"]
    last, lost_since = "", 0.0
    while True:
        verdict = judge(handoff, fail_on_pause=fail_on_pause)
        if verdict.code is not None:
            echo(verdict.told)
            return verdict.code
        if not quiet and verdict.told != last:
            warn(verdict.told)
            last = verdict.told
        if deadline is not None and time.monotonic() >= deadline:
            warn(f"timeout: no verdict on {meta['namespace']}/{meta['name']} within {timeout}")
            return Code.TIMEOUT
        try:
            handoff = _next(api, handoff, deadline)
            lost_since = 0.0
        except UnreachableError as failure:
            lost_since = lost_since or time.monotonic()
            if time.monotonic() - lost_since > _PATIENCE:
                raise
            if not quiet and str(failure) != last:
                last = str(failure)
                warn(f"{last}; trying again for {span(_PATIENCE)}")
            patiently(_RETRY_SECONDS, deadline)


def _next(api: Api, handoff: Raw, deadline: float | None) -> Raw:
    """The handoff once it has changed, or as it is when the watch ends."""
    meta = handoff["metadata"]
    left = _WATCH_SECONDS if deadline is None else max(0.0, deadline - time.monotonic())
    for event in api.watch(HANDOFF, meta["namespace"], meta["name"], min(_WATCH_SECONDS, left)):
        changed = event.get("object") or {}
        if event.get("type") == "DELETED":
            raise Trouble(f"{meta['namespace']}/{meta['name']}: the handoff was deleted")
        if event.get("type") not in ("ADDED", "MODIFIED"):
            break
        if changed["metadata"].get("uid") != meta.get("uid"):
            raise Trouble(f"{meta['namespace']}/{meta['name']}: the handoff was replaced")
        if changed["metadata"].get("resourceVersion") != meta.get("resourceVersion"):
            return dict(changed)
        if deadline is not None and time.monotonic() >= deadline:
            return handoff
    try:
        return api.get(HANDOFF, meta["namespace"], meta["name"])
    except MissingError:
        raise Trouble(f"{meta['namespace']}/{meta['name']}: the handoff was deleted") from None


def _seconds(text: str) -> float:
    from modelhandoff.api.quantities import parse_duration

    try:
        return parse_duration(text).total_seconds()
    except ValueError:
        raise Trouble(f"--timeout: not a duration; got {text}; allowed 90s, 20m or 72h") from None
