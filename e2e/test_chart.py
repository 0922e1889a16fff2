"""The chart where pods run: its own test, and an upgrade in the middle of a rollout."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from e2e.cases import Case
from e2e.cluster.errors import ClusterError
from e2e.stack import CHART, SYSTEM, Stack
from e2e.test_operator_faults import every_request_counted_once, holder

pytestmark = [
    pytest.mark.full_stack,
    pytest.mark.alone,
    pytest.mark.timeout(400, func_only=True),
]


@pytest.fixture
def released(stack: Stack) -> Iterator[Stack]:
    """The release, put back to what all share."""
    try:
        yield stack
    finally:
        stack.install_operator()


def test_helm_test_finds_everything_there_from_inside(case: Case) -> None:
    told = case.stack.helm(
        "test", "modelhandoff", "--namespace", SYSTEM, "--logs", "--timeout", "120s"
    )
    assert "Phase:" in told
    assert "Succeeded" in told
    assert "✓ CRD ModelHandoff" in told
    assert "✓ operator" in told
    assert "✓ signatures" in told
    assert "0 are broken" in told
    left = case.stack.cluster.get("pods,roles,sa", f"--namespace={SYSTEM}")["items"]
    assert not [one for one in left if one["metadata"]["name"] == "modelhandoff-test"]


def test_an_upgrade_of_chart_and_crds_in_a_rollout_loses_nothing_and_repeats_nothing(
    case: Case, released: Stack
) -> None:
    cluster = released.cluster
    case.serve("v1")
    case.apply("v2")
    new = case.workload(case.wait_weight(10))
    case.wait_looks(3)
    before, pods = holder(released), {p["metadata"]["uid"] for p in case.pods(new)}
    crds = [one for one in yaml.safe_load_all(released.helm("show", "crds", str(CHART))) if one]
    for one in crds:
        one["metadata"].setdefault("annotations", {})["example/upgraded"] = case.namespace
    cluster.kubectl(
        "apply", "--server-side", "--force-conflicts", "-f", "-", stdin=yaml.safe_dump_all(crds)
    )
    released.install_operator({"podAnnotations": {"example/upgraded": case.namespace}})
    cluster.wait(lambda: holder(released) not in ("", before), "another leader", 60)
    status = case.wait("Promoted", timeout=240)
    assert case.routes.of(new) == [0, 10, 50, 100]
    assert status["stable"]["version"] == "1.1.0"
    assert len(case.attempts()) == 2
    assert {p["metadata"]["uid"] for p in case.pods(new)} >= pods, "no pod was made anew"
    every_request_counted_once(case, new)
    case.nothing_lost()


def test_what_the_chart_cannot_take_is_refused_before_anything_is_changed(stack: Stack) -> None:
    before = stack.cluster.get("deployment", "modelhandoff", f"--namespace={SYSTEM}")
    with pytest.raises(ClusterError, match="replicas"):
        stack.install_operator({"replicas": "two"})
    after = stack.cluster.get("deployment", "modelhandoff", f"--namespace={SYSTEM}")
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
