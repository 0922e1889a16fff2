"""What the user wrote becomes what is meant, and stays exactly that in the attempt's snapshot."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from modelhandoff.api.handoff import ModelHandoff, ModelHandoffSpec
from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.policy_check import policy_violations
from modelhandoff.api.resolve import check, resolve
from modelhandoff.api.rollout_spec import Initial
from modelhandoff.api.schema import structural
from modelhandoff.errors import InvalidSpecError
from tests.builders import DIGEST, IMAGE, handoff, spec


def test_the_smallest_handoff_is_legal_and_every_default_is_filled_in():
    resolved = resolve(spec())

    serving = resolved.candidate.serving
    assert (serving.port, serving.metrics_port, serving.replicas) == (8080, 8080, 1)
    assert serving.probe_path == "/v2/health/ready"
    assert resolved.rollout.decision.harm_level == 0.01
    assert resolved.rollout.on_metrics_unknown.hold_for == timedelta(minutes=10)
    assert [match.path.value for match in resolved.rollout.route.matches] == ["/"]
    assert resolved.monitoring.interval == timedelta(seconds=30)
    assert check(handoff()) == []


def test_the_metrics_port_follows_the_port_unless_it_is_set():
    moved = resolve(spec(candidate={"serving": {"port": 9000}}))
    apart = resolve(spec(candidate={"serving": {"port": 9000, "metricsPort": 9100}}))

    assert moved.candidate.serving.metrics_port == 9000
    assert apart.candidate.serving.metrics_port == 9100


def test_sustained_drift_is_judged_over_windows_and_acted_on():
    drift = {"name": "scores", "type": "Drift", "of": "Output", "maxKL": 0.2}
    errors = {"name": "errors", "type": "ErrorRate", "max": 0.01}

    def accepted(**more):
        manifest = handoff(monitoring={"metrics": [errors, drift | more]})
        return check(manifest) == []

    assert accepted()
    assert accepted(sustainedFor="24h", window="1h")
    assert accepted(sustainedFor="24h", window="1h", action="Alert")
    assert not accepted(sustainedFor="24h")
    assert not accepted(sustainedFor="24h", action="Alert")
    assert not accepted(window="1h")
    assert not accepted(window="1h", action="Alert")
    assert not accepted(action="Alert")


def test_a_policy_presets_what_the_handoff_leaves_out_and_nothing_else():
    policy = PolicySpec.model_validate(
        {
            "defaults": {
                "decision": {"minLooks": 7, "harmLevel": 0.02},
                "startup": {"timeout": "1m"},
                "scaleDownDelay": "1h",
                "monitoring": {"interval": "5s"},
            }
        }
    )
    resolved = resolve(spec(rollout={"decision": {"harmLevel": 0.05}}), policy)

    assert resolved.rollout.decision.harm_level == 0.05
    assert resolved.rollout.decision.min_looks == 7
    assert resolved.rollout.decision.safe_level == 0.05
    assert resolved.rollout.scale_down_delay == timedelta(hours=1)
    assert resolved.candidate.serving.startup.timeout == timedelta(minutes=1)
    assert resolved.monitoring.interval == timedelta(seconds=5)
    assert resolved.monitoring.source == "default"


def test_a_policy_that_forbids_unjudged_first_versions_makes_a_baseline_the_default():
    policy = PolicySpec(allowDirectInitial=False)

    assert resolve(spec()).rollout.initial is Initial.DIRECT
    assert resolve(spec(), policy).rollout.initial is Initial.REQUIRE_BASELINE


def test_every_mistake_is_reported_at_once():
    with pytest.raises(InvalidSpecError) as failure:
        resolve(
            spec(
                candidate={"model": {"version": 1.4}},
                rollout={"steps": [{"weight": 0}]},
                runbook=...,
                extra=1,
            )
        )

    assert [error.path for error in failure.value.errors] == [
        "spec.candidate.model.version",
        "spec.rollout.steps[0].weight",
        "spec.runbook",
        "spec.extra",
    ]
    assert str(failure.value).count("\n") == 3


def test_a_long_value_is_cut_in_the_message():
    (error,) = check(handoff(candidate={"model": {"version": "x y" * 1000}}))

    assert len(str(error)) < 300
    assert "…" in str(error)


@pytest.mark.parametrize("junk", [[], "text", 3, None])
def test_junk_instead_of_a_handoff_is_one_line_not_a_crash(junk: Any):
    assert [error.path for error in check({**handoff(), "spec": junk})] == ["spec"]
    assert check({"spec": junk})


def test_null_is_refused_as_server_side_apply_refuses_it():
    errors = check(handoff(rollout={"initial": None}, candidate={"serving": {"gpu": None}}))

    assert [str(error) for error in errors] == [
        "spec.candidate.serving.gpu: null is no value; got null; "
        "allowed a value, or leave the field out",
        "spec.rollout.initial: null is no value; got null; allowed a value, or leave the field out",
    ]


def test_not_a_number_is_refused_everywhere():
    (error,) = check(handoff(rollout={"decision": {"harmMargin": float("nan")}}))

    assert str(error).startswith("spec.rollout.decision.harmMargin: not a finite number")


def test_a_resolved_spec_cannot_be_changed():
    resolved = resolve(spec())

    with pytest.raises(ValueError, match="frozen"):
        resolved.rollout.decision.min_looks = 1  # type: ignore[misc]


def test_the_operator_reads_a_handoff_with_a_status_of_a_newer_version():
    status = {"observedGeneration": 3, "phase": "Progressing", "fromTheFuture": {"a": 1}}
    read = ModelHandoff.model_validate({**handoff(), "status": status})

    assert read.status.observed_generation == 3
    assert read.spec == spec()


def test_a_policy_admits_registries_and_hosts_by_whole_parts_only():
    def refused(registries: list[str], image: str) -> bool:
        policy = PolicySpec.model_validate({"registries": registries})
        resolved = resolve(spec(candidate={"serving": {"image": image + "@" + DIGEST}}))
        return bool(policy_violations(resolved, policy, other_sources=["default"]))

    assert not refused(["registry.example"], "registry.example/serve")
    assert not refused(["registry.example/team"], "registry.example/team/serve")
    assert not refused(["registry.example/team/serve"], "registry.example/team/serve")
    assert not refused(["other.example", "registry.example/"], "registry.example/serve")
    assert refused(["registry.example"], "registry.example.evil.example/serve")
    assert refused(["registry.example"], "registry.example:5000/serve")
    assert refused(["registry.example/team"], "registry.example/team-evil/serve")
    assert refused(["registry.example"], "serve")

    def host_refused(hosts: list[str], uri: str) -> bool:
        policy = PolicySpec.model_validate({"artifactHosts": hosts})
        model = {"role": "Model", "uri": uri, "digest": DIGEST}
        resolved = resolve(spec(candidate={"artifacts": [model]}))
        return bool(policy_violations(resolved, policy, other_sources=["default"]))

    assert not host_refused(["models.example"], "https://models.example/a")
    assert not host_refused(["models.example"], "https://MODELS.example/a")
    assert not host_refused(["*.example"], "https://models.example/a")
    assert not host_refused(["models.example:8443"], "https://models.example:8443/a")
    assert host_refused(["models.example"], "https://models.example:8443/a")
    assert host_refused(["models.example"], "https://models.example.evil/a")
    assert host_refused(["*.example"], "https://example/a")
    assert host_refused(["*.models.example"], "https://evilmodels.example/a")


# Snapshots, over specs drawn from the schema itself: every optional field is set or left out.


def drawn(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of a schema, blind to rules across fields."""
    if schema.get("x-kubernetes-int-or-string"):
        return st.sampled_from([1, "250m", "2Gi"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema["type"]:
        case "object" if "additionalProperties" in schema:
            return st.dictionaries(st.just("zone"), drawn(schema["additionalProperties"]))
        case "object":
            required = schema.get("required", ())
            fields = {key: drawn(value) for key, value in schema["properties"].items()}
            return st.fixed_dictionaries(
                {key: value for key, value in fields.items() if key in required},
                optional={key: value for key, value in fields.items() if key not in required},
            )
        case "array":
            low = schema.get("minItems", 0)
            return st.lists(drawn(schema["items"]), min_size=low, max_size=max(low, 2))
        case "string" if "{40}" in schema.get("pattern", ""):
            return st.just("9fceb02d0ae598e95dc970b74767f19372d61af8")
        case "string" if "{64}" in schema.get("pattern", ""):
            return st.just(IMAGE if "@" in schema["pattern"] else DIGEST)
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True).filter(
                lambda text: schema.get("minLength", 0) <= len(text) <= schema["maxLength"]
            )
        case "string":
            return st.text("abc -", min_size=schema.get("minLength", 0), max_size=8)
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            low, high = schema.get("minimum", -1e6), schema.get("maximum", 1e6)
            return st.floats(
                low,
                high,
                exclude_min=schema.get("exclusiveMinimum", False),
                exclude_max=schema.get("exclusiveMaximum", False),
            )
        case "boolean":
            return st.booleans()
    raise AssertionError(schema)


SCHEMA = structural(ModelHandoffSpec)
BLOCKS = [
    ("rollout", block)
    for block in ("capacity", "warmup", "decision", "onMetricsUnknown", "scaleDownDelay", "initial")
] + [
    ("candidate", "serving"),
    ("candidate", "provenance"),
    ("contracts", "data"),
    ("rollout", "route"),
    ("monitoring", "metrics"),
    ("runbook", "entries"),
]


DRAWN = {(top, name): drawn(SCHEMA["properties"][top]["properties"][name]) for top, name in BLOCKS}
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["model", "serving", "steps", "weight", "x"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=100)
@given(st.data())
def test_a_snapshot_reads_back_as_the_same_object_and_is_written_the_same_again(data):
    chosen = data.draw(st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=2, unique=True))
    raw = spec()
    for top, name in chosen:
        raw[top][name] = data.draw(DRAWN[top, name])
    try:
        resolved = resolve(raw)
    except InvalidSpecError:
        assume(False)
        return
    snapshot = json.dumps(resolved.model_dump(mode="json", by_alias=True))

    again = ModelHandoffSpec.model_validate(json.loads(snapshot))
    assert again == resolved
    assert json.dumps(again.model_dump(mode="json", by_alias=True)) == snapshot
    assert "null" not in snapshot
    assert resolve(json.loads(snapshot)) == resolved


@settings(max_examples=100)
@given(st.data())
def test_whatever_is_written_gives_lines_or_a_spec_but_never_another_error(data):
    raw = spec()
    for top in data.draw(st.lists(st.sampled_from(sorted(raw)), min_size=1, unique=True)):
        raw[top] = data.draw(JUNK)

    for error in check({**handoff(), "spec": raw}):
        assert error.path.startswith("spec")
        assert "\n" not in str(error)


def test_the_policys_roles_come_on_top_of_the_handoffs_own():
    policy = PolicySpec.model_validate(
        {"approvals": {"requiredRoles": ["Risk", "Engineering"], "expiresAfter": "24h"}}
    )

    alone = resolve(spec(), policy).approvals
    both = resolve(spec(approvals={"roles": ["Engineering", "Legal"]}), policy).approvals

    assert alone is not None
    assert both is not None
    assert alone.roles == ("Risk", "Engineering")
    assert both.roles == ("Engineering", "Legal", "Risk")
    assert alone.expires_after == both.expires_after == timedelta(hours=24)


def test_a_policy_that_requires_no_role_asks_nobody():
    strict = PolicySpec.model_validate({"approvals": {"separateAuthor": True}})

    assert resolve(spec(), strict).approvals is None
    asked = resolve(spec(approvals={"roles": ["Risk"]}), strict).approvals
    assert asked is not None
    assert asked.separate_author


def test_a_stricter_handoff_stays_as_strict_as_it_is():
    policy = PolicySpec.model_validate({"approvals": {"expiresAfter": "168h"}})
    written = spec(approvals={"roles": ["Risk"], "expiresAfter": "1h", "separateAuthor": True})

    resolved = resolve(written, policy)

    assert policy_violations(resolved, policy, other_sources=("default",)) == []
    assert resolved.approvals is not None
    assert resolved.approvals.expires_after == timedelta(hours=1)
    assert resolved.approvals.separate_author


def signed_spec(**signature: Any) -> dict[str, Any]:
    artifacts = [
        {"role": "Model", "uri": "https://models.example/model.onnx", "digest": DIGEST},
        {"role": "Signature", "uri": "https://models.example/model.sig", "digest": DIGEST},
    ]
    return spec(candidate={"artifacts": artifacts, "signature": signature})


def test_the_keys_that_the_policy_trusts_are_frozen_with_the_spec():
    pem = "-----BEGIN PUBLIC KEY-----\n" + "A" * 48 + "\n-----END PUBLIC KEY-----\n"
    policy = PolicySpec.model_validate({"trustedKeys": [{"name": "release", "publicKey": pem}]})
    found = resolve(signed_spec(), policy).candidate.signature
    assert found is not None
    assert [(key.name, key.public_key) for key in found.keys] == [("release", pem)]
    own = resolve(signed_spec(keys=[{"name": "mine", "publicKey": pem}]), policy)
    assert own.candidate.signature is not None
    assert [key.name for key in own.candidate.signature.keys] == ["mine"]
    assert resolve(spec(), policy).candidate.signature is None
