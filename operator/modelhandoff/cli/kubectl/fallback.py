"""The documented manual fallback: take the candidate off the HTTPRoute itself.

For the night when the operator is down. Traffic is an ordinary HTTPRoute, so what ``docs/
operations.md`` describes with ``kubectl edit`` is done here, conflict-checked, after asking. The
operator reads it as an abort once it is back.
"""

from __future__ import annotations

import copy
import sys
from dataclasses import dataclass

from modelhandoff.api import names
from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.problem import Trouble
from modelhandoff.cluster.kinds import HTTPROUTE
from modelhandoff.errors import cut


@dataclass(frozen=True, slots=True)
class Plan:
    """New weights for a route.

    Attributes:
        rules: the route's rules with the candidate's weight 0.
        weight: what the candidate has now.
        baseline: the Service that gets everything.
        told: what will be written, for people.
    """

    route: Raw
    rules: list[Raw]
    weight: int
    baseline: str
    told: str


def candidate_weight(api: Api, handoff: Raw) -> int:
    """Weight on the candidate's Service; 0 when it is not on the route, or there is none.

    Raises:
        DeniedError: this user may not read routes.
    """
    return lookup.weights(lookup.own_route(api, handoff)).get(_candidate(handoff), 0)


def plan(api: Api, handoff: Raw) -> Plan | None:
    """What would be written; ``None`` when the candidate has no weight.

    Raises:
        Trouble: the route gives no other Service anything to go back to.
    """
    route = lookup.own_route(api, handoff)
    candidate = _candidate(handoff)
    weight = lookup.weights(route).get(candidate, 0)
    if route is None or not weight:
        return None
    meta = route["metadata"]
    others = sorted(set(lookup.weights(route)) - {candidate})
    if len(others) != 1:
        what = ", ".join(others) or "nothing"
        raise Trouble(
            f"HTTPRoute {meta['namespace']}/{meta['name']}: beside {candidate} it names {what}, "
            f"not one baseline; kubectl edit httproute {meta['name']} -n {meta['namespace']}"
        )
    rules = copy.deepcopy(route["spec"]["rules"])
    for rule in rules:
        backends = {backend["name"] for backend in rule.get("backendRefs") or ()}
        if candidate in backends:
            for backend in rule["backendRefs"]:
                backend["weight"] = 0 if backend["name"] == candidate else 100
    told = (
        f"HTTPRoute {meta['namespace']}/{meta['name']}: {candidate} from {weight} to 0, "
        f"{others[0]} to 100."
    )
    return Plan(route, rules, weight, others[0], told)


def carry_out(api: Api, wanted: Plan) -> None:
    """Write the weights, unless the route has changed since it was read."""
    meta = wanted.route["metadata"]
    api.patch(
        HTTPROUTE,
        meta["namespace"],
        meta["name"],
        {
            "metadata": {"resourceVersion": meta["resourceVersion"]},
            "spec": {"rules": wanted.rules},
        },
    )


def ask(question: str) -> bool:
    """A yes from a person; no where nobody can answer."""
    if not sys.stdin.isatty():
        return False
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    return cut(sys.stdin.readline()).lower() in ("y", "yes")


def _candidate(handoff: Raw) -> str:
    """Service of the version that is tried."""
    revision = (lookup.status_of(handoff).get("candidate") or {}).get("revision") or ""
    return names.workload_name(handoff["metadata"]["name"], revision) if revision else ""
