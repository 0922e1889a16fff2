"""``readme``: the handoff as one document for people, from what the cluster has."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.printing import warn
from modelhandoff.cli.kubectl.problem import Trouble
from modelhandoff.cluster.kinds import POLICY
from modelhandoff.errors import InvalidSpecError

if TYPE_CHECKING:
    from modelhandoff.api.policy import PolicySpec

DEFAULT_POLICY = "default"


def readme(api: Api, name: str, *, everywhere: bool, levels: Sequence[float]) -> None:
    """Print the handoff README. ``levels`` in requests per second, for the planner."""
    from modelhandoff.api.resolve import resolve
    from modelhandoff.cli.readme import text

    handoff = lookup.find(api, name, everywhere=everywhere)
    meta = handoff["metadata"]
    try:
        spec = resolve(handoff.get("spec") or {}, _policy(api, handoff))
    except InvalidSpecError as failure:
        raise Trouble(
            "\n".join(f"{meta['namespace']}/{meta['name']}: {line}" for line in failure.errors)
        ) from None
    sys.stdout.write(text(handoff, spec, levels))


def _policy(api: Api, handoff: Raw) -> PolicySpec | None:
    """The presets of the policy; without the right to read it, the handoff's own terms alone."""
    from pydantic import ValidationError

    from modelhandoff.api.policy import PolicySpec

    named = ((handoff.get("spec") or {}).get("policyRef") or {}).get("name")
    found = lookup.if_any(lambda: api.get(POLICY, None, named or DEFAULT_POLICY))
    if found is None:
        if named:
            warn(f"policy {named} cannot be read: what it presets is shown as not set")
        return None
    try:
        return PolicySpec.model_validate(found.get("spec") or {})
    except ValidationError:
        warn(f"policy {named or DEFAULT_POLICY} is of another version: its presets are left out")
        return None
