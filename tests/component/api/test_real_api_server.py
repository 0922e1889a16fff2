"""The CRDs on a real API server: it takes them, and refuses what our own check refuses."""

from __future__ import annotations

import copy
import json
import random
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client, config

from e2e.cluster import ClusterError, ControlPlane
from modelhandoff.api import names
from modelhandoff.api.attempt import (
    MAX_BINS,
    MAX_CURSOR,
    MAX_EVIDENCE,
    MAX_SNAPSHOT,
    MAX_TIMELINE,
    AttemptKind,
    AttemptSpec,
    HandoffRef,
)
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.hashing import bundle_hash, revision_hash
from modelhandoff.api.resolve import check, resolve
from modelhandoff.api.schema import structural
from tests.bad_handoffs import BadHandoff, load
from tests.builders import DIGEST, IMAGE, handoff, spec

pytestmark = pytest.mark.control_plane

CRDS = Path(__file__).parents[3] / "crds"
SEED = 20260302
MUTANTS = 400


class Server:
    """The API server as a client sees it; a refusal is a list of paths and a message."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self._client = config.new_client_from_config(str(plane.kubeconfig))
        self._objects = client.CustomObjectsApi(self._client)

    def close(self) -> None:
        self._client.close()

    def create(self, manifest: dict[str, Any], *, dry_run: bool = True) -> dict[str, Any]:
        """Create, with strict decoding, by default without an effect."""
        plural = {"ModelHandoff": names.HANDOFFS, "HandoffAttempt": names.ATTEMPTS}
        created: dict[str, Any] = self._objects.create_namespaced_custom_object(
            names.GROUP,
            names.VERSION,
            manifest["metadata"]["namespace"],
            plural[manifest["kind"]],
            manifest,
            field_validation="Strict",
            _request_timeout=30,
            **({"dry_run": "All"} if dry_run else {}),
        )
        return created

    def refusal(self, manifest: dict[str, Any]) -> tuple[set[str], str]:
        """Paths and message of the refusal; nothing and an empty text when it is taken."""
        try:
            self.create(manifest)
        except client.ApiException as error:
            status = json.loads(error.body)
            causes = (status.get("details") or {}).get("causes") or []
            paths = {cause["field"] for cause in causes}
            paths |= set(re.findall(r'unknown field "([^"]+)"', status["message"]))
            return paths - {"<nil>"}, status["message"]
        return set(), ""

    def write_status(self, name: str, change: dict[str, Any]) -> dict[str, Any]:
        """Merge into the status of an attempt; what is stored then."""
        stored: dict[str, Any] = self._objects.patch_namespaced_custom_object_status(
            names.GROUP,
            names.VERSION,
            "payments",
            names.ATTEMPTS,
            name,
            {"status": change},
            _request_timeout=30,
        )
        return stored


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ControlPlane.start("component-api") as plane:
        for file in sorted(CRDS.glob("*.yaml")):
            plane.kubectl("apply", "--server-side", "-f", str(file))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        plane.kubectl("create", "namespace", "payments")
        served = Server(plane)
        yield served
        served.close()


def test_the_smallest_handoff_is_taken_and_stored_as_it_was_written(server):
    stored = server.create(handoff())

    assert stored["spec"] == spec()
    assert stored["status"] == {"observedGeneration": -1}
    assert bundle_hash(stored["spec"]) == bundle_hash(spec())


def test_a_resolved_handoff_is_a_legal_handoff_too(server):
    resolved = resolve(spec()).model_dump(mode="json", by_alias=True)

    assert server.refusal({**handoff(), "spec": resolved}) == (set(), "")


@pytest.mark.parametrize("case", load(), ids=str)
def test_each_malformed_handoff_is_refused_at_its_layer(server, case: BadHandoff):
    paths, message = server.refusal(case.manifest)

    if case.layer == "status":
        assert message == ""
        return
    assert message != ""
    assert case.path in paths or f"{case.path}: " in message
    if case.layer == "cel":
        (line,) = check(case.manifest)
        assert line.args[0].split("; ")[0].removeprefix(f"{case.path}: ") in message


def test_two_hundred_features_and_fifty_drift_metrics_cost_little_enough(server):
    features = [{"name": f"f{i}", "type": "Float", "driftSensitive": i < 50} for i in range(200)]
    metrics = [
        {"name": f"d{i}", "type": "Drift", "of": "Feature", "feature": f"f{i}", "maxKL": 0.1}
        for i in range(50)
    ]
    full = handoff(contracts={"data": {"features": features}}, monitoring={"metrics": metrics})

    assert server.refusal(full) == (set(), "")


def test_server_side_apply_refuses_null_where_we_do(server):
    manifest = json.dumps(handoff(rollout={"initial": None}))

    with pytest.raises(ClusterError, match=r"spec\.rollout\.initial: Invalid value: .null"):
        server.plane.kubectl(
            "apply", "--server-side", "--dry-run=server", "-f", "-", stdin=manifest
        )


def attempt() -> dict[str, Any]:
    frozen = AttemptSpec(
        handoff_ref=HandoffRef(name="fraud", uid="1234"),
        bundle_hash=bundle_hash(spec()),
        revision=revision_hash(spec()),
        ordinal=1,
        kind=AttemptKind.ROLLOUT,
        snapshot="{}",
    ).model_dump(mode="json", by_alias=True)
    return {
        "apiVersion": names.API_VERSION,
        "kind": "HandoffAttempt",
        "metadata": {"name": "fraud-1", "namespace": "payments"},
        "spec": frozen,
    }


def test_an_attempt_is_frozen_and_its_verdict_latched(server):
    server.create(attempt(), dry_run=False)

    def patch(kind: str, body: Any, *more: str) -> str:
        return server.plane.kubectl(
            *("patch", "handoffattempt", "-n", "payments", "fraud-1", *more),
            *(f"--type={kind}", "-p", json.dumps(body)),
        )

    with pytest.raises(ClusterError, match="an attempt is frozen when it is made"):
        patch("merge", {"spec": {"ordinal": 2}})

    verdict = {
        "decision": "Rollback",
        "reason": "HarmDetected",
        "message": "Errors.",
        "at": "2026-03-02T09:00:00Z",
    }
    status = "--subresource=status"
    patch("merge", {"status": {"phase": "RollingBack", "verdict": verdict}}, status)
    patch("merge", {"status": {"phase": "RolledBack"}}, status)
    for undo in (
        ("merge", {"status": {"verdict": {"decision": "Promote"}}}),
        ("json", [{"op": "remove", "path": "/status/verdict"}]),
        ("json", [{"op": "remove", "path": "/status"}]),
    ):
        with pytest.raises(ClusterError, match="a verdict is latched"):
            patch(*undo, status)


def long_text(length: int) -> str:
    """JSON text of exactly this length, with as many quotes as rendered objects have."""
    return ('{"name":"amount","type":"Float"},' * length)[:length]


def test_the_largest_attempt_fits_and_a_larger_one_is_refused_as_a_whole(server):
    whole = attempt()
    whole["metadata"]["name"] = "fraud-large"
    whole["spec"]["snapshot"] = long_text(MAX_SNAPSHOT + 1)
    _, message = server.refusal(whole)
    assert f"may not be more than {MAX_SNAPSHOT} bytes" in message

    whole["spec"]["snapshot"] = long_text(MAX_SNAPSHOT)
    server.create(whole, dry_run=False)

    at = "2026-03-02T09:00:00Z"
    full = {
        "evidence": long_text(MAX_EVIDENCE),
        "cursor": long_text(MAX_CURSOR),
        "bins": long_text(MAX_BINS),
        "timeline": [{"at": at, "what": "x" * 320}] * MAX_TIMELINE,
    }
    stored = server.write_status("fraud-large", full)["status"]
    assert stored["cursor"] == full["cursor"]

    for field, longest in (("evidence", MAX_EVIDENCE), ("cursor", MAX_CURSOR)):
        with pytest.raises(client.ApiException, match=f"may not be more than {longest} bytes"):
            server.write_status("fraud-large", {field: long_text(longest + 1), "looks": 9})
    assert "looks" not in server.write_status("fraud-large", {})["status"]


def test_what_verification_needs_is_asked_for_alike(server):
    """Every way to declare checks, with and without the files and formats that they need."""
    rng = random.Random(SEED)
    optional = ("TestData", "ModelCard", "Environment", "SBOM", "ApiContract")
    tensor = {"name": "x", "datatype": "FP32", "shape": [-1, 8]}
    governance: list[dict[str, Any]] = [
        {},
        {"pinnedEnvironment": True},
        {"pinnedEnvironment": False},
        {"pinnedEnvironment": False, "sbom": {"maxSeverity": "High"}},
        {"modelCard": {}},
        {"modelCard": {"requiredSections": ["bias"]}, "pinnedEnvironment": True},
    ]
    taken = refused = 0
    for _ in range(MUTANTS // 2):
        manifest = handoff()
        body = manifest["spec"]
        artifacts = body["candidate"]["artifacts"]
        artifacts += [{**artifacts[0], "role": r} for r in optional if rng.random() < 0.6]
        if rng.random() < 0.5:
            body["candidate"]["model"]["format"] = rng.choice(["ONNX", "ONNX", "Torch", "Custom"])
        if rng.random() < 0.5:
            body["acceptance"] = rng.choice([{"smoke": {}}, {"smoke": {"topK": 3}}])
        if rng.random() < 0.5:
            body["governance"] = rng.choice(governance)
        if rng.random() < 0.3:
            body["contracts"]["api"][rng.choice(["inputs", "outputs"])] = [tensor]
        theirs, message = server.refusal(manifest)
        ours = {error.path for error in check(manifest)}
        assert (message != "") == bool(ours), (message, ours)
        # A block that is wrong in itself hides from us what is wrong around it.
        assert ours <= theirs
        taken, refused = taken + (not ours), refused + bool(ours)
    assert min(taken, refused) > MUTANTS // 20


# Mutants: our own check may be stricter than the API server, never laxer, and names the place.

WRONG = [
    *("", "x", "X y", "a-b", 0, -1, 2, 99, 100, 0.5, 1.5, 1e9, 2**53, True, [], {}, "0s", "10m"),
    *("5x", "https://a.example/b?c", "/a", "a b", DIGEST, IMAGE, "ü", "a" * 300, "a\n", "1.5Gi"),
    *("namespace", ["a"], ["a", "a"], [1], [{}], [{"name": "a"}], {"zone": "a"}, {"a b": "c"}),
]


def places(schema: dict[str, Any], path: tuple[str | int, ...] = ()) -> Iterator[Any]:
    if path:
        yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from places(child, (*path, name))
    if "items" in schema:
        yield from places(schema["items"], (*path, 0))


def legal(schema: dict[str, Any]) -> Any:
    """Some legal value of a schema, as far as the schema alone can tell."""
    hints = {"duration": "10m", "http": "https://a/b", "path that": "/a", "sha256: and": DIGEST}
    hints |= {"image": IMAGE, "quantity": "2", "commit": "a" * 40}
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type", "string"):
        case "object":
            return {key: legal(schema["properties"][key]) for key in schema.get("required", ())}
        case "array":
            return [legal(schema["items"])]
        case "integer" | "number":
            return 0.5 if schema.get("exclusiveMaximum") else schema.get("minimum", 0) + 1
        case "boolean":
            return True
    hint = schema.get("x-hint", "")
    return next((value for word, value in hints.items() if word in hint), "a")


def put(
    root: dict[str, Any], shape: dict[str, Any], path: tuple[str | int, ...], value: Any
) -> None:
    """Set a value, with legal parents made on the way; does nothing below a broken parent."""
    node: Any = root
    for step, child in pairwise(path):
        shape = shape["items"] if step == 0 else shape["properties"][step]
        if not isinstance(node, list if step == 0 else dict):
            return
        if step == 0 and not node:
            node.append(legal(shape))
        elif step != 0:
            node.setdefault(step, legal(shape))
        node = node[step]
        if not isinstance(node, list if child == 0 else dict):
            return
    if path[-1] == 0:
        node[:1] = [value]
    else:
        node[path[-1]] = value


def test_whatever_the_api_server_refuses_our_check_refuses_at_the_same_place(server):
    rng = random.Random(SEED)
    shape = structural(ModelHandoffSpec)
    everywhere = list(places(shape))
    taken = refused = 0
    for _ in range(MUTANTS):
        manifest = handoff()
        for path, node in rng.sample(everywhere, rng.choice([1, 1, 2])):
            value = legal(node) if rng.random() < 0.4 else copy.deepcopy(rng.choice(WRONG))
            put(manifest["spec"], shape, path, value)
        theirs, message = server.refusal(manifest)
        ours = {error.path for error in check(manifest)}
        if message:
            refused += 1
            assert ours, (message, manifest)
            assert any(
                path == one or path.startswith((f"{one}.", f"{one}["))
                for path in theirs
                for one in ours
            ), (message, ours)
        else:
            taken += 1
            assert not ours, ours
    assert taken > MUTANTS // 10
    assert refused > MUTANTS // 10
