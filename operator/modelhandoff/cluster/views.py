"""Raw objects as the rollout reads them: one function per view, each pure and total.

Status is written by other programs of other versions: a field that is missing or has a
surprising shape gives the careful answer, never an exception.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.promises import BROKEN_EXIT
from modelhandoff.cluster.jobs import CHECK, WORK
from modelhandoff.cluster.pods import FETCH, SERVER
from modelhandoff.cluster.warmup import WARMUP
from modelhandoff.errors import cut
from modelhandoff.rollout.snapshot import (
    ApprovalView,
    FreezeView,
    JobView,
    PodView,
    ServiceView,
    WorkloadView,
    WorkView,
)

Raw = Mapping[str, Any]
NO_RECEIPT = "nothing"
"""Stands for the termination message of checks that ended well and left none."""
_REPORTS = ((CHECK, (0,)), (WARMUP, (0, BROKEN_EXIT)))
"""Containers that leave a report, and the exit statuses with which they do."""
MAX_TEXT = 4096
"""As long as a termination message can be."""


def labels_of(raw: Raw) -> Mapping[str, str]:
    """Labels of an object."""
    return raw["metadata"].get("labels") or {}


def annotations_of(raw: Raw) -> Mapping[str, str]:
    """Annotations of an object."""
    return raw["metadata"].get("annotations") or {}


def moment(text: Any) -> datetime | None:
    """A Kubernetes time, or ``None`` for anything else."""
    if not isinstance(text, str) or not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)


def is_ours(raw: Raw, handoff: str) -> bool:
    """Whether the operator made an object for this handoff."""
    found = labels_of(raw)
    return (
        found.get(names.LABEL_HANDOFF) == handoff
        and found.get(names.LABEL_MANAGED_BY) == names.MANAGED_BY
    )


def workload(
    raw: Raw,
    pods: Iterable[PodView],
    handoff: str,
    handoff_uid: str,
) -> WorkloadView:
    """A Deployment; ``pods`` are those that its selector selects, as far as they are watched."""
    meta, spec, status = raw["metadata"], raw.get("spec") or {}, raw.get("status") or {}
    managed = is_ours(raw, handoff) and bool(labels_of(raw).get(names.LABEL_REVISION))
    seen = tuple(pods)
    ready = _ready_of_current_template(status)
    if managed:
        # The pod's own word comes first: the Deployment's count lags behind a crash.
        ready = min(ready, sum(pod.ready and not pod.deleting for pod in seen))
    wanted = spec.get("replicas")
    return WorkloadView(
        name=meta["name"],
        uid=meta.get("uid", ""),
        resource_version=meta.get("resourceVersion", ""),
        revision=labels_of(raw).get(names.LABEL_REVISION, "") if managed else "",
        bundle=annotations_of(raw).get(names.ANNOTATION_BUNDLE, "") if managed else "",
        model_version=annotations_of(raw).get(names.ANNOTATION_MODEL_VERSION, ""),
        stable=managed and labels_of(raw).get(names.LABEL_ROLE) == names.ROLE_STABLE,
        owned=any(o.get("uid") == handoff_uid for o in meta.get("ownerReferences") or ()),
        managed=managed,
        deleting=bool(meta.get("deletionTimestamp")),
        desired=1 if wanted is None else int(wanted),
        ready=ready,
        observed=int(status.get("observedGeneration", 0)) >= int(meta.get("generation", 0)),
        failure=_failure(status),
        promoted_at=moment(annotations_of(raw).get(names.ANNOTATION_PROMOTED_AT)),
        pods=seen,
        pod_labels=_pod_labels(spec),
    )


def _ready_of_current_template(status: Raw) -> int:
    """Ready pods that certainly are of the current template.

    A Deployment counts ready pods of all its templates together; in the worst case every pod of
    an older one is among them.
    """
    ready, total = int(status.get("readyReplicas") or 0), int(status.get("replicas") or 0)
    older = max(0, total - int(status.get("updatedReplicas") or 0))
    return max(0, ready - older)


def _failure(status: Raw) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "ReplicaFailure" and condition.get("status") == "True":
            return cut(condition.get("message") or condition.get("reason") or "", MAX_TEXT)
    return ""


def _pod_labels(spec: Raw) -> dict[str, str]:
    """Labels by which a Service finds exactly the pods of a Deployment."""
    selector = spec.get("selector") or {}
    if selector.get("matchLabels") and not selector.get("matchExpressions"):
        return dict(selector["matchLabels"])
    template = spec.get("template") or {}
    return dict((template.get("metadata") or {}).get("labels") or {})


def pod(raw: Raw, gpu_product: str = "") -> PodView:
    """A pod of a revision, with what explains why it is not ready."""
    meta, status = raw["metadata"], raw.get("status") or {}
    init = _container(status, "initContainerStatuses", FETCH)
    server = _container(status, "containerStatuses", SERVER)
    conditions = {c.get("type"): c for c in status.get("conditions") or ()}
    scheduled = conditions.get("PodScheduled") or {}
    waiting = _waiting(status)
    fetched = _ended(init)
    crash = _crash(server)
    return PodView(
        name=meta["name"],
        created=moment(meta.get("creationTimestamp")) or datetime.fromtimestamp(0, UTC),
        ready=(conditions.get("Ready") or {}).get("status") == "True",
        deleting=bool(meta.get("deletionTimestamp")),
        restarts=int(server.get("restartCount") or 0),
        waiting_reason=str(waiting.get("reason") or ""),
        waiting_message=cut(waiting.get("message") or "", MAX_TEXT),
        unschedulable=cut(scheduled.get("message") or scheduled.get("reason") or "", MAX_TEXT)
        if scheduled.get("status") == "False"
        else "",
        init_exit_code=None if fetched is None else int(fetched.get("exitCode", -1)),
        init_message=_words(fetched),
        crashed=crash is not None,
        crash_message=_words(crash),
        node=str((raw.get("spec") or {}).get("nodeName") or ""),
        gpu_product=gpu_product,
        scheduled_at=moment(scheduled.get("lastTransitionTime"))
        if scheduled.get("status") == "True"
        else None,
        begun=_begun(server),
        unmounted=_unmounted(raw, conditions.get("PodReadyToStartContainers") or {}),
    )


def _unmounted(raw: Raw, sandbox: Raw) -> tuple[str, ...]:
    """Claims of a pod on a node that has not mounted its volumes: they come before its sandbox."""
    spec = raw.get("spec") or {}
    if not spec.get("nodeName") or sandbox.get("status") != "False":
        return ()
    claims = (volume.get("persistentVolumeClaim") or {} for volume in spec.get("volumes") or ())
    return tuple(str(claim["claimName"]) for claim in claims if claim.get("claimName"))


def _container(status: Raw, group: str, name: str) -> Raw:
    found = (c for c in status.get(group) or () if c.get("name") == name)
    return next(found, {})


def _waiting(status: Raw) -> Raw:
    """What the first container that waits is waiting for; mere queueing says nothing."""
    for group in ("initContainerStatuses", "containerStatuses"):
        for container in status.get(group) or ():
            waiting = (container.get("state") or {}).get("waiting") or {}
            if waiting.get("reason") not in (None, "", "PodInitializing", "ContainerCreating"):
                return dict(waiting)
    return {}


def _ended(container: Raw) -> Raw | None:
    """The last run of a container that ended: the present state, or the one before."""
    for key in ("state", "lastState"):
        ended = (container.get(key) or {}).get("terminated")
        if ended:
            return dict(ended)
    return None


def _begun(server: Raw) -> bool:
    """Whether the container has ever run."""
    return _ended(server) is not None or "running" in (server.get("state") or {})


def _crash(server: Raw) -> Raw | None:
    """The server's last run, if it ended by itself with an error."""
    ended = _ended(server)
    return ended if ended is not None and int(ended.get("exitCode", 0)) != 0 else None


def _words(ended: Raw | None) -> str:
    if ended is None:
        return ""
    said = str(ended.get("message") or "").strip()
    reason, code = str(ended.get("reason") or ""), ended.get("exitCode")
    if said and reason != "OOMKilled":
        return cut(said, MAX_TEXT)
    return cut(" ".join(p for p in (f"{reason} (exit code {code})", said) if p), MAX_TEXT)


def approval(raw: Raw) -> ApprovalView:
    """An approval; what is missing or no text reads as ""."""
    meta, spec = raw["metadata"], raw.get("spec")
    status = raw.get("status")
    return ApprovalView(
        name=meta["name"],
        resource_version=meta.get("resourceVersion", ""),
        generation=int(meta.get("generation") or 0),
        role=_word(spec, "role"),
        bundle=_word(spec, "bundleHash"),
        decision=_word(spec, "decision"),
        approver=_word(spec, "approver"),
        created=moment(meta.get("creationTimestamp")),
        comment=_word(spec, "comment"),
        status=status if isinstance(status, Mapping) else {},
    )


def freeze(raw: Any) -> FreezeView | None:
    """A freeze window; ``None`` for what has no two times."""
    if not isinstance(raw, Mapping):
        return None
    start, until = moment(raw.get("from")), moment(raw.get("until"))
    if start is None or until is None:
        return None
    return FreezeView(start, until, _word(raw, "reason"))


def _word(tree: Any, key: str) -> str:
    found = tree.get(key) if isinstance(tree, Mapping) else None
    return found if isinstance(found, str) else ""


def service(raw: Raw, handoff: str) -> ServiceView:
    """A Service."""
    return ServiceView(
        name=raw["metadata"]["name"],
        resource_version=raw["metadata"].get("resourceVersion", ""),
        selector=dict((raw.get("spec") or {}).get("selector") or {}),
        ours=is_ours(raw, handoff),
    )


def job(raw: Raw, pods: Iterable[Raw]) -> JobView:
    """A Job of ours; ``pods`` are its raw pods, the newest of which speaks for it."""
    status = raw.get("status") or {}
    conditions = {
        c.get("type"): c for c in status.get("conditions") or () if c.get("status") == "True"
    }
    failure = conditions.get("Failed")
    newest = sorted(
        pods, key=lambda p: (p["metadata"].get("creationTimestamp") or "", p["metadata"]["name"])
    )
    said = next((words for words in map(_job_words, reversed(newest)) if words), "")
    reporter, receipt = _receipt(newest)
    return JobView(
        name=raw["metadata"]["name"],
        succeeded="Complete" in conditions,
        failed=failure is not None,
        message=said or cut((failure or {}).get("message") or "", MAX_TEXT),
        started_at=moment(status.get("startTime")),
        pod=pod(newest[-1]) if newest else None,
        receipt=receipt,
        reporter=reporter,
        work=_work(newest, reporter),
    )


def _work(pods: Iterable[Raw], reporter: str) -> WorkView | None:
    """The tenant's container where it counts.

    In the pod that reported, else in the first where it failed by itself, else in the newest one:
    there it runs, or it ended well and its report is still to come. A pod that was evicted or
    deleted under it says nothing about it.
    """
    found: WorkView | None = None
    for raw in pods:
        status = raw.get("status") or {}
        state = _container(status, "initContainerStatuses", WORK).get("state") or {}
        ended, running = state.get("terminated"), state.get("running")
        reported = raw["metadata"]["name"] == reporter
        if ended and (reported or not _disturbed(raw)):
            code = int(ended.get("exitCode", -1))
            found = WorkView(
                started_at=moment(ended.get("startedAt")),
                ended_at=moment(ended.get("finishedAt")),
                exit_code=code,
                said=_said(ended) if code else "",
            )
            if reported or (code and not reporter):
                return found
        elif running is not None and not _disturbed(raw):
            found = WorkView(started_at=moment(running.get("startedAt")))
    return found


def _said(ended: Raw) -> str:
    """The end of a log as it was written, line by line; the kubelet has bounded it."""
    log = str(ended.get("message") or "").strip()[-MAX_TEXT:]
    return log if log and ended.get("reason") != "OOMKilled" else _words(ended)


def _disturbed(raw: Raw) -> bool:
    conditions = (raw.get("status") or {}).get("conditions") or ()
    return bool(raw["metadata"].get("deletionTimestamp")) or any(
        c.get("type") == "DisruptionTarget" and c.get("status") == "True" for c in conditions
    )


def _receipt(pods: Iterable[Raw]) -> tuple[str, str]:
    """Name and termination message of the first pod that has something to report.

    The first, not the newest: a result that is there is never exchanged for another one.
    """
    for raw in pods:
        for name, codes in _REPORTS:
            ended = _ended(_container(raw.get("status") or {}, "containerStatuses", name))
            if ended is not None and int(ended.get("exitCode", -1)) in codes:
                # Not cut: a text that is changed is no receipt. The API server bounds it.
                return raw["metadata"]["name"], str(ended.get("message") or "") or NO_RECEIPT
    return "", ""


def _job_words(raw: Raw) -> str:
    """What a Job's pod says: its result, else why it is stuck."""
    status = raw.get("status") or {}
    for group, name in (
        ("containerStatuses", WARMUP),
        ("containerStatuses", CHECK),
        ("initContainerStatuses", WORK),
        ("initContainerStatuses", FETCH),
    ):
        ended = _ended(_container(status, group, name))
        if ended is not None and (name == WARMUP or int(ended.get("exitCode", 0)) != 0):
            return _words(ended)
    view = pod(raw)
    evicted = cut(status.get("message") or "", MAX_TEXT)
    return view.unschedulable or view.waiting_message or view.waiting_reason or evicted
