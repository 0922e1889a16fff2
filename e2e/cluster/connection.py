"""Finding a cluster that runs already."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from . import registry
from .cluster import Cluster
from .controlplane import ControlPlane
from .errors import ClusterError
from .external import ExternalCluster
from .instance import Instance
from .registry import Level


def connect(
    name: str | None = None, env: Mapping[str, str] = os.environ
) -> Cluster | ControlPlane | ExternalCluster:
    """The instance of that name; without a name what $KUBECONFIG says, else the only instance.

    Raises:
        NotATestCluster: $KUBECONFIG names a cluster that tests may not write to.
        ClusterError: there is no such instance, or several and no name.
    """
    if name is None and (config := env.get("KUBECONFIG")):
        return ExternalCluster.connect(Path(config))
    if name is None:
        found = [r.name for r in registry.records() if r.ready and not registry.is_orphan(r)]
        if len(found) != 1:
            raise ClusterError(
                f"which cluster? {len(found)} run{': ' + ', '.join(found) if found else ''}; "
                "give a name, or start one with: python -m e2e.cluster up"
            )
        name = found[0]
    record = registry.load(registry.check_name(name))
    if record is None or registry.is_orphan(record):
        raise ClusterError(f"instance {name!r} does not run; see: python -m e2e.cluster status")
    kind = Cluster if record.level is Level.FULL else ControlPlane
    return kind(Instance(record))
