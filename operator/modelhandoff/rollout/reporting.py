"""The decision report: kept once, when an attempt has ended and the status says so.

An errand, not a step: it runs after everything else of a pass, status included, and when it
cannot be done nothing waits for it. A report that was not kept can be made from the attempt at
any time; a report that was kept is never written again.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from modelhandoff.api.vocabulary import Phase
from modelhandoff.rollout.actions import KeepReport
from modelhandoff.rollout.attempt import moment
from modelhandoff.rollout.context import Context

KEEP_WITHIN: Final = timedelta(days=1)
"""What ended longer ago is not reported on as if it were now: an upgrade writes no hundreds."""


def keep_report(ctx: Context) -> KeepReport | None:
    """The newest ended attempt that lacks its report, if there is one."""
    if ctx.handoff.deleting:
        return None
    for attempt in reversed(ctx.snapshot.attempts):
        status = attempt.status
        ended = Phase(status.get("phase") or Phase.PENDING).terminal and status.get("verdict")
        if not ended or status.get("reportRef"):
            continue
        since = moment(status.get("phaseSince"))
        if since is not None and since + KEEP_WITHIN >= ctx.now:
            return KeepReport(attempt.name, attempt.resource_version)
    return None
