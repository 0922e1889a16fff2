"""The verification Job, which checks a bundle before a pod of it exists, and its report.

Rendering is pure, and done once. The Job needs no token, no rights and, past the fetch, no
network. The spec comes from an immutable ConfigMap; the Job says which bytes it read, so a
ConfigMap that somebody changed is noticed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any

from modelhandoff.api import names
from modelhandoff.api.checks import MAX_BODY, Unreadable, read_body, read_receipt, sha256
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.verification import (
    CHECK_BUDGET,
    FrozenBaseline,
    job_budget,
    spec_document,
)
from modelhandoff.cluster import kinds
from modelhandoff.cluster.client import Client
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.jobs import CHECK, job, worker
from modelhandoff.cluster.mounts import volumes
from modelhandoff.cluster.pods import (
    ARTIFACTS,
    BASELINE_FOLDER,
    FETCH,
    MODEL_DIR,
    fetch_container,
    file_names,
)
from modelhandoff.cluster.settings import ClusterSettings
from modelhandoff.errors import ConflictError, GoneError, RefusedError, cut
from modelhandoff.rollout.diagnosis import FETCH_MISMATCH

Raw = dict[str, Any]

SPEC_DIR = "/mnt/spec"
SPEC_FILE = "spec.json"
MAX_LOG = 4 * MAX_BODY
"""Most bytes of the container's log that are read."""
_MIB = 1024 * 1024
_LEAST_MEMORY = 1024 * _MIB
_FOR_THE_RUNNER = 256 * _MIB
"""What of the container's memory the checks themselves may not have: the runner and libraries."""
_UNITS = {
    "": 1.0,
    "m": 1e-3,
    **{unit: 1000.0**power for power, unit in enumerate("kMGTP", start=1)},
    **{f"{unit}i": 1024.0**power for power, unit in enumerate("KMGTP", start=1)},
}


def verification_job(
    spec: ModelHandoffSpec,
    who: Identity,
    settings: ClusterSettings,
    baseline: FrozenBaseline | None = None,
) -> Raw:
    """The Job of one attempt, without its owner; ``baseline`` as :func:`compared_with` made it."""
    name = names.verification_job_name(who.attempt)
    document = spec_document(
        spec.model_dump(mode="json", by_alias=True),
        file_names(spec.candidate.artifacts),
        None if baseline is None else baseline.model_dump(mode="json", by_alias=True),
    )
    beside = () if baseline is None else baseline.artifacts
    memory = _memory(spec) + (memory_bytes(baseline.memory) if beside and baseline else 0)
    made = job(
        name,
        who,
        seconds=int(job_budget(spec).total_seconds()),
        fails_on=[{"containerName": FETCH, "operator": "In", "values": [FETCH_MISMATCH]}],
        init=[fetch_container(spec.candidate.artifacts, spec.candidate.serving, settings, beside)],
        container=_checker(memory, settings),
        volumes=[
            {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            {"name": "spec", "configMap": {"name": name}},
            *volumes((*spec.candidate.artifacts, *beside), spec.candidate.serving),
        ],
    )
    made["metadata"]["annotations"] = {names.ANNOTATION_SPEC_DIGEST: sha256(document.encode())}
    return made


def compared_with(baseline: FrozenBaseline) -> FrozenBaseline:
    """The baseline with the names of its files, as an attempt's snapshot keeps it."""
    return baseline.model_copy(update={"files": file_names(baseline.artifacts)})


def spec_map(
    rendered: Mapping[str, Any],
    spec: Mapping[str, Any],
    baseline: Mapping[str, Any] | None = None,
) -> Raw:
    """The ConfigMap with the spec that a rendered Job reads, without its owner.

    Made when it is needed: in the snapshot the spec would be a second time.

    Args:
        rendered: the Job as the attempt's snapshot holds it.
        spec: the resolved spec as the attempt's snapshot holds it.
        baseline: likewise; nothing when none is asked for.
    """
    fetch = rendered["spec"]["template"]["spec"]["initContainers"][0]
    manifest = next(e["value"] for e in fetch["env"] if e["name"] == ARTIFACTS)
    named = (artifact["file"] for artifact in json.loads(manifest))
    files = [file for file in named if not file.startswith(BASELINE_FOLDER)]
    meta = rendered["metadata"]
    return {
        "apiVersion": kinds.CONFIG_MAP.api_version,
        "kind": kinds.CONFIG_MAP.name,
        "metadata": {key: meta[key] for key in ("name", "namespace", "labels")},
        "immutable": True,
        "data": {SPEC_FILE: spec_document(spec, files, baseline)},
    }


def _checker(memory: int, settings: ClusterSettings) -> Raw:
    env = {
        "MODEL_DIR": MODEL_DIR,
        "MODELHANDOFF_SPEC": f"{SPEC_DIR}/{SPEC_FILE}",
        "MODELHANDOFF_DEADLINE": str(int(CHECK_BUDGET.total_seconds())),
        "MODELHANDOFF_MEMORY": str(memory - _FOR_THE_RUNNER),
    }
    resources = {
        "requests": {"cpu": "100m", "memory": "128Mi"},
        "limits": {"memory": f"{math.ceil(memory / _MIB)}Mi"},
    }
    mount = {"name": "spec", "mountPath": SPEC_DIR, "readOnly": True}
    return worker(
        CHECK,
        "modelhandoff.verify.check",
        env,
        settings,
        resources=resources,
        image=settings.verify_image,
        mounts=[mount],
    )


def _memory(spec: ModelHandoffSpec) -> int:
    """Bytes of the Job's container: as much as the model gets when it serves, or more."""
    return max(_LEAST_MEMORY, memory_bytes(spec.candidate.serving.resources.memory))


def checks_memory(spec: ModelHandoffSpec) -> int:
    """Bytes that the checks themselves may take."""
    return _memory(spec) - _FOR_THE_RUNNER


def memory_bytes(quantity: str) -> int:
    """Bytes of a Kubernetes quantity that the schema has let through."""
    found = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", quantity)
    if found is None:
        raise ValueError(f"not a quantity: {quantity!r}")
    return math.ceil(float(found[1]) * _UNITS[found[2]])


async def read_checks(client: Client, namespace: str, pod: str, receipt: str) -> Raw:
    """The report of a pod as fields of the attempt's status: its checks, or what is wrong with it.

    Raises:
        UnavailableError, ForbiddenError: nothing is known yet; ask again.
    """
    try:
        log = await client.log(namespace, pod, CHECK, limit=MAX_LOG)
        report = read_body(log, read_receipt(receipt))
    except GoneError:
        return {"checksProblem": f"pod {pod} is gone, and its log with it"}
    except (RefusedError, ConflictError) as error:
        return {"checksProblem": f"the log of pod {pod} cannot be read: {cut(error, 300)}"}
    except Unreadable as problem:
        return {"checksProblem": f"pod {pod}: {problem}"}
    return {"checks": [check.model_dump(mode="json", by_alias=True) for check in report.checks]}
