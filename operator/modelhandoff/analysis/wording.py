"""Numbers as people read them: percent, durations, counts. Same words everywhere."""

import math

__all__ = [
    "count",
    "duration",
    "evidence",
    "hidden_budget",
    "latency",
    "number",
    "percent",
    "times",
]


def percent(share: float) -> str:
    """0.0123 -> "1.23 %"."""
    value = 100.0 * share
    digits = 0 if value >= 99.95 or value == 0.0 else 1 if value >= 10.0 else 2
    if 0.0 < value < 0.01:
        return f"{value:.2g} %"
    return f"{value:.{digits}f} %"


def count(value: float) -> str:
    """18400.0 -> "18,400"."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """7800.0 -> "2 h 10 min"."""
    if not math.isfinite(seconds):
        return "an unknown time"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes = round(seconds / 60.0)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"


def latency(value: float, unit: str) -> str:
    """0.03 s -> "30 ms"."""
    if unit == "s" and 0.0 < value < 1.0:
        return f"{value * 1000.0:.4g} ms"
    return f"{value:.4g} {unit}"


def hidden_budget(budget: float, bucket: tuple[float, float], unit: str) -> str:
    """Why a budget cannot be judged: it lies inside a bucket, or above the last edge."""
    wanted = latency(budget, unit)
    low, high = (latency(edge, unit) for edge in bucket)
    place = f"inside the bucket ({low}, {high}]"
    if math.isinf(bucket[1]):
        place = f"above the last bucket edge {low}"
    return f"the budget {wanted} lies {place}; add a bucket edge at {wanted}"


def number(value: float) -> str:
    """Three significant digits without exponent where that is readable."""
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"


def times(value: float) -> str:
    """A ratio: 1.5 -> "1.5x"."""
    return f"{value:.3g}x"


def evidence(e: float) -> str:
    """An e-value: 1240.2 -> "1,240"; beyond a million only the order."""
    return f"{e:,.0f}" if 100.0 <= e < 1e6 else f"{e:.1e}" if e >= 1e6 else f"{e:.2g}"
