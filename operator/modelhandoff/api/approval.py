"""HandoffApproval: one role's signature under one bundle hash; and who has to sign."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints

from modelhandoff.api.attempt import Hash
from modelhandoff.api.base import SpecModel, StatusModel, Word
from modelhandoff.api.cel import Rule, positive
from modelhandoff.api.meta import Message, ObjectMeta
from modelhandoff.api.names import API_VERSION
from modelhandoff.api.quantities import HINT, Duration, Label63, ListOf

MAX_ROLES = 16

RoleName = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z]([-A-Za-z0-9]*[A-Za-z0-9])?$", max_length=63),
    Field(json_schema_extra={HINT: "letters, digits and -, starting with a letter"}),
]
"""A role that approves. The right to act in it is an RBAC rule: see docs/approvals.md."""

UserName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\x00-\x20\x7f]([^\x00-\x1f\x7f]*[^\x00-\x20\x7f])?$", max_length=253
    ),
    Field(json_schema_extra={HINT: "the user name that the API server knows, in one line"}),
]
Comment = Annotated[
    str,
    StringConstraints(
        pattern=r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*$", min_length=1, max_length=1024
    ),
    Field(json_schema_extra={HINT: "text of 1 to 1024 characters that a terminal only shows"}),
]
Roles = Annotated[tuple[RoleName, ...], ListOf(MAX_ROLES, unique=True)]


class Approvals(SpecModel):
    """Who has to approve before a pod of the candidate exists."""

    roles: Annotated[tuple[RoleName, ...], ListOf(MAX_ROLES, minimum=1, unique=True)]
    """Roles of which each has to approve. Those that the policy requires come on top."""
    separate_identities: bool = True
    """Whether every role needs a person of its own. True when not set."""
    separate_author: bool = False
    """Whether the author of the handoff, as its annotation modelhandoff.dev/author names them,
    may not approve it. False when not set, unless the policy asks for it."""
    expires_after: Duration = timedelta(hours=720)
    """How long an approval counts while others are waited for. 720h when not set."""

    rules = (positive("expiresAfter", "expires_after"),)


class PolicyApprovals(SpecModel):
    """What every handoff under the policy needs at least."""

    required_roles: Roles = ()
    """Roles that have to approve every handoff, beside those that it asks for itself."""
    separate_identities: bool = False
    """Whether every handoff needs a person of its own for every role."""
    separate_author: bool = False
    """Whether nobody may approve what they wrote themselves."""
    expires_after: Duration | None = None
    """Longest time that an approval may count; also the value of handoffs that set none."""
    service_accounts: Annotated[tuple[UserName, ...], ListOf(MAX_ROLES, unique=True)] = ()
    """Service accounts whose approvals count, such as system:serviceaccount:ci:gate; none when
    empty."""

    rules = (positive("expiresAfter", "expires_after"),)


class Choice(Word):
    """What a role says to a bundle."""

    APPROVE = "Approve"
    REJECT = "Reject"


class ApprovedHandoff(SpecModel):
    """The handoff that is approved."""

    name: Label63
    """Name of the ModelHandoff, in the same namespace."""


class ApprovalSpec(SpecModel):
    """What is signed, as what, by whom. Never changes."""

    handoff_ref: ApprovedHandoff
    """The handoff that is approved."""
    role: RoleName
    """The role in which the approver signs."""
    bundle_hash: Hash
    """Hash of what is signed, as the handoff's current attempt names it. An edit of the handoff
    makes another hash, and the approval void."""
    decision: Choice
    """Approve, or Reject: final for this hash."""
    approver: UserName
    """Who signs. Admission takes no other name than that of the user who creates this object."""
    comment: Comment | None = None
    """Why, for those who read it later."""

    rules = (
        Rule(
            cel="self == oldSelf",
            holds=None,
            wrong="an approval is a signature: it never changes",
            allowed="no change of the spec; delete it before it is counted, or create another",
        ),
    )


class ApprovalStatus(StatusModel):
    """What the operator makes of it."""

    observed_generation: Annotated[int, Field(ge=0)] | None = None
    """Generation that this status speaks of."""
    valid: bool = False
    """Whether it counts, for or against the bundle."""
    reason: Annotated[str, StringConstraints(max_length=63)] = ""
    """Why, as one word."""
    message: Message = ""
    """Why, as a sentence."""


class HandoffApproval(StatusModel):
    """One role's signature under one bundle hash. Written by people, immutable."""

    api_version: Literal["modelhandoff.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    kind: Literal["HandoffApproval"] = "HandoffApproval"
    metadata: ObjectMeta
    spec: ApprovalSpec
    status: ApprovalStatus = ApprovalStatus()

    rules: ClassVar[tuple[Rule, ...]] = ()
