"""Every malformed handoff is refused by our own check, at the path and in the words promised."""

from __future__ import annotations

from collections import Counter

import pytest

from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.policy_check import policy_violations
from modelhandoff.api.resolve import check, resolve
from modelhandoff.errors import InvalidInputError
from tests.bad_handoffs import LAYERS, BadHandoff, load

CASES = load()
DEFAULT_SOURCE = "default"


def errors_of(case: BadHandoff) -> list[InvalidInputError]:
    policy = PolicySpec.model_validate(case.policy or {})
    errors = check(case.manifest, policy)
    if errors:
        return errors
    spec = resolve(case.manifest["spec"], policy)
    return policy_violations(spec, policy, other_sources=[DEFAULT_SOURCE])


@pytest.mark.parametrize("case", CASES, ids=str)
def test_each_is_refused_with_one_line_that_names_the_place_and_the_remedy(case):
    lines = {error.path: str(error) for error in errors_of(case)}

    assert case.path in lines, lines
    line = lines[case.path]
    assert case.says in line
    assert line.startswith(f"{case.path}: ")
    assert "; got " in line
    assert "; allowed " in line
    assert "\n" not in line


@pytest.mark.parametrize("case", CASES, ids=str)
def test_one_mistake_gives_one_line_not_a_cascade(case):
    assert len(errors_of(case)) == 1


def test_there_are_many_different_cases_for_every_layer():
    assert {case.layer for case in CASES} == set(LAYERS)
    assert len(CASES) >= 40
    assert [name for name, times in Counter(c.name for c in CASES).items() if times > 1] == []
