"""A real Kubernetes cluster, compiled from Go modules, as a tool for tests. See README.md."""

from __future__ import annotations

from .controlplane import ControlPlane
from .errors import ClusterError, NotATestCluster

__all__ = ["ClusterError", "ControlPlane", "NotATestCluster"]
