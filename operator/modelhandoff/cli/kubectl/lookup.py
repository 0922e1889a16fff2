"""From what a person typed to the handoff that is meant, and the objects around it."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from modelhandoff.api import names
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.problem import DeniedError, MissingError, Trouble
from modelhandoff.cluster.kinds import APPROVAL, ATTEMPT, DEPLOYMENT, HANDOFF, HTTPROUTE, POD

T = TypeVar("T")
_PREFIXES = frozenset(
    {
        "mho",
        "modelhandoff",
        "modelhandoffs",
        f"modelhandoff.{names.GROUP}",
        f"modelhandoffs.{names.GROUP}",
    }
)
_SHOWN = 8


def find(api: Api, name: str, *, everywhere: bool = False) -> Raw:
    """The handoff that is meant.

    Args:
        api: the cluster, with the namespace that was chosen.
        name: ``fraud``, ``mho/fraud``, or empty: then the only one there is.
        everywhere: look in all namespaces.

    Raises:
        Trouble: there is none, or more than one; the line says what to type instead.
    """
    wanted = _bare(name)
    if not wanted:
        return _only(api, None if everywhere else api.namespace)
    if everywhere:
        return _unique(api, wanted, api.list(HANDOFF, None))
    try:
        return api.get(HANDOFF, api.namespace, wanted)
    except MissingError as missing:
        if missing.kind_missing:
            raise
        raise Trouble(_not_here(api, wanted)) from None


def _bare(name: str) -> str:
    kind, slash, rest = name.partition("/")
    if not slash:
        return name
    if kind.lower() not in _PREFIXES or not rest:
        raise Trouble(f"{name}: not a handoff; allowed NAME or mho/NAME")
    return rest


def _only(api: Api, namespace: str | None) -> Raw:
    found = api.list(HANDOFF, namespace)
    where = f"in namespace {namespace}" if namespace else "in any namespace"
    if not found:
        raise Trouble(f"NAME: there is no handoff {where} ({api.where}); choose with -n or -A")
    if len(found) > 1:
        raise Trouble(f"NAME: {len(found)} handoffs {where}; name one of {_places(found)}")
    return found[0]


def _unique(api: Api, name: str, handoffs: Sequence[Raw]) -> Raw:
    found = [one for one in handoffs if one["metadata"]["name"] == name]
    if not found:
        known = sorted({one["metadata"]["name"] for one in handoffs})
        raise Trouble(f"{name}: no such handoff in any namespace{_close(name, known)}")
    if len(found) > 1:
        raise Trouble(
            f"{name}: {len(found)} handoffs have this name: {_places(found)}; choose with -n"
        )
    return found[0]


def _places(found: Sequence[Raw]) -> str:
    told = [f"{one['metadata']['namespace']}/{one['metadata']['name']}" for one in found]
    more = f" and {len(told) - _SHOWN} more" if len(told) > _SHOWN else ""
    return ", ".join(sorted(told)[:_SHOWN]) + more


def _not_here(api: Api, name: str) -> str:
    """Why a name was not found, with the most helpful thing that can be said."""
    told = f"{name}: no such handoff in namespace {api.namespace} ({api.where})"
    attempt = if_any(lambda: api.get(ATTEMPT, api.namespace, name))
    if attempt is not None:
        owner = attempt["spec"]["handoffRef"]["name"]
        return f"{name}: this is an attempt, not a handoff; its handoff is {owner}"
    here = if_any(lambda: api.list(HANDOFF, api.namespace)) or []
    close = _close(name, [one["metadata"]["name"] for one in here])
    if close:
        return told + close
    elsewhere = [
        one
        for one in if_any(lambda: api.list(HANDOFF, None)) or ()
        if one["metadata"]["name"] == name
    ]
    if elsewhere:
        spaces = sorted(one["metadata"]["namespace"] for one in elsewhere)
        return f"{told}; there is one in {', '.join(spaces[:_SHOWN])}: add -n {spaces[0]}"
    return f"{told}; kubectl handoff get -A lists all"


def _close(name: str, known: Sequence[str]) -> str:
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    return f"; did you mean {' or '.join(found)}?" if found else ""


def if_any(read: Callable[[], T]) -> T | None:
    """What a read gives; ``None`` where there is nothing, or no right to look."""
    try:
        return read()
    except (MissingError, DeniedError):
        return None


def attempts_of(api: Api, handoff: Raw) -> list[Raw]:
    """The handoff's attempts, newest first."""
    meta = handoff["metadata"]
    labels = f"{names.LABEL_HANDOFF}={meta['name']}"
    found = if_any(lambda: api.list(ATTEMPT, meta["namespace"], labels=labels)) or []
    own = [one for one in found if one["spec"]["handoffRef"]["uid"] == meta["uid"]]
    return sorted(own, key=lambda one: -int(one["spec"]["ordinal"]))


def current_name(handoff: Raw) -> str:
    """Name of the attempt that the status speaks of; empty before the first."""
    reference = status_of(handoff).get("attemptRef") or {}
    return str(reference.get("name") or "")


def current_attempt(api: Api, handoff: Raw) -> Raw | None:
    """The attempt that the status speaks of; ``None`` before the first, or when it is gone."""
    name = current_name(handoff)
    if not name:
        return None
    return if_any(lambda: api.get(ATTEMPT, handoff["metadata"]["namespace"], name))


def frozen_spec(attempt: Raw | None) -> Raw | None:
    """The resolved spec that an attempt froze; ``None`` when it cannot be read."""
    try:
        found = json.loads(attempt["spec"]["snapshot"])["spec"] if attempt else None
    except (ValueError, KeyError, TypeError):
        return None
    return dict(found) if isinstance(found, dict) else None


def signed(api: Api, handoff: Raw, attempt: Raw | None) -> dict[str, str]:
    """Role -> who has approved the attempt's bundle, as the operator counts it."""
    recorded = status_of(attempt or {}).get("approvals") or ()
    if recorded:
        return {str(one["role"]): str(one["approver"]) for one in recorded}
    meta = handoff["metadata"]
    about = meta["name"], ((attempt or {}).get("spec") or {}).get("bundleHash")
    found = {}
    for one in if_any(lambda: api.list(APPROVAL, meta["namespace"])) or ():
        spec = one.get("spec") or {}
        names_it = (spec.get("handoffRef") or {}).get("name"), spec.get("bundleHash")
        if names_it == about and status_of(one).get("reason") == "Counts":
            found[str(spec.get("role"))] = str(spec.get("approver"))
    return found


def pods_of(api: Api, handoff: Raw) -> list[Raw] | None:
    """The pods with the handoff's label; ``None`` without the right to see them."""
    meta = handoff["metadata"]
    labels = f"{names.LABEL_HANDOFF}={meta['name']}"
    return if_any(lambda: api.list(POD, meta["namespace"], labels=labels))


def workloads_of(api: Api, handoff: Raw) -> dict[str, Raw] | None:
    """The Deployments with the handoff's label, and the adopted one; by name."""
    meta = handoff["metadata"]
    labels = f"{names.LABEL_HANDOFF}={meta['name']}"
    found = if_any(lambda: api.list(DEPLOYMENT, meta["namespace"], labels=labels))
    if found is None:
        return None
    known = {one["metadata"]["name"]: one for one in found}
    reference = (handoff["spec"].get("baseline") or {}).get("workloadRef") or {}
    name = reference.get("name")
    if name and name not in known:
        adopted = if_any(lambda: api.get(DEPLOYMENT, meta["namespace"], name))
        if adopted is not None:
            known[name] = adopted
    return known


def route_of(api: Api, handoff: Raw) -> Raw | None:
    """The handoff's HTTPRoute; ``None`` also without the right to see it."""
    return if_any(lambda: own_route(api, handoff))


def own_route(api: Api, handoff: Raw) -> Raw | None:
    """The operator's HTTPRoute of the handoff, if it exists and is this handoff's.

    Raises:
        DeniedError: this user may not read routes.
    """
    meta = handoff["metadata"]
    try:
        route = api.get(HTTPROUTE, meta["namespace"], names.route_name(meta["name"]))
    except MissingError:
        return None
    owner = (route["metadata"].get("annotations") or {}).get(names.ANNOTATION_OWNER)
    ours = f"{meta['namespace']}/{meta['name']}/{meta['uid']}"
    return route if owner == ours else None


def weights(route: Raw | None) -> dict[str, int]:
    """Weight by Service of the route's rules; an omitted weight counts as 1, as the API says."""
    found: dict[str, int] = {}
    for rule in (route or {}).get("spec", {}).get("rules") or ():
        for backend in rule.get("backendRefs") or ():
            found[backend["name"]] = int(backend.get("weight", 1))
    return found


def status_of(thing: Raw) -> Raw:
    """Its status, never ``None``."""
    return thing.get("status") or {}


def conditions_of(handoff: Raw) -> dict[str, Mapping[str, object]]:
    """Conditions by type."""
    return {str(c["type"]): c for c in status_of(handoff).get("conditions") or ()}
