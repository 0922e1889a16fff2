"""The one exception the cluster tool raises for what its user can act on."""

from __future__ import annotations


class ClusterError(RuntimeError):
    """Something outside this program went wrong; the message says what and what to do."""


class NotATestCluster(ClusterError):
    """The cluster that was named does not look as if tests may write to it."""
