"""Replica arithmetic: capacity always comes before traffic."""

from __future__ import annotations


def canary_replicas(weight: int, full: int) -> int:
    """Pods that ``weight`` percent of the traffic need when all of it needs ``full``.

    Rounded up, at least one: a share of the traffic never meets less than its share of pods.
    """
    return max(1, -(-weight * full // 100))
