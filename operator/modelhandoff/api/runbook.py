"""The runbook: who owns the model and what to do when it hurts."""

from __future__ import annotations

from typing import Annotated

from modelhandoff.api.base import SpecModel
from modelhandoff.api.quantities import HttpUrl, ListOf, LongText, Text, Word63


class Owners(SpecModel):
    """Who answers for the model."""

    team: Word63
    """The owning team."""
    rotation: Text | None = None
    """The on-call rotation, as a name or an address."""
    escalation: Annotated[tuple[Text, ...], ListOf(10, minimum=1)]
    """Whom to call, in order."""


class RunbookEntry(SpecModel):
    """One known trouble. Not part of any hash: it may be improved while a rollout runs."""

    symptom: Text
    """What one sees."""
    diagnose: LongText
    """How to find the cause."""
    remedy: LongText
    """What to do."""


class Runbook(SpecModel):
    """Who owns the model and what to do when it hurts."""

    url: HttpUrl
    """Address of the full runbook."""
    owners: Owners
    """Who answers for the model."""
    entries: Annotated[tuple[RunbookEntry, ...], ListOf(50)] = ()
    """Known troubles, for those who are on call."""
