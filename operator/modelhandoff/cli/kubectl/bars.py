"""One metric as a bar: left of the mark is safe, right of it is harm.

Every kind of metric is brought on one scale on which 1 is the limit: rates, shares and
divergences divided by it, ratios so that an unchanged candidate stands at one half.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

HALF = 10
"""Cells on either side of the mark."""
_FURTHEST = 5.0
_SHARES = frozenset({"ErrorRate", "AbstainRate", "ContractViolations", "Latency"})


@dataclass(frozen=True, slots=True)
class Gauge:
    """A metric on its own scale.

    Attributes:
        value: what is compared with the limit: a share, a divergence, or a ratio.
        limit: where harm begins.
        below: whether the safe side is below the limit.
        ratio: whether all three are ratios of candidate to baseline.
        share: whether they are shares of requests, shown in percent.
    """

    value: float | None
    limit: float | None
    interval: tuple[float, float] | None
    below: bool
    ratio: bool
    share: bool

    def text(self, value: float) -> str:
        """A value of this scale in words."""
        if self.share:
            return percent(value)
        return f"{value:.3g}x" if self.ratio else f"{value:.3g}"

    def position(self, value: float) -> float:
        """0 is far on the safe side, 1 is the limit."""
        if self.limit is None:
            return 0.0
        if not self.ratio:
            return value / self.limit if self.limit else (2.0 if value else 0.0)
        slack = abs(self.limit - 1.0) or 0.05
        distance = value - 1.0 if self.below else 1.0 - value
        return 0.5 + distance / (2.0 * slack)


def gauge(metric: Mapping[str, Any], spec: Mapping[str, Any]) -> Gauge:
    """The scale of one entry of ``status.metrics``; ``spec`` is its entry in the handoff."""
    kind = str(metric.get("type") or spec.get("type") or "")
    limit, ratio = metric.get("limit"), metric.get("ratio")
    interval = metric.get("interval")
    pair = (float(interval[0]), float(interval[1])) if interval and len(interval) == 2 else None
    below = True
    is_ratio = ratio is not None or kind in ("Mean", "Count")
    if kind in _SHARES and ratio is not None and limit is not None and limit < 1.0:
        # Judged against its own limit and against the baseline; the interval is the ratio's.
        is_ratio, pair = False, None
    value = ratio if is_ratio else metric.get("candidate")
    if kind == "Mean" and limit is not None:
        below = spec.get("direction") == "Decrease"
        limit = 1.0 + limit if below else 1.0 - limit
    elif kind == "Count":
        below = False
    return Gauge(
        value=None if value is None else float(value),
        limit=None if limit is None else float(limit),
        interval=pair,
        below=below,
        ratio=is_ratio,
        share=kind in _SHARES and not is_ratio,
    )


def draw(found: Gauge, *, plain: bool = False) -> str:
    """The bar: dots, the interval as a line, the value as a point, the limit as a mark.

    Args:
        found: the metric.
        plain: ASCII only, for terminals that can do no better.
    """
    dot, line, point, mark, beyond = ".-o|>" if plain else "·━●│▸"
    cells = [dot] * (2 * HALF + 1)
    ends = [found.position(end) for end in found.interval or ()]
    value = None if found.value is None else found.position(found.value)
    widest = max([2.0, *ends, *([] if value is None else [value])])
    widest = min(widest, _FURTHEST)

    def cell(position: float) -> int:
        if position <= 1.0:
            return round(max(position, 0.0) * HALF)
        part = (min(position, widest) - 1.0) / (widest - 1.0)
        return HALF + max(1, round(part * HALF))

    if ends and found.limit is not None:
        low, high = sorted(ends)
        for at in range(cell(low), cell(high) + 1):
            cells[at] = line
    cells[HALF] = mark
    if value is not None and found.limit is not None:
        at = cell(value)
        # A value that is safe, however close, is not drawn on the mark.
        if at == HALF and value < 1.0:
            at -= 1
        cells[at] = point
        if max([value, *ends]) > widest:
            cells[-1] = beyond
    return "".join(cells)


def percent(share: float) -> str:
    """A share as the operator's sentences write it."""
    value = 100.0 * share
    if 0.0 < value < 0.01:
        return f"{value:.2g} %"
    digits = 0 if value in (0.0, 100.0) else 1 if value >= 10.0 else 2
    return f"{value:.{digits}f} %"


def values(metric: Mapping[str, Any], found: Gauge) -> str:
    """The numbers beside the bar: value, interval, limit."""
    if found.value is None:
        return "no value yet"
    told = found.text(found.value)
    if metric.get("type") == "Drift":
        told = f"KL {told}"
    baseline = metric.get("baseline")
    if baseline is not None and not found.ratio:
        told += f", baseline {found.text(float(baseline))}"
    ratio = metric.get("ratio")
    if ratio is not None and not found.ratio:
        told += f", ratio {ratio:.3g}x"
        ends = list(metric.get("interval") or ())
        if len(ends) == 2:
            told += f" ({ends[0]:.3g}x to {ends[1]:.3g}x)"
    return told


def bounds(found: Gauge) -> str:
    """The interval in words; empty when there is none."""
    if found.interval is None:
        return ""
    low, high = found.interval
    return f"{found.text(low)} to {found.text(high)}"


def limit(found: Gauge) -> str:
    """The limit in words; empty when there is none."""
    if found.limit is None:
        return ""
    return f"{'max' if found.below else 'min'} {found.text(found.limit)}"
