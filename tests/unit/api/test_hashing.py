"""The hashes name what the user wrote: pinned, blind to spelling, sensitive to meaning."""

from __future__ import annotations

import copy
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.api.hashing import bundle_hash, canonical_json, revision_hash
from modelhandoff.errors import InvalidInputError
from tests.builders import handoff, spec

# Pinned: another value means that every rollout in the world starts again after an upgrade.
REVISION = "v1-cae4c2012a47b4eeea9d689b6892b26fb1af95394bf5566e23650b0d8b4c5821"
BUNDLE = "v1-03651a2c8c86f5baab047b76cd8651529d732e6fd26e746ccc07643ce1ffb502"


def test_the_smallest_handoff_has_the_hashes_it_always_had():
    assert revision_hash(spec()) == REVISION
    assert bundle_hash(spec()) == BUNDLE


def test_the_hash_is_sha256_of_the_published_canonical_form():
    # Written by hand after RFC 8785 (sorted keys, shortest numbers, no space), hashed by sha256sum.
    raw = {"candidate": {"z": 1.0, "a": ["ü", 1e21, True], "serving": {"replicas": 3}}}

    assert canonical_json({"z": 1.0, "a": ["ü", 1e21, True]}) == (
        '{"a":["ü",1e+21,true],"z":1}'.encode()
    )
    assert (
        revision_hash(raw) == "v1-d7a3720a43a5c691575be542ed139ea0523f924282cee5e3edf3a5da0eff49f6"
    )


def test_the_order_of_keys_does_not_matter():
    def turned(value):
        if isinstance(value, dict):
            return {key: turned(value[key]) for key in reversed(value)}
        return [turned(item) for item in value] if isinstance(value, list) else value

    assert revision_hash(turned(spec())) == REVISION
    assert bundle_hash(turned(spec())) == BUNDLE


def test_the_spelling_of_a_number_does_not_matter():
    whole = spec(rollout={"decision": {"harmMargin": 2, "safeMargin": 3}})
    other = json.loads(json.dumps(whole).replace('"harmMargin": 2', '"harmMargin": 2.0e0'))

    assert isinstance(other["rollout"]["decision"]["harmMargin"], float)
    assert bundle_hash(other) == bundle_hash(whole)


def test_the_spelling_of_a_duration_does_matter_because_text_is_text():
    hours = spec(rollout={"scaleDownDelay": "1h"})
    minutes = spec(rollout={"scaleDownDelay": "60m"})

    assert bundle_hash(hours) != bundle_hash(minutes)


def test_a_default_written_out_is_something_else_than_a_default_left_out():
    # We may change a default one day; what somebody wrote and signed stays what it is.
    assert revision_hash(spec(candidate={"serving": {"port": 8080}})) != REVISION


def test_replicas_are_no_part_of_the_revision_but_of_the_bundle():
    more = spec(candidate={"serving": {"replicas": 7}})

    assert revision_hash(more) == REVISION
    assert bundle_hash(more) != BUNDLE


def test_pausing_improving_the_runbook_and_notifying_change_no_hash():
    entry = {"symptom": "slow", "diagnose": "look", "remedy": "wait"}
    changed = spec(suspend=True, runbook={"entries": [entry], "notify": [{"event": "x"}]})

    assert bundle_hash(changed) == BUNDLE
    assert revision_hash(changed) == REVISION


@pytest.mark.parametrize(
    "change",
    [
        {"runbook": {"owners": {"team": "other", "escalation": ["#x"]}}},
        {"rollout": {"rollbackPlan": "call the bank"}},
        {"rollout": {"decision": {"harmLevel": 0.02}}},
        {"monitoring": {"source": "other"}},
        {"policyRef": {"name": "strict"}},
    ],
    ids=str,
)
def test_everything_that_people_sign_is_in_the_bundle_and_not_in_the_revision(change):
    assert bundle_hash(spec(**change)) != BUNDLE
    assert revision_hash(spec(**change)) == REVISION


def test_the_argument_is_left_as_it_was():
    raw = handoff(suspend=True, candidate={"serving": {"replicas": 2}})["spec"]
    before = copy.deepcopy(raw)
    revision_hash(raw)
    bundle_hash(raw)

    assert raw == before


@pytest.mark.parametrize("seed", [2**53 + 1, -(2**53) - 1, 10**30 + 1, 10**400])
def test_a_number_that_json_cannot_keep_exact_is_refused_with_its_place(seed):
    raw = spec(candidate={"provenance": {"seed": seed}})

    with pytest.raises(InvalidInputError, match="too large to be kept exact") as failure:
        revision_hash(raw)
    assert failure.value.path == "spec.candidate.provenance.seed"


@pytest.mark.parametrize("bound", [1e16, 1e18, 1.2345678901234567e20, 2.0**53, -1e20])
def test_a_large_double_that_the_api_server_writes_out_as_an_integer_is_the_same_number(bound):
    def hashed(value):
        return bundle_hash(spec(contracts={"data": {"features": [{"max": value}]}}))

    # Go writes a double below 1e21 without an exponent: its shortest digits, then zeros.
    digits = format(Decimal(repr(bound)), "f").partition(".")[0]
    assert hashed(json.loads(digits)) == hashed(bound)


@pytest.mark.parametrize("seed", [2**53 - 1, -(2**53 - 1)])
def test_the_largest_exact_numbers_are_hashed(seed):
    assert revision_hash(spec(candidate={"provenance": {"seed": seed}})).startswith("v1-")


@pytest.mark.parametrize(
    ("value", "wrong"), [(float("nan"), "not a number"), ({1}, "not a JSON value"), ({1: 2}, "key")]
)
def test_what_is_no_json_is_refused(value, wrong):
    with pytest.raises(InvalidInputError, match=wrong):
        bundle_hash(spec(rollout={"x": value}))


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


@given(json_values)
def test_a_value_that_went_through_json_has_the_same_canonical_form(value):
    there_and_back = json.loads(json.dumps(value))

    assert canonical_json(there_and_back) == canonical_json(value)
    assert canonical_json(json.loads(canonical_json(value))) == canonical_json(value)
