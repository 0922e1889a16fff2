"""``approve`` and ``reject``: show what is signed, ask, sign, say whether it counts."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.hashing import bundle_hash
from modelhandoff.api.vocabulary import BEFORE_PODS, CHECKLIST, TERMINAL, ConditionType
from modelhandoff.cli.kubectl import fallback, lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.printing import Format, echo, warn, write
from modelhandoff.cli.kubectl.problem import Code, DeniedError, MissingError, Trouble
from modelhandoff.cli.kubectl.verbs import Subject, subject
from modelhandoff.cluster.kinds import APPROVAL, Kind
from modelhandoff.errors import HandoffError, cut

APPROVE, REJECT = "Approve", "Reject"
ANSWER_SECONDS = 5.0
"""How long the operator's answer is waited for; it comes within a second."""
_REVIEW = Kind(
    "authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False
)
_RIGHT = Kind(
    "authorization.k8s.io",
    "v1",
    "selfsubjectaccessreviews",
    "SelfSubjectAccessReview",
    namespaced=False,
)
_BEFORE = frozenset({"", *BEFORE_PODS})
_CHECKS = tuple(kind for kind in CHECKLIST if kind is not ConditionType.APPROVED)
_LONGEST_COMMENT = 1024


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person wants to sign.

    Attributes:
        decision: Approve or Reject.
        role: the role; empty where the only one that is missing is meant.
        comment: why.
        yes: do not ask.
        dry_run: show it and write nothing.
        output: print the approval for scripts instead of sentences.
    """

    decision: str
    role: str = ""
    comment: str = ""
    yes: bool = False
    dry_run: bool = False
    output: Format | None = None

    @property
    def verb(self) -> str:
        """As it is typed."""
        return self.decision.lower()


def sign(api: Api, name: str, wish: Wish, ask: Callable[[str], bool] | None = None) -> Code:
    """Sign the current attempt's bundle; 0 when it counts, 1 when it does not.

    Raises:
        Trouble: there is nothing to sign, the role has no say, or the answer was no.
    """
    on = subject(api, name, wish.verb)
    attempt = lookup.current_attempt(api, on.handoff) or {}
    bundle = _bundle(on, attempt)
    spec = _frozen(on, attempt)
    roles: Sequence[str] = (spec.get("approvals") or {}).get("roles") or ()
    _open(on, wish, roles)
    signed = lookup.signed(api, on.handoff, attempt)
    role = _role(on, wish, roles, signed)
    who = _who(api)
    tell = echo if wish.output is None else warn
    for line in _summary(on, spec, bundle, role, who, wish, roles, signed):
        tell(line)
    allowed = _may_sign(api, on, role)
    if not allowed:
        warn(
            f"You have no right to sign as {role} in namespace {on.namespace} (docs/approvals.md)."
        )
    if wish.dry_run:
        tell("Nothing was written.")
        return Code.OK if allowed else Code.TROUBLE
    if not wish.yes and not (ask or fallback.ask)(f"{wish.decision} this bundle as {role}?"):
        raise Trouble(f"{on.place}: nothing was signed; answer y, or pass --yes")
    made = api.create(APPROVAL, _approval(on, wish, role, bundle, who), on.namespace)
    found = _answered(api, made)
    if wish.output is not None:
        write([found], wish.output, single=True)
    return _conclude(on, wish, found, tell)


def _bundle(on: Subject, attempt: Raw) -> str:
    """The hash that is signed: of what the handoff says and the attempt is about."""
    asked = str((attempt.get("spec") or {}).get("bundleHash") or "")
    try:
        said = bundle_hash(on.handoff["spec"])
    except HandoffError as error:
        raise Trouble(f"{on.place}: {error}") from None
    if said != asked:
        raise Trouble(
            f"{on.place}: was edited, and the operator has not begun what it says now; look at it "
            "again, then sign"
        )
    return said


def _frozen(on: Subject, attempt: Raw) -> Raw:
    """The spec as the attempt froze it, with the roles that the policy added."""
    spec = lookup.frozen_spec(attempt)
    if spec is None:
        raise Trouble(f"{on.place}: attempt {on.attempt} cannot be read; nothing to sign")
    return spec


def _open(on: Subject, wish: Wish, roles: Sequence[str]) -> None:
    """Refuse what could have no effect."""
    if not roles:
        raise Trouble(f"{on.place}: no role has to approve it; nothing to {wish.verb}")
    verdict = lookup.status_of(on.handoff).get("verdict") or {}
    if verdict.get("reason") == "ApprovalRejected":
        raise Trouble(
            f"{on.place}: was rejected, which is final for what it says; a corrected candidate is "
            "another bundle"
        )
    if on.phase in ("Promoting", "Promoted"):
        raise Trouble(f"{on.place}: {on.model} is promoted; to go back, apply the earlier version")
    if on.phase in TERMINAL:
        raise Trouble(f"{on.place}: attempt {on.attempt} has ended ({on.phase})")
    if wish.decision == APPROVE and on.phase not in _BEFORE:
        raise Trouble(f"{on.place}: every role has approved; {on.model} is {on.phase}")


def _role(on: Subject, wish: Wish, roles: Sequence[str], signed: dict[str, str]) -> str:
    missing = [role for role in roles if role not in signed]
    if wish.role in roles:
        return wish.role
    allowed = " or ".join(missing or roles)
    if wish.role:
        raise Trouble(f"--role: has no say in {on.place}; got {cut(wish.role)}; allowed {allowed}")
    if len(missing) == 1:
        return missing[0]
    raise Trouble(f"--role: say as what you sign; allowed {allowed}")


def _who(api: Api) -> str:
    """The user name as the API server knows it: the only one that it takes as approver."""
    try:
        review = api.create(_REVIEW, {"apiVersion": _REVIEW.api_version, "kind": _REVIEW.name})
    except (DeniedError, MissingError) as error:
        raise Trouble(f"the API server does not say who you are: {error}") from None
    user = ((review.get("status") or {}).get("userInfo") or {}).get("username")
    if not user:
        raise Trouble("the API server does not say who you are; log in")
    return str(user)


def _may_sign(api: Api, on: Subject, role: str) -> bool:
    """Whether RBAC lets the user sign in this role; the server is asked again when they do."""
    asked = {
        "namespace": on.namespace,
        "group": names.GROUP,
        "resource": "handoffroles",
        "name": role,
        "verb": "approve",
    }
    body = {
        "apiVersion": _RIGHT.api_version,
        "kind": _RIGHT.name,
        "spec": {"resourceAttributes": asked},
    }
    review = lookup.if_any(lambda: api.create(_RIGHT, body))
    return review is None or bool(lookup.status_of(review).get("allowed"))


def _summary(  # noqa: PLR0917 - everything that a signature is about
    on: Subject,
    spec: Raw,
    bundle: str,
    role: str,
    who: str,
    wish: Wish,
    roles: Sequence[str],
    signed: dict[str, str],
) -> list[str]:
    """What is signed, in the words of the handoff: a digest that nobody sees is not signed."""
    candidate = spec["candidate"]
    model = candidate["model"]
    rows: list[tuple[str, str]] = [
        ("Bundle", bundle),
        ("Model", f"{model['name']} {model['version']}"),
    ]
    rows += [
        (one["role"], f"{one['uri']} {one['digest']}") for one in candidate.get("artifacts") or ()
    ]
    rows += [
        ("Image", str((candidate.get("serving") or {}).get("image") or "")),
        ("Steps", ", ".join(f"{s['weight']} %" for s in spec["rollout"]["steps"])),
        ("Serves", on.stable),
        ("Checks", _checks(on)),
        ("Approved", ", ".join(f"{r} ({by})" for r, by in signed.items()) or "by nobody yet"),
        ("Missing", ", ".join(r for r in roles if r not in signed) or "nobody"),
    ]
    if wish.comment:
        rows.append(("Comment", cut(wish.comment, _LONGEST_COMMENT)))
    width = max(len(title) for title, _ in rows)
    head = f"{on.place}: {wish.verb} {model['name']} {model['version']} as {role}, signed by {who}"
    return [_plain(head), *(_plain(f"  {title:<{width}}  {told}") for title, told in rows if told)]


def _checks(on: Subject) -> str:
    """What verification found, as the handoff's conditions say it."""
    found = lookup.conditions_of(on.handoff)
    told = [
        f"{kind} {found[kind].get('status')} ({found[kind].get('reason')})"
        for kind in _CHECKS
        if kind in found
    ]
    return ", ".join(told)


def _approval(on: Subject, wish: Wish, role: str, bundle: str, who: str) -> Raw:
    spec: Raw = {
        "handoffRef": {"name": on.name},
        "role": role,
        "bundleHash": bundle,
        "decision": wish.decision,
        "approver": who,
    }
    if wish.comment:
        spec["comment"] = wish.comment[:_LONGEST_COMMENT]
    return {
        "apiVersion": APPROVAL.api_version,
        "kind": APPROVAL.name,
        "metadata": {"generateName": f"{on.name}-{wish.verb}-", "namespace": on.namespace},
        "spec": spec,
    }


def _answered(api: Api, made: Raw) -> Raw:
    """The approval with the operator's answer, where it comes in time and may be read."""
    meta = made["metadata"]
    end = time.monotonic() + ANSWER_SECONDS
    found = made
    while not lookup.status_of(found).get("reason") and time.monotonic() < end:
        time.sleep(0.1)
        try:
            found = api.get(APPROVAL, meta["namespace"], meta["name"])
        except (DeniedError, MissingError):
            return made
    return found


def _conclude(on: Subject, wish: Wish, found: Raw, tell: Callable[[str], Any]) -> Code:
    status, name = lookup.status_of(found), found["metadata"]["name"]
    reason = str(status.get("reason") or "")
    if not reason:
        tell(f"Signed: {name}. The operator has not answered yet.")
        tell(on.follow)
        return Code.OK
    if not status.get("valid"):
        warn(f"Signed, but it does not count ({reason}): {_plain(str(status.get('message')))}")
        return Code.TROUBLE
    tell(f"Signed: {name}. {_plain(str(status.get('message') or ''))}")
    if wish.decision == APPROVE:
        tell(on.follow)
    return Code.OK


def _plain(text: str) -> str:
    """Without what a terminal would obey: names and comments are other people's words."""
    return "".join(c if c.isprintable() else " " for c in text)
