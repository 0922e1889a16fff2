"""Who may sign, as whom and what: the API server's own answers to real people and machines."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from e2e.cluster import ClusterError, ControlPlane
from modelhandoff.api import names
from modelhandoff.api.approval import ApprovalSpec
from modelhandoff.api.hashing import bundle_hash, revision_hash
from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.resolve import resolve
from modelhandoff.cli.kubectl import signing
from modelhandoff.cli.kubectl.entry import main
from tests.builders import handoff, spec

pytestmark = pytest.mark.control_plane

ROOT = Path(__file__).parents[3]
BUNDLE = "v1-" + "ab" * 32
SEED = 20261125
Refusal = Callable[..., str]


def policies() -> list[dict[str, Any]]:
    """The chart's admission policies, each with its binding."""
    made: list[dict[str, Any]] = []
    for file in sorted((ROOT / "charts/modelhandoff/files/admission").glob("*.yaml")):
        head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": file.stem}}
        spec = yaml.safe_load(file.read_text(encoding="utf-8"))
        made += [
            {**head, "kind": "ValidatingAdmissionPolicy", "spec": spec},
            {
                **head,
                "kind": "ValidatingAdmissionPolicyBinding",
                "spec": {"policyName": file.stem, "validationActions": ["Deny"]},
            },
        ]
    return made


def role(name: str, user: str, *rules: dict[str, Any]) -> list[dict[str, Any]]:
    head = {"apiVersion": "rbac.authorization.k8s.io/v1"}
    meta = {"name": name, "namespace": "payments"}
    return [
        {**head, "kind": "Role", "metadata": meta, "rules": list(rules)},
        {
            **head,
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}],
        },
    ]


def may_sign(*roles: str) -> dict[str, Any]:
    return {
        "apiGroups": [names.GROUP],
        "resources": ["handoffroles"],
        "resourceNames": list(roles),
        "verbs": ["approve"],
    }


WRITES_APPROVALS = {
    "apiGroups": [names.GROUP],
    "resources": [names.APPROVALS],
    "verbs": ["create", "get", "patch"],
}
WRITES_HANDOFFS = {
    "apiGroups": [names.GROUP],
    "resources": [names.HANDOFFS],
    "verbs": ["create", "get", "patch", "update"],
}

EDITS = {
    "apiGroups": [names.GROUP],
    "resources": [names.ATTEMPTS, f"{names.ATTEMPTS}/status"],
    "verbs": ["create", "get", "patch", "update"],
}
READS = {
    "apiGroups": [names.GROUP],
    "resources": [names.HANDOFFS, names.ATTEMPTS, names.APPROVALS],
    "verbs": ["get", "list"],
}


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane.start("approvals") as plane:
        for file in sorted((ROOT / "crds").glob("*.yaml")):
            plane.kubectl("apply", "--server-side", "-f", str(file))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        plane.kubectl("create", "namespace", "payments")
        plane.apply(
            [
                *role("ana", "ana", WRITES_APPROVALS, WRITES_HANDOFFS, may_sign("DataScience")),
                *role("bo", "bo", WRITES_APPROVALS, WRITES_HANDOFFS, may_sign("Engineering")),
                *role("dan", "dan", WRITES_HANDOFFS, {
                    "apiGroups": ["apps"], "resources": ["deployments"],
                    "resourceNames": ["old-fraud"], "verbs": ["patch"],
                }),
                *policies(),
            ]
        )  # fmt: skip
        in_force(plane)
        yield plane


def in_force(plane: ControlPlane) -> None:
    """A new policy takes effect within seconds."""
    deadline = time.monotonic() + 60
    forged = [approval("Any", "nobody at all"), author(handoff(), "nobody at all")]
    plane.apply(role("nobody", "nobody", EDITS))
    while not all(
        [*(refusal_of(plane, one) for one in forged), refusal_of(plane, attempt("x"), "nobody")]
    ):
        assert time.monotonic() < deadline, "the policies have no effect"
        time.sleep(0.2)


def approval(as_role: str = "DataScience", approver: str = "ana", **more: Any) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffApproval",
        "metadata": {"generateName": "fraud-", "namespace": "payments"},
        "spec": {
            "handoffRef": {"name": "fraud"},
            "role": as_role,
            "bundleHash": BUNDLE,
            "decision": "Approve",
            "approver": approver,
            **more,
        },
    }


def attempt(name: str) -> dict[str, Any]:
    return {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffAttempt",
        "metadata": {"name": name, "namespace": "payments"},
        "spec": {
            "handoffRef": {"name": "fraud", "uid": "1"},
            "bundleHash": BUNDLE,
            "revision": BUNDLE,
            "ordinal": 1,
            "kind": "Rollout",
            "snapshot": "{}",
        },
    }


def author(manifest: dict[str, Any], name: str) -> dict[str, Any]:
    annotations = {names.ANNOTATION_AUTHOR: name}
    return {**manifest, "metadata": {**manifest["metadata"], "annotations": annotations}}


def refusal_of(plane: ControlPlane, thing: dict[str, Any], user: str = "", *more: str) -> str:
    """What the API server says against a creation, without an effect; "" for nothing."""
    as_user = [f"--as={user}"] if user else []
    try:
        plane.kubectl(
            *as_user, "create", "--dry-run=server", "-f", "-", *more, stdin=json.dumps(thing)
        )
    except ClusterError as error:
        return str(error)
    return ""


@pytest.fixture
def refusal(plane: ControlPlane) -> Refusal:
    return lambda thing, user, *more: refusal_of(plane, thing, user, *more)


class TestSigning:
    def test_a_person_signs_as_themselves_in_a_role_they_have(self, refusal: Refusal) -> None:
        assert refusal(approval("DataScience", "ana"), "ana") == ""
        assert refusal(approval("Engineering", "bo", decision="Reject"), "bo") == ""

    def test_nobody_signs_for_somebody_else(self, refusal: Refusal) -> None:
        said = refusal(approval("DataScience", "ana"), "bo")
        assert "spec.approver: not the user who is logged in; got ana; allowed bo" in said

    def test_nobody_signs_in_a_role_they_do_not_have(self, refusal: Refusal) -> None:
        said = refusal(approval("Engineering", "ana"), "ana")
        assert (
            "spec.role: ana has no right to sign as this role in namespace payments; "
            "got Engineering" in said
        )

    def test_an_administrator_signs_as_any_role_but_as_nobody_else(
        self, plane: ControlPlane
    ) -> None:
        assert "allowed admin" in refusal_of(plane, approval("DataScience", "ana"))
        assert refusal_of(plane, approval("DataScience", "admin")) == ""

    def test_a_real_login_is_held_to_the_same(self, plane: ControlPlane) -> None:
        own = f"--kubeconfig={plane.kubeconfig_for('ana')}"
        assert refusal_of(plane, approval("DataScience", "ana"), "", own) == ""
        assert "got bo; allowed ana" in refusal_of(plane, approval("DataScience", "bo"), "", own)

    def test_a_signature_never_changes(self, plane: ControlPlane) -> None:
        made = plane.kubectl(
            "--as=ana", "create", "-o", "name", "-f", "-", stdin=json.dumps(approval())
        ).strip()
        for user in ("--as=ana", "--as=admin"):
            for change in ({"decision": "Reject"}, {"bundleHash": "v1-" + "0" * 64}):
                with pytest.raises(ClusterError):
                    plane.kubectl(
                        user, "patch", made, "-n", "payments", "--type=merge",
                        "-p", json.dumps({"spec": change}),
                    )  # fmt: skip
        with pytest.raises(ClusterError, match="an approval is a signature: it never changes"):
            plane.kubectl(
                "patch", made, "-n", "payments", "--type=merge",
                "-p", json.dumps({"spec": {"approver": "bo"}}),
            )  # fmt: skip


class TestRecords:
    """Attempts and statuses are evidence: the right to edit objects is not enough."""

    def test_an_editor_forges_no_attempt_and_no_status(
        self, plane: ControlPlane, refusal: Refusal
    ) -> None:
        plane.apply(
            [
                *role("editor", "eve", EDITS),
                *role("operator", "olga", EDITS, {
                    "apiGroups": [names.GROUP], "resources": [names.ATTEMPTS],
                    "verbs": ["operate"],
                }),
                attempt("fraud-forged"),
            ]
        )  # fmt: skip
        new = attempt("fraud-new")
        said = refusal(new, "eve")
        assert "attempts and statuses are written by the operator only; got eve" in said
        assert refusal(new, "olga") == ""

        def write(user: str, *more: str, body: dict[str, Any]) -> None:
            plane.kubectl(
                f"--as={user}", "patch", "handoffattempt", "fraud-forged", "-n", "payments",
                "--type=merge", "-p", json.dumps(body), *more,
            )  # fmt: skip

        passed = {"status": {"approvals": [
            {"role": "Risk", "approver": "ana", "name": "x", "at": "2026-03-02T09:00:00Z"}
        ]}}  # fmt: skip
        with pytest.raises(ClusterError, match="written by the operator only; got eve"):
            write("eve", "--subresource=status", body=passed)
        write("eve", body={"metadata": {"annotations": {"team": "risk"}}})
        write("olga", "--subresource=status", body=passed)


class TestAuthors:
    def test_nobody_names_somebody_else_as_the_author(self, refusal: Refusal) -> None:
        assert refusal(author(handoff(), "ana"), "ana") == ""
        said = refusal(author(handoff(), "ana"), "bo")
        assert f"metadata.annotations[{names.ANNOTATION_AUTHOR}]: must name who changes" in said
        assert "got ana; allowed bo" in said

    def test_whoever_changes_the_spec_becomes_the_author(self, plane: ControlPlane) -> None:
        first = author(handoff("authored"), "ana")
        plane.kubectl("--as=ana", "create", "-f", "-", stdin=json.dumps(first))

        def patch(user: str, body: dict[str, Any]) -> str:
            return plane.kubectl(
                f"--as={user}", "patch", "mho", "authored", "-n", "payments", "--type=merge",
                "-p", json.dumps(body),
            )  # fmt: skip

        edit: dict[str, Any] = {"spec": {"runbook": {"url": "https://runbooks.example/new"}}}
        with pytest.raises(ClusterError, match="got ana; allowed bo"):
            patch("bo", edit)
        with pytest.raises(ClusterError, match="got nothing; allowed bo"):
            patch("bo", {"metadata": {"annotations": {names.ANNOTATION_AUTHOR: None}}})
        patch("bo", {"metadata": {"annotations": {names.ANNOTATION_PAUSE: "x"}}})
        edit["metadata"] = {"annotations": {names.ANNOTATION_AUTHOR: "bo"}}
        patch("bo", edit)

    def test_a_large_handoff_costs_little_enough(self, plane: ControlPlane) -> None:
        features = [
            {"name": f"f{i}", "type": "Float", "source": "x" * 900, "driftSensitive": i < 50}
            for i in range(200)
        ]
        metrics = [
            {"name": f"d{i}", "type": "Drift", "of": "Feature", "feature": f"f{i}", "maxKL": 0.1}
            for i in range(50)
        ]
        large = author(
            handoff("large", contracts={"data": {"features": features}},
                    monitoring={"metrics": metrics}), "ana",
        )  # fmt: skip
        plane.kubectl("--as=ana", "create", "-f", "-", stdin=json.dumps(large))
        large["spec"]["contracts"]["data"]["features"][199]["source"] = "y"
        large["metadata"]["resourceVersion"] = plane.kubectl(
            "get", "mho", "large", "-n", "payments", "-o", "jsonpath={.metadata.resourceVersion}"
        )
        plane.kubectl("--as=ana", "replace", "-f", "-", stdin=json.dumps(large))

    def test_without_an_author_nothing_is_asked(self, refusal: Refusal) -> None:
        assert refusal(handoff(), "ana") == ""

    def test_a_baseline_is_a_deployment_that_one_may_change(self, refusal: Refusal) -> None:
        adopting = handoff(baseline={"workloadRef": {"name": "old-fraud"}})
        said = refusal(adopting, "ana")
        assert "spec.baseline.workloadRef.name: ana has no right to change this Deployment" in said
        assert refusal(adopting, "dan") == ""

    def test_a_policy_is_chosen_by_those_who_may_use_it(self, refusal: Refusal) -> None:
        choosing = handoff(policyRef={"name": "lax"})
        said = refusal(choosing, "ana")
        assert "spec.policyRef.name: ana has no right to use this policy; got lax" in said
        assert refusal(handoff(), "ana") == ""


@pytest.mark.parametrize(
    ("until", "said"),
    [
        ("2027-01-04T07:00:00Z", ""),
        ("2026-12-18T18:00:00Z", "spec.freeze[0].until: Invalid value"),
        ("2026-12-18T19:00:00+02:00", "the freeze is over before it begins"),
        ("next year", "spec.freeze[0].until"),
    ],
)
def test_a_freeze_ends_after_it_begins(plane: ControlPlane, until: str, said: str) -> None:
    policy = {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffPolicy",
        "metadata": {"name": "strict"},
        "spec": {"freeze": [{"from": "2026-12-18T18:00:00Z", "until": until, "reason": "x"}]},
    }
    refused = refusal_of(plane, policy)
    assert bool(refused) == bool(said)
    assert said in refused
    try:
        PolicySpec.model_validate(policy["spec"])
    except ValidationError:
        assert refused
    else:
        assert not refused


KEY = f"-----BEGIN PUBLIC KEY-----\n{'A' * 48}\n-----END PUBLIC KEY-----\n"


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({"requireSignature": True, "trustedKeys": [{"name": "release", "publicKey": KEY}]}, ""),
        ({"requireSignature": False}, ""),
        ({"trustedKeys": [{"name": "release", "publicKey": KEY}]}, ""),
        ({"requireSignature": True}, "signatures are required, and no key is trusted"),
        ({"requireSignature": True, "trustedKeys": []}, "spec.trustedKeys"),
        (
            {"trustedKeys": [{"name": "release", "publicKey": KEY.replace("PUBLIC", "PRIVATE")}]},
            "spec.trustedKeys[0].publicKey",
        ),
        ({"trustedKeys": [{"name": "a", "publicKey": KEY}] * 2}, "spec.trustedKeys[1]: Duplicate"),
    ],
    ids=["both", "not required", "keys", "no keys", "empty", "private", "one name twice"],
)
def test_whoever_requires_signatures_says_whose(
    plane: ControlPlane, spec: dict[str, Any], said: str
) -> None:
    policy = {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffPolicy",
        "metadata": {"name": "strict"},
        "spec": spec,
    }
    refused = refusal_of(plane, policy)
    assert bool(refused) == bool(said)
    assert said in refused
    try:
        PolicySpec.model_validate(spec)
    except ValidationError:
        assert refused
    else:
        assert not refused


def test_the_expressions_are_sound(plane: ControlPlane) -> None:
    found = json.loads(plane.kubectl("get", "validatingadmissionpolicy", "-o", "json"))
    for one in found["items"]:
        checking = one.get("status", {}).get("typeChecking", {})
        assert not checking.get("expressionWarnings"), checking


def test_the_listing_says_what_an_approval_is_worth(plane: ControlPlane) -> None:
    made = plane.kubectl(
        "--as=ana", "create", "-o", "name", "-f", "-", stdin=json.dumps(approval())
    ).strip()
    answer = {"valid": True, "reason": "Counts", "message": "Counts.", "observedGeneration": 1}
    plane.kubectl(
        "patch", made, "-n", "payments", "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": answer}),
    )  # fmt: skip
    listed = plane.kubectl("get", "mhap", made.partition("/")[2], "-n", "payments")
    head, row = (line.split() for line in listed.splitlines())
    assert head == [
        "NAME", "HANDOFF", "ROLE", "DECISION", "APPROVER", "VALID", "REASON", "AGE",
    ]  # fmt: skip
    assert row[1:7] == ["fraud", "DataScience", "Approve", "ana", "true", "Counts"]


ODD: list[Any] = [
    *("", "x", "X y", " ana", "ana ", "a\nb", "ü", "a" * 64, "a" * 254, "-a", "a-", 0, True),
    *([], {}, "Approve", "approve", "v1-" + "0" * 64, "v1-" + "A" * 64, "0" * 64, {"name": "A"}),
    *({"name": "fraud", "uid": "1"}, "system:serviceaccount:ci:gate", "a\x7f", "\ta"),
]


def test_what_the_api_server_takes_we_can_read_and_the_other_way_round(
    plane: ControlPlane,
) -> None:
    rng = random.Random(SEED)
    taken = refused = 0
    for _ in range(80):
        manifest = approval("DataScience", "admin")
        field = rng.choice([*manifest["spec"], "comment", "unknown"])
        manifest["spec"][field] = rng.choice(ODD)
        if rng.random() < 0.1:
            del manifest["spec"][field]
        said = refusal_of(plane, manifest)
        try:
            ApprovalSpec.model_validate(manifest["spec"])
            ours = ""
        except ValidationError as error:
            ours = str(error)
        if "spec.approver: not the user" in said and not ours:
            said = ""  # A legal name, but not ours: another rule than that of the shape.
        assert bool(said) == bool(ours), (field, manifest["spec"].get(field), said, ours)
        taken, refused = taken + (not said), refused + bool(said)
    assert taken > 10
    assert refused > 10


def test_kubectl_handoff_signs_what_it_shows_with_a_real_login(
    plane: ControlPlane, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(signing, "ANSWER_SECONDS", 0.0)
    written = spec(approvals={"roles": ["DataScience", "Engineering"]})
    waiting(plane, written)

    def run(user: str, *words: str) -> tuple[int, str, str]:
        monkeypatch.setenv("KUBECONFIG", str(plane.kubeconfig_for(user)))
        code = main([*words, "-n", "payments", "--yes"])
        captured = capsys.readouterr()
        return int(code), captured.out, captured.err

    code, out, err = run("ana", "approve", "signed", "--role", "DataScience")
    assert code == 0, err
    assert bundle_hash(written) in out
    assert "signed by ana" in out
    assert run("bo", "approve", "signed", "--role", "Engineering", "--dry-run")[0] == 0
    assert run("ana", "approve", "signed", "--role", "Engineering", "--dry-run")[0] == 1
    code, _, err = run("ana", "approve", "signed", "--role", "Engineering")
    assert code == 1
    assert "spec.role: ana has no right to sign as this role" in err
    code, _, err = run("bo", "reject", "signed", "--role", "Engineering", "-m", "too early")
    assert code == 0, err

    stored = json.loads(plane.kubectl("get", "mhap", "-n", "payments", "-o", "json"))["items"]
    found = {
        (one["spec"]["approver"], one["spec"]["decision"], one["spec"]["bundleHash"])
        for one in stored
        if one["spec"]["handoffRef"]["name"] == "signed"
    }
    bundle = bundle_hash(written)
    assert found == {("ana", "Approve", bundle), ("bo", "Reject", bundle)}


def waiting(plane: ControlPlane, written: dict[str, Any]) -> None:
    """A handoff whose attempt waits for people, written by hand as the operator would."""
    manifest = {**handoff("signed"), "spec": written}
    plane.kubectl("create", "-f", "-", stdin=json.dumps(manifest))
    uid = plane.kubectl("get", "mho", "signed", "-n", "payments", "-o", "jsonpath={.metadata.uid}")
    frozen = resolve(written).model_dump(mode="json", by_alias=True)
    plane.apply(
        [
            {
                "apiVersion": names.API_VERSION,
                "kind": "HandoffAttempt",
                "metadata": {"name": "signed-0123456789", "namespace": "payments"},
                "spec": {
                    "handoffRef": {"name": "signed", "uid": uid},
                    "bundleHash": bundle_hash(written),
                    "revision": revision_hash(written),
                    "ordinal": 1,
                    "kind": "Rollout",
                    "snapshot": json.dumps({"spec": frozen, "objects": []}),
                },
            },
            *role("reader", "ana", READS),
            *role("reader-too", "bo", READS),
        ]
    )
    status = {
        "phase": "AwaitingApproval",
        "observedGeneration": 1,
        "attemptRef": {"name": "signed-0123456789", "ordinal": 1},
    }
    plane.kubectl(
        "patch", "mho", "signed", "-n", "payments", "--subresource=status", "--type=merge",
        "-p", json.dumps({"status": status}),
    )  # fmt: skip
