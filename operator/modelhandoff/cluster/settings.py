"""What the platform decides about the objects the operator makes; the controller fills it in."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClusterSettings:
    """Platform settings of the objects.

    Attributes:
        fetch_image: image with ``modelhandoff.verify`` in it: the init container that fetches
            and checks artifacts, and of the warm-up Job.
        verify_image: image of the verification Job, with the libraries of its checks; the one
            above when "".
        image_pull_policy: of both images; the tenant's is left to Kubernetes.
        drain_seconds: how long a pod that was told to stop goes on serving untouched, so that
            its endpoint has left every proxy.
        shutdown_seconds: how long the server may take to end after that.
        pending_slack_seconds: what ``progressDeadlineSeconds`` has on top of start-up and
            pending time: the rollout's own budgets are to end first.
        identity: name of this process, as events report it.
    """

    fetch_image: str
    verify_image: str = ""
    image_pull_policy: str = "IfNotPresent"
    drain_seconds: int = 10
    shutdown_seconds: int = 30
    pending_slack_seconds: int = 120
    identity: str = "modelhandoff"
