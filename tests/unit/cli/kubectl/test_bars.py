"""Bars: whatever the metric, left of the mark is safe and right of it is harm."""

from __future__ import annotations

import pytest

from modelhandoff.cli.kubectl.bars import HALF, draw, gauge, values

MARK = "│"


def at(metric, spec=None):
    """Cell of the value, against the mark's."""
    found = draw(gauge(metric, spec or {}))
    assert len(found) == 2 * HALF + 1
    point = found.index("●") if "●" in found else found.index("▸")
    return point - HALF


@pytest.mark.parametrize(
    ("metric", "spec"),
    [
        ({"type": "ErrorRate", "candidate": 0.005, "limit": 0.01}, {}),
        ({"type": "Latency", "candidate": 0.02, "limit": 0.05}, {}),
        ({"type": "Latency", "ratio": 1.1, "limit": 1.25}, {}),
        ({"type": "Drift", "candidate": 0.1, "limit": 0.2}, {}),
        ({"type": "Mean", "ratio": 0.99, "limit": 0.05}, {"direction": "Increase"}),
        ({"type": "Mean", "ratio": 1.01, "limit": 0.05}, {"direction": "Decrease"}),
        ({"type": "Count", "ratio": 0.95, "limit": 0.9}, {}),
        ({"type": "ErrorRate", "candidate": 0.0, "limit": 0.01}, {}),
        ({"type": "ErrorRate", "candidate": 0.00999, "limit": 0.01}, {}),
    ],
)
def test_safe_is_left(metric, spec):
    assert at(metric, spec) < 0


@pytest.mark.parametrize(
    ("metric", "spec"),
    [
        ({"type": "ErrorRate", "candidate": 0.011, "limit": 0.01}, {}),
        ({"type": "ErrorRate", "candidate": 0.9, "limit": 0.01}, {}),
        ({"type": "Latency", "ratio": 1.4, "limit": 1.25}, {}),
        ({"type": "Drift", "candidate": 0.47, "limit": 0.2}, {}),
        ({"type": "Mean", "ratio": 0.9, "limit": 0.05}, {"direction": "Increase"}),
        ({"type": "Mean", "ratio": 1.1, "limit": 0.05}, {"direction": "Decrease"}),
        ({"type": "Count", "ratio": 0.8, "limit": 0.9}, {}),
    ],
)
def test_harm_is_right(metric, spec):
    assert at(metric, spec) > 0


def test_the_interval_spans_what_it_says():
    bar = draw(gauge(
        {"type": "Drift", "candidate": 0.2, "interval": [0.1, 0.4], "limit": 0.2}, {}
    ))  # fmt: skip

    assert bar == "·····━━━━━●━━━━━━━━━━"


def test_a_rate_with_its_own_limit_is_not_drawn_on_the_scale_of_its_ratio():
    metric = {"type": "ErrorRate", "candidate": 0.004, "baseline": 0.002, "ratio": 2.0,
              "interval": [1.2, 3.0], "limit": 0.01}  # fmt: skip
    found = gauge(metric, {})

    assert (found.value, found.interval, found.ratio) == (0.004, None, False)
    assert values(metric, found) == "0.40 %, baseline 0.20 %, ratio 2x (1.2x to 3x)"


def test_without_a_value_only_the_mark_stands():
    bar = draw(gauge({"type": "Drift", "limit": 0.2}, {}))

    assert bar == "·" * HALF + MARK + "·" * HALF


def test_plain_terminals_get_ascii():
    bar = draw(gauge({"type": "Drift", "candidate": 9.0, "limit": 0.2}, {}), plain=True)

    assert bar.isascii()
    assert bar.endswith(">")
