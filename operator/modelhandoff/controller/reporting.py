"""When the handoff's status is written: at once when something happened, else now and then."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from modelhandoff.api.vocabulary import ConditionType, Reason
from modelhandoff.errors import ForbiddenError, HandoffError, cut
from modelhandoff.rollout.attempt import stamp

MAX_MESSAGE = 1000


def news(status: Mapping[str, Any]) -> dict[str, Any]:
    """The status without the numbers that move at every look.

    What is left changes on a change of phase, step, weight, verdict or condition: that is worth
    a write of its own. The checklist is counted from the conditions.
    """
    moving = ("message", "metrics", "checklist")
    kept = {key: value for key, value in status.items() if key not in moving}
    if "verdict" in kept:
        kept["verdict"] = _without(kept["verdict"])
    kept["conditions"] = [_without(condition) for condition in kept.get("conditions") or ()]
    return kept


def _without(part: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in part.items() if key != "message"}


def refused(
    status: Mapping[str, Any], error: HandoffError, now: datetime, before: Mapping[str, Any]
) -> dict[str, Any]:
    """The status when a write was refused: what was wanted, and who would not have it.

    ``status`` is what the decision rendered; ``before`` is what is stored, for the times of
    transitions.
    """
    reason = Reason.PERMISSION_DENIED if isinstance(error, ForbiddenError) else Reason.API_REFUSED
    message = cut(" ".join(filter(None, (f"{error}.", error.user_action))), MAX_MESSAGE)
    told = copy.deepcopy(dict(status))
    told["message"] = message
    old = {c["type"]: c for c in before.get("conditions") or ()}
    values = {
        ConditionType.READY: "False",
        ConditionType.RECONCILING: "True",
        ConditionType.STALLED: "True",
    }
    for condition in told.get("conditions") or ():
        if condition["type"] not in values:
            continue
        value = values[condition["type"]]
        same = old.get(condition["type"], {}).get("status") == value
        condition |= {
            "status": value,
            "reason": str(reason),
            "message": message,
            "lastTransitionTime": old[condition["type"]]["lastTransitionTime"]
            if same
            else stamp(now),
        }
    return told
