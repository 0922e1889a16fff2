"""What the offline commands read: a handoff's file, rates, shares, durations, NAME=VALUE pairs.

Every mistake is one line, ``path: what is wrong; got ...; allowed ...``, and exit status 1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.monitoring import RATE_TYPES, Metric, MetricType
from modelhandoff.api.quantities import parse_duration
from modelhandoff.errors import InvalidInputError, InvalidSpecError

if TYPE_CHECKING:
    from modelhandoff.analysis import Plan
    from modelhandoff.api.policy import PolicySpec

MAX_BYTES = 4 * 1024 * 1024
_PER = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_NUMBER = r"([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?)"


def refuse(lines: Iterable[object]) -> NoReturn:
    """Print what is wrong, one line each, and leave with status 1."""
    for line in lines:
        typer.echo(str(line), err=True)
    raise typer.Exit(1)


def read_text(path: Path, what: str, max_bytes: int = MAX_BYTES) -> str:
    """The text of a file; an unreadable, oversized or binary one is refused by name."""
    try:
        if path.stat().st_size > max_bytes:
            refuse([InvalidInputError(str(path), "too large", f"{path.stat().st_size} bytes",
                                      f"at most {max_bytes} bytes")])  # fmt: skip
        return path.read_text(encoding="utf-8")
    except OSError as failure:
        refuse([InvalidInputError(str(path), "cannot be read", failure.strerror or failure, what)])
    except UnicodeDecodeError as failure:
        refuse([InvalidInputError(str(path), "not UTF-8 text", failure.reason, what)])


def load_handoff(path: Path, policy: Path | None = None) -> ModelHandoffSpec:
    """The resolved spec of the one ModelHandoff in a YAML file (other kinds are passed over)."""
    return read_handoff(path, policy)[1]


def read_handoff(path: Path, policy: Path | None = None) -> tuple[dict[str, Any], ModelHandoffSpec]:
    """The one ModelHandoff in a YAML file as it is written, and its resolved spec.

    A folder stands for its ``handoff.yaml``.
    """
    from modelhandoff.api.resolve import check, resolve
    from modelhandoff.cli.local import handoff_file

    path = handoff_file(path)
    preset = None if policy is None else read_policy(policy)
    manifest = _one(path, "ModelHandoff")
    wrong = check(manifest, preset)
    if wrong:
        refuse(f"{path}: {line}" for line in wrong)
    try:
        return manifest, resolve(manifest["spec"], preset)
    except InvalidSpecError as failure:
        refuse(f"{path}: {line}" for line in failure.errors)


def read_policy(path: Path) -> PolicySpec:
    """The spec of the one HandoffPolicy in a YAML file."""
    from modelhandoff.api.policy import HandoffPolicy

    return HandoffPolicy.model_validate(_one(path, "HandoffPolicy")).spec


def _one(path: Path, kind: str) -> dict[str, Any]:
    import yaml

    text = read_text(path, f"a YAML file with a {kind}")
    try:
        found = [one for one in yaml.safe_load_all(text) if one is not None]
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        told = getattr(failure, "problem", None) or "broken"
        refuse([InvalidInputError(where, "not YAML", told, f"a {kind}")])
    named = [one for one in found if isinstance(one, dict) and one.get("kind") == kind]
    if len(named) != 1:
        kinds = ", ".join(
            str(one.get("kind")) if isinstance(one, dict) else "text" for one in found
        )
        refuse([InvalidInputError(str(path), f"needs exactly one {kind}", kinds or "nothing",
                                  f"one {kind}")])  # fmt: skip
    return named[0]


def traffic(text: str) -> float:
    """Requests per second from ``60/s``, ``3600/min``, ``10/h`` or a plain number per second."""
    found = re.fullmatch(_NUMBER + r"\s*(?:/\s*(s|m|min|h))?", text.strip())
    value = float(found[1]) / _PER[found[2] or "s"] if found else 0.0
    if not found or not 0.0 < value < 1e9:
        refuse(
            [
                InvalidInputError(
                    "--traffic", "not a rate of requests", text, "60/s, 3600/min or 90/h"
                )
            ]
        )
    return value


def share(text: str, path: str, high: float = 1.0) -> float:
    """A share from ``0.5%``, ``0.5 %`` or ``0.005``, at least 0."""
    found = re.fullmatch(_NUMBER + r"\s*(%?)", text.strip())
    value = float(found[1]) / (100.0 if found[2] else 1.0) if found else -1.0
    if not found or not 0.0 <= value <= high:
        refuse(
            [
                InvalidInputError(
                    path, "not a share", text, f"0 to {100 * high:g} %, as 0.5% or 0.005"
                )
            ]
        )
    return value


def change(text: str, path: str) -> float:
    """A relative change from ``-10%`` or ``-0.1``."""
    found = re.fullmatch(r"([+-]?)" + _NUMBER + r"\s*(%?)", text.strip())
    size = float(found[2]) / (100.0 if found[3] else 1.0) if found else -1.0
    value = -size if found and found[1] == "-" else size
    if not found or not -1.0 < value <= 10.0:
        refuse([InvalidInputError(path, "not a relative change", text, "-10% or 0.02")])
    return value


def seconds(text: str, path: str) -> float:
    """Seconds from a duration such as ``36ms``, ``90s`` or ``2h``."""
    try:
        value = parse_duration(text).total_seconds()
    except ValueError:
        value = 0.0
    if value <= 0.0:
        refuse([InvalidInputError(path, "not a duration", text, "36ms, 90s, 20m or 2h")])
    return value


def pairs(values: Sequence[str], option: str, names: Iterable[str]) -> dict[str, str]:
    """``NAME=VALUE`` options by name; unknown and repeated names are refused."""
    known, out = sorted(names), {}
    for one in values:
        name, sign, value = one.partition("=")
        if not sign or name not in known or name in out:
            wrong = "given twice" if name in out else "not NAME=VALUE of a metric of this handoff"
            refuse([InvalidInputError(option, wrong, one, "=..., ".join(known) + "=...")])
        out[name] = value
    return out


def numbers(text: str, option: str) -> tuple[float, ...]:
    """Rising bucket edges in seconds from ``0.01,0.03`` or ``10ms,30ms``."""
    out = []
    for one in text.split(","):
        plain = re.fullmatch(_NUMBER, one.strip())
        out.append(float(plain[1]) if plain else seconds(one.strip(), option))
    if any(b <= a for a, b in pairwise(out)) or out[0] <= 0.0:
        refuse([InvalidInputError(option, "edges do not rise", text, "10ms,30ms,100ms")])
    return tuple(out)


def baseline_rates(
    metrics: Iterable[Metric], given: Mapping[str, str], option: str
) -> dict[str, float]:
    """Assumed event rate of the baseline per metric: as given, else half of the limit.

    For latency the share of requests above the budget, else half of what the quantile allows.
    """
    out: dict[str, float] = {}
    for metric in metrics:
        if metric.name in given:
            out[metric.name] = share(given[metric.name], f"{option} {metric.name}", 0.999)
        elif metric.type in RATE_TYPES:
            out[metric.name] = (metric.max or 0.0) / 2.0
        elif metric.type is MetricType.LATENCY and metric.quantile:
            out[metric.name] = (1.0 - metric.quantile) / 2.0
    return out


def made_plan(spec: ModelHandoffSpec, bins: int) -> Plan:
    """The engine's plan of a handoff."""
    from modelhandoff.rollout.judging import plan_of

    return plan_of(spec, even_bins(spec, bins))


def even_bins(spec: ModelHandoffSpec, bins: int) -> dict[str, Any]:
    """Judged bins of every drift metric as if the server exposed ``bins`` equal ones."""
    return {
        metric.name: {"edges": [], "groups": list(range(bins))}
        for metric in spec.monitoring.metrics
        if metric.type is MetricType.DRIFT
    }
