"""A real Kubernetes cluster, compiled from Go modules, as a tool for tests. See README.md."""

from __future__ import annotations

from .cluster import Cluster
from .connection import connect
from .controlplane import ControlPlane
from .errors import ClusterError, NotATestCluster
from .external import ExternalCluster

__all__ = [
    "Cluster",
    "ClusterError",
    "ControlPlane",
    "ExternalCluster",
    "NotATestCluster",
    "connect",
]
