"""What the platform decides about the objects the operator makes; the controller fills it in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Platform settings of the objects.

    Attributes:
        fetch_image: image with ``modelhandoff.verify`` in it: the init container that fetches
            and checks artifacts, and the warm-up Job.
        image_pull_policy: of our own image; the tenant's is left to Kubernetes.
        drain_seconds: how long a pod goes on serving after it was told to stop, so that its
            endpoint has left every proxy.
        pending_slack_seconds: added to start-up and pending time for ``progressDeadlineSeconds``.
        identity: name of this process, reported in events.
    """

    fetch_image: str
    image_pull_policy: str = "IfNotPresent"
    drain_seconds: int = 10
    pending_slack_seconds: int = 120
    identity: str = "modelhandoff"
