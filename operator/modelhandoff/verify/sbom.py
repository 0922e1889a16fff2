"""The bill of materials: a CycloneDX JSON file, and the vulnerabilities that it knows of."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

from modelhandoff.api.governance import Severity
from modelhandoff.errors import cut
from modelhandoff.verify.bundle import parse_json, read_text
from modelhandoff.verify.findings import Failed, Found

MAX_SBOM: Final = 32 * 1024 * 1024
_HARMLESS: Final = frozenset(
    {"resolved", "resolved_with_pedigree", "false_positive", "not_affected"}
)
_WORDS: Final = {
    "none": Severity.NONE,
    "info": Severity.NONE,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}
_SCORES: Final = (
    (9.0, Severity.CRITICAL),
    (7.0, Severity.HIGH),
    (4.0, Severity.MEDIUM),
    (0.1, Severity.LOW),
)
"""CVSS v3 and v4: the lowest score of each severity."""


def sbom(path: Path, limit: Severity) -> Found:
    """No vulnerability that counts is worse than the limit; one of unknown severity is.

    Raises:
        Failed: one is worse, or the file is no CycloneDX document with components.
    """
    document = parse_json(read_text(path, MAX_SBOM), path.name)
    if not isinstance(document, dict) or document.get("bomFormat") != "CycloneDX":
        raise Failed(f"{path.name}: no CycloneDX file; got {cut(document)}; allowed CycloneDX JSON")
    components = document.get("components")
    if not isinstance(components, list) or not components:
        raise Failed(f"{path.name}: components: lists nothing; allowed at least one component")
    known = document.get("vulnerabilities", [])
    if not isinstance(known, list):
        raise Failed(f"{path.name}: vulnerabilities: must be a list")
    counted = worst = 0
    over: list[str] = []
    for index, item in enumerate(known):
        where = f"{path.name}: vulnerabilities[{index}]"
        if not isinstance(item, dict):
            raise Failed(f"{where}: must be an object; got {cut(item)}")
        analysis = item.get("analysis")
        if isinstance(analysis, dict) and analysis.get("state") in _HARMLESS:
            continue
        counted += 1
        severity = severity_of(item)
        worst = max(worst, Severity.CRITICAL.rank if severity is None else severity.rank)
        if severity is None or severity.rank > limit.rank:
            name = cut(item.get("id") or "without an id", 60)
            over.append(f"{where}: {name} is too severe; got {severity or 'an unknown severity'}")
    if over:
        more = f" ({len(over)} are too severe)" if len(over) > 1 else ""
        raise Failed(f"{over[0]}; allowed at most {limit}{more}", vulnerabilities=counted)
    return Found(
        f"{path.name}: {len(components)} components, {counted} known vulnerabilities that count, "
        f"none worse than {limit}.",
        {"components": len(components), "vulnerabilities": counted, "worstRank": worst},
    )


def severity_of(item: dict[str, Any]) -> Severity | None:
    """The worst rating of a vulnerability, by word, else by score; ``None`` when there is none."""
    found = []
    ratings = item.get("ratings")
    for rating in ratings if isinstance(ratings, list) else ():
        if not isinstance(rating, dict):
            continue
        said, score = rating.get("severity"), rating.get("score")
        word = _WORDS.get(said.lower()) if isinstance(said, str) else None
        if word is None and isinstance(score, int | float) and not isinstance(score, bool):
            word = next((level for low, level in _SCORES if score >= low), Severity.NONE)
        if word is not None:
            found.append(word)
    return max(found, key=lambda level: level.rank, default=None)
