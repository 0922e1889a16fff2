"""The operator's own HTTPRoute as a value: built, patched and read. Pure.

``rules`` and ``backendRefs`` are atomic lists, so a weight cannot be owned field by field; the
operator therefore owns the whole route. Weights are always explicit integers: one that is left
out means 1. A backend that shall get nothing is left out, because a sticky session survives
weight 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.rollout_spec import GatewayRef
from modelhandoff.cluster.kinds import HTTPROUTE
from modelhandoff.cluster.objects import SERVICE_PORT
from modelhandoff.errors import RefusedError, cut
from modelhandoff.rollout.snapshot import RouteView

Raw = dict[str, Any]
Backends = tuple[tuple[str, int], ...]
"""(Service, weight) pairs; integers that sum to 100."""

GATEWAY_GROUP = "gateway.networking.k8s.io"
_WANTED = ("Accepted", "ResolvedRefs")
MAX_WORDS = 500


def build(
    spec: ModelHandoffSpec,
    *,
    handoff: str,
    namespace: str,
    owner: str,
    backends: Backends,
    stamp: str,
    intent: str = "",
) -> Raw:
    """The whole route, for its creation.

    ``owner`` is the owner annotation, ``<namespace>/<handoff>/<uid>``; ``stamp`` says who wrote
    the weights and for what; ``intent`` latches why traffic goes back ("" for none).

    Raises:
        RefusedError: the handoff has no gateway, or the weights do not sum to 100.
    """
    annotations = {names.ANNOTATION_OWNER: owner, names.ANNOTATION_STAMP: stamp}
    if intent:
        annotations[names.ANNOTATION_INTENT] = intent
    return {
        "apiVersion": HTTPROUTE.api_version,
        "kind": HTTPROUTE.name,
        "metadata": {
            "name": names.route_name(handoff),
            "namespace": namespace,
            "labels": names.labels(handoff),
            "annotations": annotations,
        },
        "spec": {key: value for key, value in _spec(spec, backends).items() if value is not None},
    }


def patch(
    current: Mapping[str, Any],
    spec: ModelHandoffSpec | None,
    *,
    owner: str,
    backends: Backends,
    stamp: str,
    intent: str = "",
) -> Raw:
    """The merge patch that writes weights, stamp and intent at once.

    ``spec=None`` keeps where the route listens and changes its backends only.
    """
    if spec is not None:
        change = _spec(spec, backends)
    else:
        rules: list[Raw] = (current.get("spec") or {}).get("rules") or [{}]
        change = {"rules": [{**rule, "backendRefs": _refs(backends)} for rule in rules]}
    return {
        "metadata": {
            "annotations": {
                names.ANNOTATION_OWNER: owner,
                names.ANNOTATION_STAMP: stamp,
                names.ANNOTATION_INTENT: intent or None,
            }
        },
        "spec": change,
    }


def view(raw: Mapping[str, Any], owner: str) -> RouteView:
    """A stored route as the rollout sees it.

    It is ours when the owner annotation names this namespace and handoff. The uid behind them
    may be that of a handoff deleted since: what it left serving, the new one takes over.
    """
    meta = raw["metadata"]
    annotations = meta.get("annotations") or {}
    problem = _not_landed(raw)
    prefix = owner.rpartition("/")[0] + "/"
    return RouteView(
        name=meta["name"],
        resource_version=meta.get("resourceVersion", ""),
        backends=_weights(raw),
        stamp=annotations.get(names.ANNOTATION_STAMP, ""),
        intent=annotations.get(names.ANNOTATION_INTENT, ""),
        landed=not problem,
        message=problem,
        ours=annotations.get(names.ANNOTATION_OWNER, "").startswith(prefix),
    )


def _spec(spec: ModelHandoffSpec, backends: Backends) -> Raw:
    route = spec.rollout.route
    matches = [
        {"path": {"type": str(match.path.type), "value": match.path.value}}
        for match in route.matches
    ]
    return {
        "parentRefs": [_parent(route.gateway)],
        "hostnames": list(route.hostnames) or None,
        "rules": [{"matches": matches, "backendRefs": _refs(backends)}],
    }


def _parent(gateway: GatewayRef) -> Raw:
    parent: Raw = {"group": GATEWAY_GROUP, "kind": "Gateway", "name": gateway.name}
    if gateway.namespace:
        parent["namespace"] = gateway.namespace
    if gateway.section_name:
        parent["sectionName"] = gateway.section_name
    return parent


def _refs(backends: Backends) -> list[Raw]:
    total = sum(weight for _, weight in backends)
    if total != 100 or any(weight < 0 for _, weight in backends):
        raise RefusedError(f"weights: must be 0 or more and sum to 100; got {cut(backends)}")
    return [
        {"group": "", "kind": "Service", "name": name, "port": SERVICE_PORT, "weight": weight}
        for name, weight in backends
        if weight > 0
    ]


def _weights(raw: Mapping[str, Any]) -> dict[str, int]:
    """Service name -> weight over all rules; anything but a Service here keeps its full name."""
    found: dict[str, int] = {}
    own = raw["metadata"].get("namespace")
    for rule in (raw.get("spec") or {}).get("rules") or ():
        for ref in rule.get("backendRefs") or ():
            name = str(ref.get("name", ""))
            if ref.get("kind", "Service") != "Service":
                name = f"{ref['kind']}/{name}"
            if ref.get("namespace", own) != own:
                name = f"{ref['namespace']}/{name}"
            weight = ref.get("weight")
            found[name] = found.get(name, 0) + (1 if weight is None else int(weight))
    return found


def _not_landed(raw: Mapping[str, Any]) -> str:
    """Why the weights are not certainly in effect, in the gateway's own words; "" when they are."""
    generation = int(raw["metadata"].get("generation") or 0)
    parents = list((raw.get("status") or {}).get("parents") or ())
    asked = list((raw.get("spec") or {}).get("parentRefs") or ())
    own = raw["metadata"].get("namespace") or ""
    if not any(
        _same(parent.get("parentRef") or {}, ref, own) for parent in parents for ref in asked
    ):
        gateways = ", ".join(str(ref.get("name")) for ref in asked) or "none named"
        return f"no controller has taken up the route for its gateway ({gateways}) yet"
    for parent in parents:
        problem = _problem(parent, generation)
        if problem:
            return problem
    return ""


def _same(parent: Mapping[str, Any], ref: Mapping[str, Any], namespace: str) -> bool:
    return (
        parent.get("name") == ref.get("name")
        and (parent.get("namespace") or namespace) == (ref.get("namespace") or namespace)
        and parent.get("sectionName") == ref.get("sectionName")
    )


def _problem(parent: Mapping[str, Any], generation: int) -> str:
    conditions = {c.get("type"): c for c in _conditions(parent)}
    gateway = (parent.get("parentRef") or {}).get("name", "")
    for wanted in _WANTED:
        found = conditions.get(wanted)
        if found is None:
            return f"gateway {gateway} does not report {wanted} yet"
        if int(found.get("observedGeneration") or 0) != generation:
            return f"gateway {gateway} has not looked at the latest change of the route yet"
        if found.get("status") != "True":
            words = f"{found.get('reason', '')}: {found.get('message', '')}"
            return cut(f"gateway {gateway}: {wanted} is {found.get('status')}, {words}", MAX_WORDS)
    return ""


def _conditions(parent: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
    return parent.get("conditions") or ()
