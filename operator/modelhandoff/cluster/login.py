"""Where the API server is and how to speak to it: the pod's service account, or a kubeconfig."""

from __future__ import annotations

import os

from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import (
    ConfigException,
    load_incluster_config,
    load_kube_config,
)

from modelhandoff.errors import ForbiddenError


async def configuration(kubeconfig: str = "", context: str = "") -> Configuration:
    """The configuration for a :class:`~modelhandoff.cluster.client.Client`.

    A kubeconfig named by the caller wins; without one it is the service account of the pod
    this runs in, and outside a pod the user's own kubeconfig (``KUBECONFIG``, then
    ``~/.kube/config``). Tokens that rotate are read again by the official client's hook.

    Raises:
        ForbiddenError: none of them can be used.
    """
    found = Configuration()
    try:
        if not kubeconfig and "KUBERNETES_SERVICE_HOST" in os.environ:
            load_incluster_config(client_configuration=found)  # type: ignore[no-untyped-call]
        else:
            await load_kube_config(  # type: ignore[no-untyped-call]
                config_file=kubeconfig or None,
                context=context or None,
                client_configuration=found,
            )
    except (ConfigException, OSError) as error:
        raise ForbiddenError(
            f"kubeconfig: no way to log in to an API server: {error}",
            user_action="set KUBECONFIG, or run in a pod with a service account",
        ) from error
    return found
