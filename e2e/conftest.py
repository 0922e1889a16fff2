"""One stack for the whole run; a namespace, a host name and a client per test.

Tests run side by side (``-n 3 --dist loadgroup``) on the one stack. Those that disturb what all
share (operator, Prometheus) are marked ``alone`` and wait until no other test runs.

``MODELHANDOFF_STACK=NAME`` uses an instance that runs already and leaves it running.
"""

from __future__ import annotations

import fcntl
import os
import re
import secrets
from collections.abc import Iterator
from typing import IO, Any

import pytest

from e2e.cases import Case, RouteWatch
from e2e.cluster import Cluster, connect
from e2e.cluster.addons import set_gpus
from e2e.cluster.cluster import GPU
from e2e.cluster.external import ExternalCluster
from e2e.cluster.progress import Progress
from e2e.stack import ROOT, Stack

RUNNING = "MODELHANDOFF_STACK"
GPUS = 12
PATIENCE = 30.0
"""Seconds until a request counts as lost. On a machine with ten times the work it has processors
for, everything stands still for ten seconds now and then; what is lost never comes."""
_started: list[Stack] = []


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "alone: disturbs what all tests share")
    config.addinivalue_line("markers", "rate(n): requests a second, instead of 40")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that disturb others come last, so that nobody waits before there is need to."""
    items.sort(key=lambda item: item.get_closest_marker("alone") is not None)
    for item in items:
        if item.path.name == "test_cluster_tool.py":  # they share a cluster of their own
            item.add_marker(pytest.mark.xdist_group("cluster-tool"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """With several workers their controller starts the one stack they share."""
    if RUNNING not in os.environ:
        _started.append(Stack.start("e2e", gpus=GPUS, progress=Progress()))
        os.environ[RUNNING] = "e2e"


def pytest_sessionfinish() -> None:
    """Whoever started the stack ends it."""
    while _started:
        _started.pop().down()


@pytest.fixture(scope="session")
def stack() -> Stack:
    """The whole product on one cluster."""
    running = os.environ.get(RUNNING)
    if running:
        cluster = connect(None if os.environ.get("KUBECONFIG") else running)
        assert isinstance(cluster, Cluster | ExternalCluster)
        if int(cluster.get("node", cluster.node)["status"]["allocatable"].get(GPU, "0")) < GPUS:
            set_gpus(cluster, GPUS)
        return Stack(cluster, ROOT / ".work" / "models")
    _started.append(Stack.start("e2e", gpus=GPUS, progress=Progress()))
    return _started[-1]


@pytest.fixture
def request_log(stack: Stack) -> Cluster:
    """The cluster, where the log of all requests can be read."""
    if not isinstance(stack.cluster, Cluster):
        pytest.skip("the request log is the API server's own; this cluster was started elsewhere")
    return stack.cluster


@pytest.fixture(scope="session")
def floor(stack: Stack) -> Iterator[IO[str]]:
    """A file to lock: shared by tests that run side by side, exclusively by one that disturbs."""
    with (ROOT / ".work" / f"floor-{stack.cluster.name}.lock").open("w") as file:
        yield file


@pytest.fixture
def case(stack: Stack, floor: IO[str], request: pytest.FixtureRequest) -> Iterator[Case]:
    """A corner of the cluster, removed afterwards."""
    disturbs = request.node.get_closest_marker("alone")
    fcntl.flock(floor, fcntl.LOCK_EX if disturbs else fcntl.LOCK_SH)
    try:
        yield from _case(stack, request)
    finally:
        fcntl.flock(floor, fcntl.LOCK_UN)


def _case(stack: Stack, request: pytest.FixtureRequest) -> Iterator[Case]:
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())
    name = f"{words[:32].strip('-')}-{secrets.token_hex(2)}"
    stack.namespace(name)
    rate = request.node.get_closest_marker("rate")
    traffic = stack.traffic(
        host=f"{name}.example",
        rate=rate.args[0] if rate else 40,
        duration=1800,
        timeout=PATIENCE,
        max_in_flight=1024,
    )
    found = Case(stack, name, f"{name}.example", traffic, RouteWatch(stack, name))
    try:
        yield found
    finally:
        traffic.stop()
        found.routes.stop()
        stack.cluster.kubectl(
            "delete", "mho", "--all", f"--namespace={name}", "--wait=true", "--timeout=60s",
            timeout=70,
        )  # fmt: skip
        # Its pods drain for some seconds; nobody needs to wait for that.
        stack.cluster.kubectl("delete", "namespace", name, "--wait=false")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.when == "call" and report.failed:
        case = getattr(item, "funcargs", {}).get("case")
        if isinstance(case, Case):
            report.sections.append(("where it stands", _stands(case)))
    return report


def _stands(case: Case) -> str:
    """What somebody wants to know of a test that failed."""
    cluster, where = case.stack.cluster, f"--namespace={case.namespace}"
    commands = (
        ("get", "mho,mha,pods,httproutes", where, "-o", "wide"),
        ("get", "mho", where, "-o", "jsonpath={.items[*].status.message}"),
        (
            "get",
            "mha",
            where,
            "-o",
            "jsonpath={range .items[*].status.timeline[*]}{.at} {.what}{'\\n'}{end}",
        ),
        ("events", where),
        ("logs", "deployment/modelhandoff", "--namespace=modelhandoff-system", "--tail=40"),
    )
    found = [f"weights: {case.routes.seen}"]
    for command in commands:
        try:
            found.append(cluster.kubectl(*command))
        except Exception as error:
            found.append(str(error))
    return "\n\n".join(found)
