"""Plots as inline SVG: pure functions of numbers, coloured by the page's own style.

Every plot is drawn at two widths, because text in a scaled picture is too small on a phone or
too large on a desk. Coordinates are rounded, so equal input gives equal bytes everywhere.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

__all__ = ["Bar", "Plot", "Shape", "Span", "bars", "shape_plot", "steps"]

WIDE: Final = 1000
NARROW: Final = 340
_LOWEST: Final = -2.0
"""Smallest power of ten shown: evidence of 0.01 is as good as none."""
_HIGHEST: Final = 9.0


@dataclass(frozen=True, slots=True)
class Plot:
    """A drawing for wide and one for narrow screens; both are complete ``<svg>`` elements."""

    wide: str
    narrow: str


@dataclass(frozen=True, slots=True)
class Bar:
    """One e-value: its natural log, the line it has to reach, and what reaching it means.

    ``kind`` is ``harm`` or ``safe``; ``end`` is written behind the bar.
    """

    label: str
    kind: str
    log_e: float
    line: float
    end: str


@dataclass(frozen=True, slots=True)
class Span:
    """A part of the time axis, in Unix seconds."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class Shape:
    """Two distributions over the same bins, as shares that sum to one."""

    labels: tuple[str, ...]
    baseline: tuple[float, ...]
    candidate: tuple[float, ...]


def _both(draw: Callable[[int], tuple[int, list[str]]], told: str) -> Plot:
    def one(width: int) -> str:
        height, parts = draw(width)
        label = html.escape(told)
        return (
            f'<svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img" '
            f'aria-label="{label}">{"".join(parts)}</svg>'
        )

    return Plot(one(WIDE), one(NARROW))


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    return f'<line x1="{_n(x1)}" y1="{_n(y1)}" x2="{_n(x2)}" y2="{_n(y2)}" class="{kind}"/>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    return (
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(width, 0.0))}" '
        f'height="{_n(max(height, 0.0))}" class="{kind}"/>'
    )


def _text(x: float, y: float, text: str, kind: str = "", anchor: str = "start") -> str:
    extra = f' class="{kind}"' if kind else ""
    where = "" if anchor == "start" else f' text-anchor="{anchor}"'
    return f'<text x="{_n(x)}" y="{_n(y)}"{where}{extra}>{html.escape(text)}</text>'


def _cut(text: str, room: float) -> str:
    """A text that fits; 6.6 units is the mean width of a character of the plots' font."""
    most = max(4, int(room / 6.6))
    return text if len(text) <= most else text[: most - 1] + "…"


# --- evidence -----------------------------------------------------------------------------------


def bars(rows: Sequence[tuple[str, Sequence[Bar]]], told: str) -> Plot:
    """Evidence on a logarithmic axis, grouped by metric; each bar has its own decision line.

    1 is no evidence either way: what speaks against the claim goes left, what speaks for it right.
    """
    tens = [bar.log_e / math.log(10.0) for _, group in rows for bar in group]
    lines = [bar.line / math.log(10.0) for _, group in rows for bar in group]
    top = min(_HIGHEST, max([2.0, *(math.ceil(one + 0.2) for one in (*tens, *lines))]))

    def draw(width: int) -> tuple[int, list[str]]:
        left, right = 8.0, width - 8.0
        span = right - left

        def x(power: float) -> float:
            return left + span * (min(max(power, _LOWEST), top) - _LOWEST) / (top - _LOWEST)

        out: list[str] = []
        y = 18.0
        marks: list[str] = []
        for name, group in rows:
            marks.append(_text(left, y, _cut(name, span), "strong"))
            y += 8
            for bar in group:
                power, line = bar.log_e / math.log(10.0), bar.line / math.log(10.0)
                reached = bar.log_e >= bar.line
                a, b = sorted((x(0.0), x(power)))
                marks += [
                    _rect(left, y, span, 13, "track"),
                    _rect(a, y, max(b - a, 1.5), 13, f"{bar.kind}{' reached' if reached else ''}"),
                    _line(x(line), y - 3, x(line), y + 16, "limit"),
                ]
                y += 27
                marks.append(_text(left, y, _cut(bar.label, span * 0.62), "small"))
                marks.append(_text(right, y, bar.end, "small", "end"))
                y += 8
            y += 26
        bottom = y - 18
        jump = math.ceil(50.0 * (top - _LOWEST) / span)
        for power in range(int(_LOWEST), int(top) + 1):
            if (power - int(_LOWEST)) % jump == 0:
                out.append(_line(x(power), 26, x(power), bottom, "zero" if power == 0 else "grid"))
                anchor = "start" if power == _LOWEST else "end" if power == top else "middle"
                shown = f"{10.0**power:,.0f}" if 0 <= power < 5 else f"10^{power}"
                shown = f"{10.0**power:g}" if power < 0 else shown
                out.append(_text(x(power), bottom + 15, shown, "small", anchor))
        return int(bottom + 24), out + marks

    return _both(draw, told)


# --- weights ------------------------------------------------------------------------------------


def steps(
    points: Sequence[tuple[float, float]],
    window: Span,
    excluded: Sequence[Span],
    decided: float | None,
    told: str,
) -> Plot:
    """The candidate's weight in percent over time; ``points`` hold from their time on."""
    length = max(window.end - window.start, 1.0)

    def draw(width: int) -> tuple[int, list[str]]:
        left, right, top, bottom = 40.0, width - 14.0, 22.0, 182.0

        def x(at: float) -> float:
            return left + (right - left) * min(max((at - window.start) / length, 0.0), 1.0)

        def y(weight: float) -> float:
            return bottom - (bottom - top) * weight / 100.0

        out = [
            part
            for weight in (0, 25, 50, 75, 100)
            for part in (
                _line(left, y(weight), right, y(weight), "grid"),
                _text(left - 6, y(weight) + 4, f"{weight}", "small", "end"),
            )
        ]
        out += [
            _rect(x(one.start), top, max(x(one.end) - x(one.start), 1.0), bottom - top, "excluded")
            for one in excluded
        ]
        path, area, last = "", f"M{_n(left)} {_n(bottom)}", 0.0
        ends = [*points[1:], (window.end, 0.0)]
        for (start, weight), (end, _) in zip(points, ends, strict=False):
            path += f"{'L' if path else 'M'}{_n(x(start))} {_n(y(weight))}L{_n(x(end))} "
            path += f"{_n(y(weight))}"
            area += f"L{_n(x(start))} {_n(y(last))}L{_n(x(start))} {_n(y(weight))}"
            last = weight
        area += f"L{_n(right)} {_n(y(last))}L{_n(right)} {_n(bottom)}Z"
        out += [f'<path d="{area}" class="area"/>', f'<path d="{path}" class="weight"/>']
        if decided is not None:
            at = x(decided)
            out.append(_line(at, top - 6, at, bottom, "decision"))
            flip = at > (left + right) / 2
            out.append(
                _text(at + (-4 if flip else 4), top - 9, "decided", "small",
                      "end" if flip else "start")
            )  # fmt: skip
        ticks = _ticks(window, 5 if width == WIDE else 3)
        for at in ticks:
            here = x(at)
            anchor = "end" if here > right - 30 else "start" if here < left + 30 else "middle"
            out.append(_line(here, bottom, here, bottom + 4, "axis"))
            out.append(_text(here, bottom + 18, _clock(at, length), "small", anchor))
        out.append(_line(left, bottom, right, bottom, "axis"))
        return 208, out

    return _both(draw, told)


_STEPS: Final = (
    1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400,
    172800, 604800, 2592000, 31536000,
)  # fmt: skip


def _ticks(window: Span, most: int) -> list[float]:
    length = window.end - window.start
    step = next((one for one in _STEPS if length / one <= most), _STEPS[-1])
    first = math.ceil(window.start / step) * step
    found = [float(first + i * step) for i in range(most + 2)]
    return [at for at in found if at <= window.end]


def _clock(at: float, length: float) -> str:
    form = "%H:%M:%S" if length <= 1800 else "%H:%M" if length <= 172800 else "%d %b"
    return datetime.fromtimestamp(at, UTC).strftime(form)


# --- distributions ------------------------------------------------------------------------------


def shape_plot(shape: Shape, told: str) -> Plot:
    """Shares per bin of baseline and candidate, side by side."""
    peak = max([*shape.baseline, *shape.candidate, 0.01])

    def draw(width: int) -> tuple[int, list[str]]:
        left, right, top, bottom = 40.0, width - 8.0, 30.0, 166.0
        each = (right - left) / len(shape.labels)
        out = [
            _rect(left, 4, 11, 11, "baseline"),
            _text(left + 17, 14, "baseline", "small"),
            _rect(left + 84, 4, 11, 11, "candidate"),
            _text(left + 101, 14, "candidate", "small"),
        ]
        for part in (0.0, 0.5, 1.0):
            y = bottom - (bottom - top) * part
            share = 100.0 * peak * part
            out.append(_line(left, y, right, y, "grid"))
            shown = f"{share:.0f}" if peak >= 0.1 else f"{share:.1f}"
            out.append(_text(left - 6, y + 4, shown, "small", "end"))
        skip = max(1, math.ceil(62.0 / each))
        for i, label in enumerate(shape.labels):
            x, bar = left + i * each, each * 0.4
            for offset, share, kind in (
                (0.08, shape.baseline[i], "baseline"),
                (0.5, shape.candidate[i], "candidate"),
            ):
                height = (bottom - top) * min(share / peak, 1.0)
                out.append(_rect(x + each * offset, bottom - height, bar, height, kind))
            if i % skip == 0:
                out.append(_text(x + each / 2, bottom + 16, label, "small", "middle"))
        out.append(_line(left, bottom, right, bottom, "axis"))
        return 192, out

    return _both(draw, told)
