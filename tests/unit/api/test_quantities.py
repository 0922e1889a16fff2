"""Durations, times, quantities: read strictly, written in one way."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from modelhandoff.api.quantities import (
    DURATION_PATTERN,
    Quantity,
    Timestamp,
    format_duration,
    format_time,
    parse_duration,
)

LONGEST = timedelta(hours=999_999)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("30s", timedelta(seconds=30)),
        ("10m", timedelta(minutes=10)),
        ("72h", timedelta(hours=72)),
        ("1h30m", timedelta(minutes=90)),
        ("1m30s250ms", timedelta(seconds=90, milliseconds=250)),
        ("90m", timedelta(minutes=90)),
        ("0s", timedelta()),
    ],
)
def test_durations_are_read_as_people_write_them(text, value):
    assert parse_duration(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "s",
        "-5s",
        "+5s",
        "1.5h",
        "3d",
        "30 s",
        "10m1h",
        "1h1h",
        "30S",
        "٣s",
        "5s\n",
        "1h 30m",
    ],
)
def test_anything_else_is_no_duration(text):
    with pytest.raises(ValueError, match="such as"):
        parse_duration(text)


@given(st.integers(0, LONGEST // timedelta(milliseconds=1)))
def test_a_written_duration_reads_back_and_passes_the_pattern_of_the_crd(milliseconds):
    value = timedelta(milliseconds=milliseconds)
    text = format_duration(value)

    assert parse_duration(text) == value
    assert re.fullmatch(DURATION_PATTERN, text)


@given(st.text("0123456789hms", max_size=12))
def test_python_and_the_pattern_of_the_crd_agree_on_every_text(text):
    allowed = bool(text) and re.fullmatch(DURATION_PATTERN, text) is not None
    try:
        parse_duration(text)
    except ValueError:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize("value", [timedelta(seconds=-1), timedelta(microseconds=5)])
def test_a_duration_that_cannot_be_written_exactly_is_refused(value):
    with pytest.raises(ValueError, match="whole, non-negative milliseconds"):
        format_duration(value)


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_reads_back_as_it_was_written(moment):
    adapter = TypeAdapter(Timestamp)

    assert adapter.validate_python(format_time(moment)) == moment
    assert adapter.dump_python(moment, mode="json").endswith("Z")


def test_a_time_of_another_zone_becomes_utc_and_one_without_zone_is_refused():
    adapter = TypeAdapter(Timestamp)
    noon = datetime(2026, 3, 2, 12, tzinfo=timezone(timedelta(hours=2)))

    assert adapter.dump_python(noon, mode="json") == "2026-03-02T10:00:00Z"
    with pytest.raises(ValidationError):
        adapter.validate_python("2026-03-02T12:00:00")


@pytest.mark.parametrize(("written", "kept"), [(2, "2"), ("500m", "500m"), ("1.5Gi", "1.5Gi")])
def test_quantities_may_be_whole_numbers_without_quotes(written, kept):
    assert TypeAdapter(Quantity).validate_python(written) == kept


@pytest.mark.parametrize("written", [True, 1.5, -1, "2GB", "", "1 Gi", "-1"])
def test_anything_else_is_no_quantity(written):
    with pytest.raises(ValidationError):
        TypeAdapter(Quantity).validate_python(written)
