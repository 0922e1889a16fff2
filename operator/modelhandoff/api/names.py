"""Names, labels and annotations: the one place where an object's name is made.

Every name is a DNS-1035 label of at most 63 characters. A handoff's own name is at most
40 characters (checked by the CRD), hashes are ten characters, and the longest suffix is
twelve, so no name is ever truncated and two handoffs never collide.
"""

from __future__ import annotations

import hashlib

GROUP = "modelhandoff.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

HANDOFFS = "modelhandoffs"
ATTEMPTS = "handoffattempts"
POLICIES = "handoffpolicies"
APPROVALS = "handoffapprovals"

FIELD_MANAGER = "modelhandoff"
FINALIZER = f"{GROUP}/traffic"
"""Held while a handoff or its attempt may still have to take traffic off a candidate."""

# Labels on everything the operator creates. They select, so they hold only safe values:
# a model's version is an annotation, because a version may be any text.
LABEL_HANDOFF = f"{GROUP}/handoff"
LABEL_REVISION = f"{GROUP}/revision"
LABEL_ATTEMPT = f"{GROUP}/attempt"
LABEL_MANAGED_BY = "app.kubernetes.io/managed-by"
LABEL_PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "modelhandoff"

# On a Deployment's own metadata, never on its pod template: a role change restarts no pod.
LABEL_ROLE = f"{GROUP}/role"
ROLE_CANDIDATE = "candidate"
ROLE_STABLE = "stable"
ANNOTATION_BUNDLE = f"{GROUP}/bundle"
"""The bundle hash under which the revision became stable."""
ANNOTATION_PROMOTED_AT = f"{GROUP}/promoted-at"

ANNOTATION_AUTHOR = f"{GROUP}/author"
"""On a handoff: who wrote what it says. Admission takes no other name than the user's own."""

ANNOTATION_SPEC_DIGEST = f"{GROUP}/spec-digest"
"""On a verification or warm-up Job: SHA-256 of what it was told, which it has to report."""

ANNOTATION_MODEL = f"{GROUP}/model"
ANNOTATION_MODEL_VERSION = f"{GROUP}/model-version"

# The intent travels in the same PATCH as the weights. Every later pass treats it as latched.
ANNOTATION_INTENT = f"{GROUP}/intent"
"""On the route: ``<attempt name>:<Rollback|Abort|...>:<reason>``."""
ANNOTATION_OWNER = f"{GROUP}/owner"
"""On the route: ``<namespace>/<handoff>/<uid>``; nobody else's route is ever touched."""
ANNOTATION_STAMP = f"{GROUP}/weights"
"""On the route, in the same PATCH as the weights: who wrote them and for what."""
ANNOTATION_DOCUMENTS = f"{GROUP}/documents"
"""On the ConfigMap of a report: its documents with their digests."""
ANNOTATION_EPOCH = f"{GROUP}/epoch"
"""On attempts and routes: the leader epoch that wrote last (fencing)."""

# Verbs: annotations on the handoff, absent from Git, written by the CLI or a person.
# The value names the attempt it is meant for, so that a stale verb does nothing.
ANNOTATION_PAUSE = f"{GROUP}/pause"
ANNOTATION_ABORT = f"{GROUP}/abort"
ANNOTATION_RETRY = f"{GROUP}/retry"
ANNOTATION_PROMOTE = f"{GROUP}/promote"
VERBS = (ANNOTATION_PAUSE, ANNOTATION_ABORT, ANNOTATION_RETRY, ANNOTATION_PROMOTE)

HASH_LENGTH = 10
MAX_HANDOFF_NAME = 40
MAX_NAME = 63


def short_hash(*parts: str) -> str:
    """Ten lower-case hexadecimal characters of the SHA-256 of the parts, NUL-separated."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:HASH_LENGTH]


def workload_name(handoff: str, revision: str) -> str:
    """Deployment and Service of one revision. ``revision`` is the full hash, ``v1-<hex>``."""
    return f"{handoff}-{revision_label(revision)}"


def revision_label(revision: str) -> str:
    """The ten characters of a revision hash that labels and names carry."""
    return revision.removeprefix("v1-")[:HASH_LENGTH]


def attempt_name(handoff: str, uid: str, bundle: str, ordinal: int) -> str:
    """Name of one attempt, computed so that its creation is exactly-once (409 = it exists)."""
    return f"{handoff}-{short_hash(uid, bundle, str(ordinal))}"


def route_name(handoff: str) -> str:
    """The operator-owned HTTPRoute of a handoff."""
    return handoff


def stable_service_name(handoff: str) -> str:
    """The Service that always selects the stable revision, for callers beside the gateway."""
    return handoff


def baseline_service_name(handoff: str) -> str:
    """The operator's own Service in front of an adopted Deployment's pods."""
    return f"{handoff}-baseline"


def warmup_job_name(attempt: str) -> str:
    """The Job that sends example requests to the candidate before it gets any weight."""
    return f"{attempt}-warmup"


def report_name(attempt: str) -> str:
    """The ConfigMap with the decision report of an attempt."""
    return f"{attempt}-report"


def verification_job_name(attempt: str) -> str:
    """The Job that checks a bundle before any pod of it exists; its ConfigMap has the same name."""
    return f"{attempt}-verify"


def tenant_job_name(attempt: str, suffix: str) -> str:
    """One of the tenant's own Jobs: ``test-0`` and so on, or ``reproduce``."""
    return f"{attempt}-{suffix}"


def pod_prefix(workload: str) -> str:
    """What the name of every pod of a Deployment starts with; tells the arms apart in metrics."""
    return f"{workload}-"


def labels(handoff: str, revision: str | None = None) -> dict[str, str]:
    """Labels of an object the operator creates; with ``revision``, of one revision's objects."""
    found = {
        LABEL_HANDOFF: handoff,
        LABEL_MANAGED_BY: MANAGED_BY,
        LABEL_PART_OF: MANAGED_BY,
    }
    if revision is not None:
        found[LABEL_REVISION] = revision_label(revision)
    return found
