"""``doctor``: is everything there that a handoff needs, and may you use it."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from modelhandoff.cli.kubectl.api import INSTALL, Api, Raw
from modelhandoff.cli.kubectl.heartbeat import listen
from modelhandoff.cli.kubectl.printing import coloured, echo
from modelhandoff.cli.kubectl.problem import Code, DeniedError, MissingError, Trouble
from modelhandoff.cluster.kinds import (
    APPROVAL,
    ATTEMPT,
    DEPLOYMENT,
    HANDOFF,
    HTTPROUTE,
    POD,
    POLICY,
    Kind,
)
from modelhandoff.errors import cut

_CRD = Kind(
    "apiextensions.k8s.io",
    "v1",
    "customresourcedefinitions",
    "CustomResourceDefinition",
    namespaced=False,
)
_GATEWAY = Kind("gateway.networking.k8s.io", "v1", "gateways", "Gateway")
_REVIEW = Kind(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
)
_ADMISSION = Kind(
    "admissionregistration.k8s.io",
    "v1",
    "validatingadmissionpolicies",
    "ValidatingAdmissionPolicy",
    namespaced=False,
)
_LEASE_PATIENCE = 4.0


class Mark(StrEnum):
    """How a check came out."""

    GOOD = "ok"
    WARNING = "warning"
    BAD = "broken"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report."""

    mark: Mark
    what: str
    told: str
    fix: str = ""


_NEEDED = (
    ("list", HANDOFF, "get, status"),
    ("patch", HANDOFF, "pause, resume, abort, retry, promote"),
    ("list", ATTEMPT, "history, explain"),
    ("list", POD, "pods in status"),
    ("list", DEPLOYMENT, "pods in status"),
    ("get", HTTPROUTE, "weights in status, abort"),
    ("patch", HTTPROUTE, "abort without an operator"),
)


def doctor(api: Api, operator_namespace: str = "", *, installation: bool = False) -> int:
    """Print the report; 1 when something is broken.

    Args:
        api: the cluster.
        operator_namespace: where the operator runs; looked for when empty.
        installation: only what a platform installed, not what the caller may do.
    """
    checks: list[Check] = []
    for check in run(api, operator_namespace, installation=installation):
        checks.append(check)
        _print(check)
    bad = sum(1 for check in checks if check.mark is Mark.BAD)
    good = sum(1 for check in checks if check.mark is Mark.GOOD)
    echo(f"\n{good} of {len(checks)} checks are fine, {bad} {'is' if bad == 1 else 'are'} broken.")
    return Code.TROUBLE if bad else Code.OK


def run(api: Api, operator_namespace: str, *, installation: bool = False) -> Iterable[Check]:
    """Every check, in the order in which one would mend things."""
    yield Check(
        Mark.GOOD,
        "cluster",
        f"{api.server} answers, version {api.version()} ({api.where}, namespace {api.namespace})",
    )
    yield from _crds(api)
    yield from _operator(api, operator_namespace)
    if not installation:
        yield from _rights(api)
    yield from _gateway(api)
    yield from _policies(api)
    yield _signatures(api)


def _crds(api: Api) -> Iterable[Check]:
    for kind in (HANDOFF, ATTEMPT, APPROVAL, POLICY):
        name = f"{kind.plural}.{kind.group}"
        try:
            found = api.get(_CRD, None, name)
        except MissingError:
            yield Check(Mark.BAD, f"CRD {kind.name}", "is not installed", INSTALL)
            continue
        except DeniedError:
            yield _served(api, kind)
            continue
        yield _crd(kind, found)


def _crd(kind: Kind, found: Raw) -> Check:
    versions = {v["name"]: v for v in found["spec"]["versions"] if v.get("served")}
    conditions = {c["type"]: c for c in (found.get("status") or {}).get("conditions") or ()}
    what = f"CRD {kind.name}"
    if (conditions.get("Established") or {}).get("status") != "True":
        told = (conditions.get("NamesAccepted") or {}).get("message") or "not established yet"
        return Check(
            Mark.BAD, what, cut(told, 200), f"kubectl describe crd {kind.plural}.{kind.group}"
        )
    if kind.version not in versions:
        return Check(
            Mark.BAD,
            what,
            f"serves {', '.join(versions)}, this program speaks {kind.version}",
            "update the CRDs or this program",
        )
    if _differs(kind, versions[kind.version]):
        return Check(
            Mark.WARNING,
            what,
            f"{kind.version} is served, but its schema is of another "
            f"version than this program ({_version()})",
            "kubectl apply --server-side -f crds/ of the version that is meant",
        )
    return Check(
        Mark.GOOD, what, f"{kind.version} is served, as this program ({_version()}) knows it"
    )


def _differs(kind: Kind, version: Raw) -> bool:
    """Whether the installed fields are others than ours; defaults of the server set aside."""
    from modelhandoff.api import crds

    own = next(crds.crd(one) for one in crds.KINDS if one.plural == kind.plural)
    ours = next(v for v in own["spec"]["versions"] if v["name"] == kind.version)
    return _fields(ours["schema"]["openAPIV3Schema"]) != _fields(
        version["schema"]["openAPIV3Schema"]
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("modelhandoff")
    except PackageNotFoundError:
        return "not installed as a package"


def _fields(schema: Any, path: str = "") -> frozenset[str]:
    found: set[str] = set()
    for name, inner in (schema.get("properties") or {}).items():
        if path or name in ("spec", "status"):
            found.add(f"{path}.{name}")
            found |= _fields(inner, f"{path}.{name}")
    if isinstance(schema.get("items"), dict):
        found |= _fields(schema["items"], f"{path}[]")
    return frozenset(found)


def _served(api: Api, kind: Kind) -> Check:
    """Without the right to read CRDs: whether the kind answers at all."""
    try:
        api.list(kind, api.namespace if kind.namespaced else None, limit=1)
    except MissingError:
        return Check(Mark.BAD, f"CRD {kind.name}", "is not installed", INSTALL)
    except DeniedError:
        pass
    return Check(Mark.GOOD, f"CRD {kind.name}", f"{kind.version} is served")


def _operator(api: Api, namespace: str) -> Iterable[Check]:
    heart = listen(api, namespace, patience=_LEASE_PATIENCE)
    if heart.alive is None:
        yield Check(
            Mark.UNKNOWN, "operator", heart.told, "--operator-namespace names its namespace"
        )
    elif heart.alive:
        yield Check(Mark.GOOD, "operator", heart.told)
    else:
        yield Check(Mark.BAD, "operator", heart.told, heart.fix)


def _rights(api: Api) -> Iterable[Check]:
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda need: _may(api, need[0], need[1]), _NEEDED))
    denied = [need for need, allowed in zip(_NEEDED, answers, strict=True) if not allowed]
    where = f"in namespace {api.namespace}"
    if not denied:
        yield Check(Mark.GOOD, "your rights", f"all verbs of kubectl handoff work {where}")
    for verb, kind, used in denied:
        group = f".{kind.group}" if kind.group else ""
        yield Check(
            Mark.WARNING,
            "your rights",
            f"you may not {verb} {kind.plural}{group} {where}: no {used}",
            "ask for a Role with it",
        )


def _may(api: Api, verb: str, kind: Kind) -> bool:
    review = {
        "apiVersion": _REVIEW.api_version,
        "kind": _REVIEW.name,
        "spec": {
            "resourceAttributes": {
                "namespace": api.namespace,
                "verb": verb,
                "group": kind.group,
                "resource": kind.plural,
            }
        },
    }
    return bool((api.create(_REVIEW, review).get("status") or {}).get("allowed"))


def _gateway(api: Api) -> Iterable[Check]:
    try:
        gateways = api.list(_GATEWAY, None)
    except MissingError:
        yield Check(
            Mark.BAD,
            "Gateway API",
            "is not installed: no kind HTTPRoute, no Gateway",
            "install the Gateway API CRDs and a gateway controller",
        )
        return
    except DeniedError:
        yield Check(Mark.UNKNOWN, "Gateway API", "you may not list gateways")
        return
    try:
        api.list(HTTPROUTE, api.namespace, limit=1)
    except MissingError:
        yield Check(
            Mark.BAD, "Gateway API", "HTTPRoute v1 is not served", "update the Gateway API CRDs"
        )
        return
    except DeniedError:
        pass
    if not gateways:
        yield Check(Mark.BAD, "gateway", "there is no Gateway", "create one for rollout.route")
    for gateway in gateways:
        meta = gateway["metadata"]
        conditions = {c["type"]: c for c in (gateway.get("status") or {}).get("conditions") or ()}
        programmed = conditions.get("Programmed") or {}
        what = f"gateway {meta['namespace']}/{meta['name']}"
        if programmed.get("status") == "True":
            yield Check(Mark.GOOD, what, "is programmed")
        else:
            told = cut(programmed.get("message") or "no controller has taken it", 200)
            yield Check(
                Mark.BAD,
                what,
                told,
                f"kubectl describe gateway {meta['name']} -n {meta['namespace']}",
            )


def _policies(api: Api) -> Iterable[Check]:
    try:
        policies = api.list(POLICY, None)
    except (MissingError, DeniedError) as failure:
        yield Check(Mark.UNKNOWN, "policies", cut(failure, 200))
        return
    if not policies:
        yield Check(
            Mark.WARNING,
            "policies",
            "there is no HandoffPolicy: metric sources come from the operator's own setting alone",
            "create a HandoffPolicy named default with metricSources",
        )
    if policies and "default" not in {one["metadata"]["name"] for one in policies}:
        yield Check(
            Mark.WARNING, "policies", "none is named default: handoffs without policyRef have none"
        )
    for one in policies:
        yield from _sources(api, one)


def _signatures(api: Api) -> Check:
    """Whether the API server itself holds an approval to the user who makes it."""
    what = "signatures"
    try:
        policies = api.list(_ADMISSION, None)
    except (MissingError, DeniedError) as failure:
        return Check(Mark.UNKNOWN, what, cut(failure, 200))
    guarding = [one["metadata"]["name"] for one in policies if APPROVAL.plural in _guarded(one)]
    if guarding:
        return Check(Mark.GOOD, what, f"approvals are checked by admission ({guarding[0]})")
    return Check(
        Mark.WARNING,
        what,
        "no admission policy proves who signs an approval",
        "helm upgrade ... --set admission.enabled=true (see docs/approvals.md)",
    )


def _guarded(policy: Raw) -> set[str]:
    """Resources that an admission policy looks at."""
    constraints = (policy.get("spec") or {}).get("matchConstraints") or {}
    return {
        str(resource)
        for rule in constraints.get("resourceRules") or ()
        for resource in rule.get("resources") or ()
    }


def _sources(api: Api, policy: Raw) -> Iterable[Check]:
    """The metric sources of a policy, asked through the API server where they are Services."""
    name = policy["metadata"]["name"]
    sources = (policy.get("spec") or {}).get("metricSources") or ()
    if not sources:
        yield Check(Mark.WARNING, f"policy {name}", "names no metric source")
    for source in sources:
        what = f"metric source {source['name']}"
        service = _service_of(str(source["url"]))
        if service is None:
            yield Check(
                Mark.UNKNOWN,
                what,
                f"{source['url']} is outside the cluster: the operator "
                "asks it, this machine does not",
            )
            continue
        try:
            answer = api.proxied(service.namespace, service.name, service.port, _QUERY)
        except DeniedError:
            yield Check(
                Mark.UNKNOWN,
                what,
                f"{source['url']}: you may not ask it through the API server (services/proxy)",
            )
        except MissingError:
            yield Check(
                Mark.BAD,
                what,
                f"{source['url']}: there is no Service {service.namespace}/{service.name}",
                f"correct spec.metricSources of policy {name}",
            )
        except Trouble as failure:
            yield Check(
                Mark.BAD,
                what,
                f"{source['url']}: {cut(failure, 200)}",
                f"kubectl get pods -n {service.namespace}",
            )
        else:
            good = answer.get("status") == "success"
            told = "answers queries" if good else f"answers {cut(answer)}"
            yield Check(Mark.GOOD if good else Mark.BAD, what, f"{source['url']} {told}")


_QUERY = "api/v1/query?query=vector(1)"


@dataclass(frozen=True, slots=True)
class _Service:
    namespace: str
    name: str
    port: int


def _service_of(url: str) -> _Service | None:
    """The Service behind an address of the cluster's own DNS."""
    from urllib.parse import urlsplit

    try:
        address = urlsplit(url)
        port = address.port or (443 if address.scheme == "https" else 80)
    except ValueError:
        return None
    parts = (address.hostname or "").split(".")
    inside = len(parts) == 2 or (len(parts) > 2 and parts[2] == "svc")
    if not inside or address.scheme != "http" or address.path.strip("/"):
        return None
    return _Service(parts[1], parts[0], port)


def _print(check: Check) -> None:
    marks = {
        Mark.GOOD: ("✓", "32"),
        Mark.BAD: ("✗", "31"),
        Mark.WARNING: ("!", "33"),
        Mark.UNKNOWN: ("?", "33"),
    }
    mark, colour = marks[check.mark]
    shown = f"\x1b[{colour}m{mark}\x1b[0m" if coloured() else mark
    echo(f"{shown} {check.what}: {check.told}.")
    if check.fix:
        echo(f"    {check.fix}")
