"""What a policy exempts a namespace from, and only that namespace and that rule."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from modelhandoff.api.policy import PolicyRule, PolicySpec
from modelhandoff.api.policy_check import policy_violations
from modelhandoff.api.resolve import resolve
from tests.builders import spec

PUBLIC_KEY = f"-----BEGIN PUBLIC KEY-----\n{'A' * 48}\n-----END PUBLIC KEY-----\n"
STRICT = {
    "metricSources": [{"name": "default", "url": "http://prometheus.example:9090"}],
    "registries": ["registry.corp.example"],
    "artifactHosts": ["corp.example"],
    "limits": {"maxFirstWeight": 5, "minStepDuration": "2h", "maxReplicas": 1},
    "requireSignature": True,
    "trustedKeys": [{"name": "release", "publicKey": PUBLIC_KEY}],
    "requiredChecks": ["ContractsValid", "AcceptancePassed", "MonitoringReady", "RunbookComplete",
                       "GovernanceComplete", "Approved"],
}  # fmt: skip
BAD = {
    "candidate": {
        "model": {"format": "SKLearn"},
        "artifacts": [{**spec()["candidate"]["artifacts"][0], "uri": "http://models.example/m"}],
        "serving": {"image": "registry.example/serve:1", "replicas": 3},
    },
    "rollout": {"initial": "Direct"},
    "monitoring": {"interval": "10m"},
}


def policy(*exempted: PolicyRule) -> PolicySpec:
    listed = [{"namespace": "payments", "rule": str(r), "reason": "moves in May"} for r in exempted]
    return PolicySpec.model_validate({**STRICT, "allowDirectInitial": False, "exemptions": listed})


def broken(namespace: str, *exempted: PolicyRule) -> list[str]:
    rules = policy(*exempted)
    return [e.path for e in policy_violations(resolve(spec(**BAD)), rules, namespace=namespace)]


OTHERS = set(PolicyRule) - {
    PolicyRule.ARTIFACTS_VERIFIED,
    PolicyRule.REPRODUCED,
    PolicyRule.ARTIFACT_SOURCES,
}
"""Rules that the handoff of these tests breaks."""


@pytest.mark.parametrize("rule", sorted(OTHERS), ids=str)
def test_a_namespace_is_exempted_from_that_rule_and_no_other(rule):
    every = broken("payments")

    assert len(broken("payments", rule)) < len(every)
    assert set(broken("payments", rule)) <= set(every)
    assert broken("elsewhere", rule) == every
    assert broken("", rule) == every


def test_exempted_from_all_of_them_nothing_is_left():
    assert broken("payments", *OTHERS) == []


def test_nobody_is_exempted_from_who_has_to_approve():
    with pytest.raises(ValidationError):
        PolicySpec.model_validate(
            {"exemptions": [{"namespace": "payments", "rule": "SeparateAuthor", "reason": "x"}]}
        )


def test_of_two_exemptions_for_one_rule_the_first_is_told():
    twice = [
        {"namespace": "payments", "rule": "Pickle", "reason": why} for why in ("first", "second")
    ]
    found = PolicySpec.model_validate({"exemptions": twice}).exempted("payments")

    assert [one.reason for one in found] == ["first"]
