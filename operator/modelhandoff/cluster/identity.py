"""Whose objects are rendered."""

from __future__ import annotations

from dataclasses import dataclass

from modelhandoff.api import names


@dataclass(frozen=True, slots=True)
class Identity:
    """The handoff and the attempt that objects are rendered for.

    Attributes:
        handoff: its name.
        uid: its identity: a re-created handoff is another one.
        attempt: name of the attempt.
        revision: the full hash, ``v1-<hex>``.
    """

    handoff: str
    namespace: str
    uid: str
    attempt: str
    revision: str

    @property
    def workload(self) -> str:
        """Name of the revision's Deployment and Service."""
        return names.workload_name(self.handoff, self.revision)
