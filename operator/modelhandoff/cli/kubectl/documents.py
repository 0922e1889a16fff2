"""``readme`` and ``report``: what is agreed and what was decided, as documents for people."""

from __future__ import annotations

import base64
import binascii
import gzip
import hashlib
import sys
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from modelhandoff.cli.kubectl import lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.printing import warn
from modelhandoff.cli.kubectl.problem import Trouble
from modelhandoff.cluster.kinds import ATTEMPT, CONFIG_MAP, POLICY
from modelhandoff.cluster.store import DEFAULT_POLICY
from modelhandoff.errors import InvalidInputError, InvalidSpecError

if TYPE_CHECKING:
    from modelhandoff.api.policy import PolicySpec


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


def report(api: Api, name: str, *, everywhere: bool, attempt: str, output: str) -> None:
    """Print the decision report of an attempt: the kept one, else one made of what is there."""
    if output not in ("md", "html"):
        raise Trouble(f"--output: not a format; got {output}; allowed md, html")
    handoff = lookup.find(api, name, everywhere=everywhere)
    found = _attempt(api, handoff, attempt)
    text = _kept(api, found, output)
    sys.stdout.write(text if text is not None else _made(api, handoff, found, output))


def _attempt(api: Api, handoff: Raw, wanted: str) -> Raw:
    meta = handoff["metadata"]
    place = f"{meta['namespace']}/{meta['name']}"
    if wanted:
        found = lookup.if_any(lambda: api.get(ATTEMPT, meta["namespace"], wanted))
        if found is None or found["spec"]["handoffRef"]["uid"] != meta["uid"]:
            raise Trouble(
                f"{wanted}: no attempt of {place}; kubectl handoff history {meta['name']} -n "
                f"{meta['namespace']} lists them"
            )
        return found
    current = lookup.current_attempt(api, handoff)
    if current is None:
        told = str(lookup.status_of(handoff).get("message") or "nothing has begun")
        raise Trouble(f"{place}: no attempt to report on; {told}")
    return current


def _kept(api: Api, attempt: Raw, output: str) -> str | None:
    """The report as it was kept; ``None`` when there is none that can be trusted."""
    reference = lookup.status_of(attempt).get("reportRef")
    if not reference:
        return None
    meta, extension = attempt["metadata"], f".{output}"
    for one in reference.get("documents") or ():
        key = str(one["key"])
        if not key.removesuffix(".gz").endswith(extension):
            continue
        stored = lookup.if_any(lambda: api.get(CONFIG_MAP, meta["namespace"], reference["name"]))
        if stored is None:
            why = "is gone, or you may not read it"
        else:
            plain = _unpacked(stored, key)
            if plain is not None and hashlib.sha256(plain).hexdigest() == one["sha256"]:
                return plain.decode()
            why = "is not what the operator kept"
        warn(f"ConfigMap {reference['name']} {why}: the report is made again from the attempt")
    return None


def _unpacked(stored: Raw, key: str) -> bytes | None:
    plain = (stored.get("data") or {}).get(key)
    if plain is not None:
        return str(plain).encode()
    try:
        packed = base64.b64decode(str((stored.get("binaryData") or {}).get(key) or ""))
        return gzip.decompress(packed)
    except (binascii.Error, OSError, EOFError, zlib.error):
        return None


def _made(api: Api, handoff: Raw, attempt: Raw, output: str) -> str:
    """A report of the attempt, with what the other attempts and the handoff add."""
    from modelhandoff.report import compose, read, to_html, to_markdown

    name = attempt["metadata"]["name"]
    others = [one for one in lookup.attempts_of(api, handoff) if one["metadata"]["name"] != name]
    try:
        made = compose(read([attempt, *others, handoff], name))
    except (InvalidSpecError, InvalidInputError):
        # One of the others is of another version, or the handoff is: the attempt itself counts.
        try:
            made = compose(read([attempt], name))
        except (InvalidSpecError, InvalidInputError) as wrong:
            raise Trouble(str(wrong)) from None
    return to_html(made) if output == "html" else to_markdown(made)
