"""A real Kubernetes cluster, compiled from Go modules, as a tool for tests. See README.md."""

from __future__ import annotations

from .cluster import Cluster
from .controlplane import ControlPlane
from .errors import ClusterError, NotATestCluster

__all__ = ["Cluster", "ClusterError", "ControlPlane", "NotATestCluster"]
