"""Keeping a decision report: one ConfigMap, owned by its attempt, never changed, and its digests.

The ConfigMap can be deleted by whoever may edit the namespace; nothing is decided by it. The
digests are in the attempt's status, which only the operator writes.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final

from modelhandoff.api import names
from modelhandoff.cluster.kinds import ATTEMPT, CONFIG_MAP
from modelhandoff.cluster.objects import attempt_owner
from modelhandoff.cluster.refusals import AlreadyExistsError
from modelhandoff.cluster.workloads import Workshop
from modelhandoff.errors import ConflictError, RefusedError
from modelhandoff.rollout.actions import KeepReport

Raw = dict[str, Any]

Reporter = Callable[[Raw], Mapping[str, str]]
"""From an attempt as it is stored to its documents: file name -> text."""

MAX_STORED: Final = 400_000
"""Most bytes of one document as it is stored; two of them stay below the 1 MiB of a ConfigMap."""
PLAIN: Final = ".md"
"""Documents that people read with kubectl; all others are packed."""


async def keep(shop: Workshop, action: KeepReport, reporter: Reporter) -> None:
    """Write the report, unless it is there, and then what was written into the attempt's status.

    Raises:
        ConflictError: the attempt changed meanwhile.
        RefusedError: the name is taken by somebody else, or no document is small enough.
    """
    attempt = shop.store.get(ATTEMPT, shop.namespace, action.attempt)
    if attempt is None or attempt["metadata"].get("resourceVersion") != action.resource_version:
        raise ConflictError(f"HandoffAttempt {shop.namespace}/{action.attempt} changed")
    attempt = {**attempt, "apiVersion": ATTEMPT.api_version, "kind": ATTEMPT.name}
    manifest = config_map(attempt, reporter(attempt))
    name = manifest["metadata"]["name"]
    try:
        await shop.writer.create(CONFIG_MAP, manifest)
    except AlreadyExistsError:
        # From a pass that died after it. Anybody may have made it in advance: it counts only if
        # it is what would have been written.
        found = await shop.writer.read_again(CONFIG_MAP, name)
        if found is None:
            raise
        if any(found.get(field) != manifest[field] for field in ("data", "binaryData")):
            raise RefusedError(
                f"ConfigMap {shop.namespace}/{name}: is not the report of this attempt",
                user_action="delete it",
            ) from None
    documents = json.loads(manifest["metadata"]["annotations"][names.ANNOTATION_DOCUMENTS])
    reference = {"name": name, "documents": documents}
    await shop.writer.replace_status(
        ATTEMPT,
        action.attempt,
        {**attempt["status"], "reportRef": reference},
        resource_version=action.resource_version,
    )


def config_map(attempt: Raw, texts: Mapping[str, str]) -> Raw:
    """The ConfigMap of an attempt's report.

    Raises:
        RefusedError: every document is too large.
    """
    meta = attempt["metadata"]
    data: dict[str, str] = {}
    packed: dict[str, str] = {}
    documents: list[Raw] = []
    for file, text in sorted(texts.items()):
        plain = text.encode()
        stored = plain if file.endswith(PLAIN) else gzip.compress(plain, mtime=0)
        if len(stored) > MAX_STORED:
            continue
        key = file if file.endswith(PLAIN) else f"{file}.gz"
        if file.endswith(PLAIN):
            data[key] = text
        else:
            packed[key] = base64.b64encode(stored).decode()
        digest = hashlib.sha256(plain).hexdigest()
        documents.append({"key": key, "sha256": digest, "size": len(plain)})
    if not documents:
        raise RefusedError(f"the report of {meta['name']} is larger than a ConfigMap may be")
    return {
        "apiVersion": CONFIG_MAP.api_version,
        "kind": CONFIG_MAP.name,
        "metadata": {
            "name": names.report_name(meta["name"]),
            "namespace": meta["namespace"],
            "labels": {
                **names.labels(attempt["spec"]["handoffRef"]["name"], attempt["spec"]["revision"]),
                names.LABEL_ATTEMPT: meta["name"],
            },
            "annotations": {names.ANNOTATION_DOCUMENTS: json.dumps(documents, sort_keys=True)},
            "ownerReferences": [attempt_owner(meta["name"], meta["uid"])],
        },
        "immutable": True,
        "data": data,
        "binaryData": packed,
    }
