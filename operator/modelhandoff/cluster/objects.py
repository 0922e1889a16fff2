"""From a resolved handoff to manifests: pure functions, called once per attempt.

What they return is stored in the attempt's snapshot and never rendered again, so that an
upgrade of the operator re-rolls nothing. Owners and replicas are added when an object is
created: they are no part of what a revision is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.tenant_jobs import tenant_jobs
from modelhandoff.api.verification import FrozenBaseline, needed
from modelhandoff.cluster import kinds
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.kinds import Kind
from modelhandoff.cluster.pods import HTTP_PORT, pod_template
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.cluster.tenant_jobs import tenant_job
from modelhandoff.cluster.verification import compared_with, verification_job
from modelhandoff.cluster.warmup import warmup_job
from modelhandoff.errors import RefusedError, cut

Raw = dict[str, Any]

SERVICE_PORT = 80
"""Port of every Service the operator makes, whatever port the pods listen on: a route can then
hold two revisions with different ports, and the stable Service can change hands."""


@dataclass(frozen=True, slots=True)
class Frozen:
    """An attempt's snapshot, decoded: the resolved spec and the rendered objects by role."""

    spec: ModelHandoffSpec
    objects: Mapping[str, Raw]

    @property
    def spec_digest(self) -> str:
        """SHA-256 of the spec file that the verification Job must report; "" without a Job."""
        return _digest(self.objects.get("verification"))

    @property
    def promises_digest(self) -> str:
        """SHA-256 of the promises that the warm-up Job must report on; "" when it knows none."""
        return _digest(self.objects.get("warmup"))


def _digest(job: Raw | None) -> str:
    annotations = job["metadata"].get("annotations") or {} if job else {}
    return str(annotations.get(names.ANNOTATION_SPEC_DIGEST, ""))


def render(
    spec: ModelHandoffSpec,
    who: Identity,
    settings: ClusterSettings,
    baseline: FrozenBaseline | None = None,
) -> str:
    """The attempt's snapshot: the resolved spec and everything rendered from it, as JSON text.

    ``baseline`` is kept beside them, where the spec asks for a comparison.
    """
    compared = None if baseline is None else compared_with(baseline)
    objects = {
        "deployment": deployment(spec, who, settings),
        "service": service(who),
        "warmup": warmup_job(spec, who, settings),
    }
    if spec.candidate.serving.replicas > 1:
        objects["disruptionBudget"] = disruption_budget(who)
    if needed(spec):
        objects["verification"] = verification_job(spec, who, settings, compared)
    for one in tenant_jobs(spec):
        objects[one.suffix] = tenant_job(one, spec, who, settings)
    frozen: Raw = {"spec": spec.model_dump(mode="json", by_alias=True), "objects": objects}
    if compared is not None:
        frozen["baseline"] = compared.model_dump(mode="json", by_alias=True)
    return json.dumps(frozen, sort_keys=True, separators=(",", ":"), allow_nan=False)


@lru_cache(maxsize=1024)
def thaw(snapshot: str) -> Frozen:
    """Read what :func:`render` wrote. Snapshots never change, so each is decoded once.

    Raises:
        RefusedError: the text is not one of ours.
    """
    try:
        raw = json.loads(snapshot)
        return Frozen(ModelHandoffSpec.model_validate(raw["spec"]), raw["objects"])
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(
            f"spec.snapshot: cannot be read; got {cut(snapshot)}: {cut(error)}"
        ) from error


def deployment(spec: ModelHandoffSpec, who: Identity, settings: ClusterSettings) -> Raw:
    """The Deployment of one revision, without replicas and owner."""
    budget = spec.candidate.serving.startup.timeout + spec.rollout.capacity.pending_deadline
    return {
        **_header(kinds.DEPLOYMENT, who.workload, who),
        "metadata": {
            "name": who.workload,
            "namespace": who.namespace,
            "labels": {
                **names.labels(who.handoff, who.revision),
                names.LABEL_ROLE: names.ROLE_CANDIDATE,
            },
            "annotations": {
                names.ANNOTATION_MODEL: spec.candidate.model.name,
                names.ANNOTATION_MODEL_VERSION: spec.candidate.model.version,
            },
        },
        "spec": {
            "selector": {"matchLabels": selector(who.handoff, who.revision)},
            # A template is never changed. If somebody does it, no ready pod is given up for it.
            "strategy": {
                "type": "RollingUpdate",
                "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
            },
            "revisionHistoryLimit": 1,
            "progressDeadlineSeconds": int(budget.total_seconds()) + settings.pending_slack_seconds,
            "template": pod_template(spec, who.handoff, who.revision, settings),
        },
    }


def service(who: Identity) -> Raw:
    """The Service of one revision: what the route refers to."""
    return {
        **_header(kinds.SERVICE, who.workload, who),
        "spec": service_spec(selector(who.handoff, who.revision), HTTP_PORT),
    }


def disruption_budget(who: Identity) -> Raw:
    """Node drains take the revision's pods one at a time."""
    return {
        **_header(kinds.DISRUPTION_BUDGET, who.workload, who),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(who.handoff, who.revision)},
        },
    }


def plain_service(
    handoff: str,
    namespace: str,
    name: str,
    chosen: Mapping[str, str],
    target_port: str | int,
) -> Raw:
    """A Service of a handoff that belongs to no single revision: the stable, the baseline."""
    return {
        "apiVersion": kinds.SERVICE.api_version,
        "kind": kinds.SERVICE.name,
        "metadata": {"name": name, "namespace": namespace, "labels": names.labels(handoff)},
        "spec": service_spec(chosen, target_port),
    }


def service_spec(chosen: Mapping[str, str], target_port: str | int) -> Raw:
    """The spec of every Service the operator makes."""
    return {
        "type": "ClusterIP",
        "selector": dict(chosen),
        "ports": [
            {"name": "http", "port": SERVICE_PORT, "targetPort": target_port, "protocol": "TCP"}
        ],
    }


def selector(handoff: str, revision: str) -> dict[str, str]:
    """What selects the pods of one revision, and no others."""
    all_labels = names.labels(handoff, revision)
    return {key: all_labels[key] for key in (names.LABEL_HANDOFF, names.LABEL_REVISION)}


def attempt_owner(attempt: str, uid: str) -> Raw:
    """The ownerReference to an attempt: what goes with it."""
    return _reference(kinds.ATTEMPT, attempt, uid)


def owner(handoff: str, uid: str) -> Raw:
    """The ownerReference to a handoff. It blocks nothing: the finalizer decides what goes when."""
    return _reference(kinds.HANDOFF, handoff, uid)


def _reference(kind: Kind, name: str, uid: str) -> Raw:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "name": name,
        "uid": uid,
        "controller": False,
        "blockOwnerDeletion": False,
    }


def owned(manifest: Raw, reference: Raw) -> Raw:
    """The manifest with an owner."""
    return {
        **manifest,
        "metadata": {**manifest["metadata"], "ownerReferences": [reference]},
    }


def _header(kind: Kind, name: str, who: Identity) -> Raw:
    return {
        "apiVersion": kind.api_version,
        "kind": kind.name,
        "metadata": {
            "name": name,
            "namespace": who.namespace,
            "labels": names.labels(who.handoff, who.revision),
        },
    }
