"""The cluster as a tool: comes up, does what a cluster does, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import (
    Cluster,
    ClusterError,
    ControlPlane,
    ExternalCluster,
    build,
    cgroups,
    connect,
    process,
)
from e2e.cluster import network as net
from e2e.cluster.controlplane import LocalCluster
from e2e.cluster.pauseimage import PAUSE_IMAGE, write

pytestmark = [pytest.mark.full_stack, pytest.mark.timeout(180)]

WEB = "localhost/web:1"
ROOT = Path(__file__).parents[1]


def until(condition: Callable[[], Any], what: str, timeout: float = 30) -> Any:
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        assert time.monotonic() < deadline, f"waited {timeout:.0f} s in vain for {what}"
        time.sleep(0.05)
    return value


@dataclass(frozen=True)
class Traces:
    """Everything that an instance could leave on a machine."""

    folder: Path
    scope: str
    link: str
    ranges: tuple[str, ...]
    pid_namespace: str

    @classmethod
    def of(cls, cluster: LocalCluster, held: ExitStack) -> Traces:
        """Of a running instance; `held` keeps its namespace's number from being given again."""
        record = cluster.instance.record
        return cls(
            record.folder,
            record.scope,
            record.veth,
            tuple(str(r) for r in record.addresses.ranges),
            held.enter_context(process.held_namespace(record.shepherd_pid, "pid")),
        )

    def found(self) -> list[str]:
        """What of it exists now."""
        mountinfo = Path("/proc/self/mountinfo").read_text()
        out = [f"mount: {m}" for m in mountinfo.splitlines() if self.mine(m)]
        if self.scope in net.namespaces():
            out.append(f"network namespace {self.scope}")
        if self.link in net.links():
            out.append(f"link {self.link}")
        routes = {str(r) for r in net.routes()}
        out += [f"route {r}" for r in self.ranges if r in routes]
        out += [f"cgroup {s}" for s in cgroups.scopes(self.scope) if s == self.scope]
        pids = set(process.marked(self.folder))
        if self.pid_namespace != process.namespace(os.getpid(), "pid"):
            pids |= set(process.in_namespace(self.pid_namespace, "pid"))
        out += [f"process {p}" for p in sorted(pids)]
        if self.folder.exists():
            out.append(f"folder {self.folder}")
        return out

    def mine(self, mount: str) -> bool:
        point = mount.split()[4]
        return point == f"/run/netns/{self.scope}" or str(self.folder) in mount


@pytest.fixture
def held() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def web_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small program that answers HTTP: `GET /devices` returns the number it was started with."""
    program = build.binaries("stack").gpuplugin
    return write(program, tmp_path_factory.mktemp("image") / "web.tar", WEB)


@pytest.fixture(scope="module")
def cluster(web_image: Path) -> Iterator[Cluster]:
    with Cluster.start(images=[web_image], gpus={"Tesla-T4": 2}) as made:
        yield made


def web(name: str, number: int) -> list[dict[str, Any]]:
    labels = {"app": name}
    container = {
        "name": "web",
        "image": WEB,
        "args": [f"-count={number}", "-folder=/plugins"],
        "ports": [{"containerPort": 8080}],
        "readinessProbe": {"httpGet": {"path": "/devices", "port": 8080}, "periodSeconds": 1},
        "volumeMounts": [{"name": "plugins", "mountPath": "/plugins"}],
    }
    pod = {"containers": [container], "volumes": [{"name": "plugins", "emptyDir": {}}]}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "selector": {"matchLabels": labels},
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {**pod, "terminationGracePeriodSeconds": 1},
                },
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
        },
    ]


def serve(cluster: Cluster, name: str, number: int) -> str:
    """Run the web program behind a Service; its address."""
    cluster.apply(web(name, number))
    cluster.kubectl("rollout", "status", f"deployment/{name}", "--timeout=60s", timeout=70)
    return f"http://{cluster.get('service', name)['spec']['clusterIP']}/devices"


def ask(url: str) -> int | None:
    """The number behind a Service; None while it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=3) as reply:
            return int(json.load(reply)["count"])
    except (urllib.error.URLError, OSError):
        return None


def restarts(cluster: Cluster, app: str) -> list[int]:
    pods = cluster.get("pods", "--selector", f"app={app}")["items"]
    return [c["restartCount"] for p in pods for c in p["status"]["containerStatuses"]]


# One cluster


def test_a_service_answers_from_outside_and_follows_its_pod(cluster: Cluster) -> None:
    url = serve(cluster, "follow", 3)
    until(lambda: ask(url) == 3, "the Service")
    serve(cluster, "follow", 4)
    until(lambda: ask(url) == 4, "the new pod behind the Service")


def test_logs_of_a_container_are_read_through_the_api(cluster: Cluster) -> None:
    serve(cluster, "talk", 3)
    until(lambda: "kubelet.sock" in cluster.kubectl("logs", "deployment/talk"), "its log")


def test_gpus_are_counted_vanish_and_return(cluster: Cluster) -> None:
    def pod(name: str) -> dict[str, Any]:
        limits = {"nvidia.com/gpu": "1"}
        container = {"name": "p", "image": PAUSE_IMAGE, "resources": {"limits": limits}}
        spec = {
            "containers": [container],
            "nodeSelector": {"nvidia.com/gpu.product": "Tesla-T4"},
            "terminationGracePeriodSeconds": 0,
        }
        meta = {"name": name, "namespace": "default"}
        return {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}

    def why_pending(name: str) -> str:
        for c in cluster.get("pod", name)["status"].get("conditions", []):
            if c["type"] == "PodScheduled" and c["status"] == "False":
                return str(c["message"])
        return ""

    cluster.apply([pod("gpu-a"), pod("gpu-b")])
    cluster.kubectl("wait", "pod/gpu-a", "pod/gpu-b", "--for=condition=Ready", "--timeout=30s")
    cluster.apply(pod("gpu-c"))
    until(lambda: "Insufficient nvidia.com/gpu" in why_pending("gpu-c"), "the third to be refused")
    cluster.kubectl("delete", "pod", "gpu-a", "gpu-b", "gpu-c", "--now")
    cluster.set_gpus("Tesla-T4", 0)
    cluster.apply(pod("gpu-d"))
    until(lambda: "Insufficient nvidia.com/gpu" in why_pending("gpu-d"), "no GPU to be free")
    cluster.set_gpus("Tesla-T4", 2)
    cluster.kubectl("wait", "pod/gpu-d", "--for=condition=Ready", "--timeout=60s", timeout=70)


def test_containers_outlive_a_kubelet_and_an_api_server(cluster: Cluster) -> None:
    url = serve(cluster, "stay", 7)
    until(lambda: ask(url) == 7, "the Service")
    before = cluster.pids
    cluster.kill("kubelet")
    cluster.kill_apiserver()
    assert ask(url) == 7
    assert cluster.status("/readyz") == 0
    cluster.start_apiserver()
    cluster.restart("kubelet")
    cluster.wait_node()
    assert restarts(cluster, "stay") == [0]
    after = cluster.pids
    changed = {part for part in before if before[part] != after.get(part)}
    assert changed == {"kubelet", "kube-apiserver"}


def test_people_have_names_rights_and_a_trace_in_the_request_log(cluster: Cluster) -> None:
    ada = cluster.kubeconfig_for("ada", ["reviewers"])
    since = cluster.audit_offset()
    with pytest.raises(ClusterError, match='User "ada" cannot list resource "secrets"'):
        cluster.kubectl("get", "secrets", kubeconfig=ada)
    rights = ["--verb=list", "--resource=secrets"]
    cluster.kubectl("create", "clusterrole", "reader", *rights)
    cluster.kubectl(
        "create", "clusterrolebinding", "readers", "--clusterrole=reader", "--group=reviewers"
    )
    until(lambda: _may(cluster, ada), "the right to be in effect")
    seen = [
        e["responseStatus"]["code"]
        for e in cluster.audit_events(since)
        if e["user"]["username"] == "ada" and e.get("objectRef", {}).get("resource") == "secrets"
    ]
    assert seen[0] == 403
    assert seen[-1] == 200


def _may(cluster: Cluster, person: Path) -> bool:
    try:
        cluster.kubectl("get", "secrets", kubeconfig=person)
    except ClusterError:
        return False
    return True


def test_a_second_one_of_the_same_name_is_refused_and_the_first_unharmed(cluster: Cluster) -> None:
    with pytest.raises(ClusterError, match="exists already"):
        Cluster.start(cluster.name)
    assert cluster.status("/readyz") == 200


def test_another_process_can_use_it_by_name(cluster: Cluster) -> None:
    other = connect(cluster.name)
    assert isinstance(other, Cluster)
    assert other.pids == cluster.pids
    assert other.kubectl("get", "node", "-o", "name").strip() == f"node/{cluster.name}"


def test_the_same_object_comes_from_a_kubeconfig(cluster: Cluster) -> None:
    external = connect(env={"KUBECONFIG": str(cluster.kubeconfig)})
    assert isinstance(external, ExternalCluster)
    assert external.node == cluster.node
    bob = external.kubeconfig_for("bob", ["ops"])
    who = external.kubectl("auth", "whoami", "-o", "json", kubeconfig=bob)
    assert json.loads(who)["status"]["userInfo"]["username"] == "bob"
    assert "ops" in json.loads(who)["status"]["userInfo"]["groups"]
    with pytest.raises(ClusterError, match="started by somebody else: no request log"):
        _ = external.audit_log
    serve(cluster, "afar", 5)
    there = external.forward("default", "service/afar", 80)
    assert external.forward("default", "service/afar", 80) == there, "one is enough"
    assert ask(f"http://{there}/devices") == 5
    with pytest.raises(ClusterError, match='services "nowhere" not found'):
        external.forward("default", "service/nowhere", 80)
    external.stop()
    assert ask(f"http://{there}/devices") is None
    assert cluster.status("/readyz") == 200


# Several, and their end


def test_nothing_is_left_after_each_of_three_lives(web_image: Path, held: ExitStack) -> None:
    for _ in range(3):
        with Cluster.start("cycle", images=[web_image]) as one:
            serve(one, "web", 1)
            traces = Traces.of(one, held)
            kinds = {line.split()[0] for line in traces.found()}
            assert {"mount:", "network", "link", "route", "cgroup", "process", "folder"} <= kinds
        assert traces.found() == []


def test_two_live_side_by_side_and_one_outlives_the_other(web_image: Path, held: ExitStack) -> None:
    with Cluster.start(images=[web_image]) as first:
        traces = Traces.of(first, held)
        here = serve(first, "web", 11)
        with Cluster.start(images=[web_image]) as second:
            there = serve(second, "web", 22)
            assert here != there
            until(lambda: (ask(here), ask(there)) == (11, 22), "both Services")
            first.down()
            assert traces.found() == []
            # Nor does the neighbour keep the dead one's network alive.
            inside = Path(f"/proc/{second.instance.record.shepherd_pid}/mountinfo").read_text()
            assert not [m for m in inside.splitlines() if traces.mine(m)]
            assert ask(there) == 22
            assert restarts(second, "web") == [0]


OWNER = """
import sys, time
from pathlib import Path
from e2e.cluster import {kind}
from e2e.test_cluster_tool import serve
started = {kind}.start("{name}", {arguments})
{more}
print("up", flush=True)
time.sleep(600)
"""


def owner(kind: str, name: str, arguments: str = "", more: str = "") -> subprocess.Popen[str]:
    """A program that starts an instance and then waits to be killed."""
    program = OWNER.format(kind=kind, name=name, arguments=arguments, more=more)
    started = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    if started.stdout.readline() != "up\n":
        kill(started)
        raise AssertionError(f"{name} did not come up")
    return started


def kill(program: subprocess.Popen[str]) -> None:
    with program:
        program.send_signal(signal.SIGKILL)


def tool(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "e2e.cluster", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_killed_owner_takes_all_processes_along_and_gc_the_rest(
    web_image: Path, held: ExitStack
) -> None:
    program = owner(
        "Cluster", "killed1", f'images=[Path("{web_image}")]', 'serve(started, "web", 1)'
    )
    found = connect("killed1")
    assert isinstance(found, Cluster)
    traces = Traces.of(found, held)
    kill(program)

    def processes() -> list[str]:
        return [t for t in traces.found() if t.startswith("process")]

    until(lambda: not processes(), "all processes to end", timeout=10)
    done = tool("gc")
    assert done.returncode == 0, done.stderr
    # Not asked who removed it: a cluster that another worker starts meanwhile collects it as well.
    assert traces.found() == []


def test_the_next_start_removes_what_a_killed_owner_left(web_image: Path, held: ExitStack) -> None:
    program = owner("Cluster", "killed2", f'images=[Path("{web_image}")]')
    found = connect("killed2")
    assert isinstance(found, Cluster)
    traces = Traces.of(found, held)
    kill(program)
    with ControlPlane.start():
        assert traces.found() == []


def test_an_interrupted_up_is_torn_down() -> None:
    # Whoever runs the tests in the background of a script has this signal ignored.
    heard = ["env", "--default-signal=INT"]
    command = [*heard, sys.executable, "-m", "e2e.cluster", "up", "--name", "halted", "--bare"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as up:
        assert up.stderr is not None
        for line in up.stderr:
            if "Start the node ..." in line:
                break
        up.send_signal(signal.SIGINT)
        rest = up.stderr.read()
    assert up.returncode == 130, rest
    assert "halted" not in tool("status").stdout
    assert "mh-halted" not in net.namespaces()
    assert "mh-halted" not in cgroups.scopes(net.PREFIX)


def test_up_stays_until_down() -> None:
    try:
        done = tool("up", "--name", "stays", "--level", "control-plane")
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("export KUBECONFIG=")
        listed = tool("kubectl", "--name", "stays", "get", "namespaces", "-o", "name")
        assert "namespace/default" in listed.stdout, listed.stderr
    finally:
        removed = tool("down", "--name", "stays")
    assert removed.returncode == 0, removed.stderr
    assert "stays" not in tool("status").stdout


# A control plane alone


def test_control_planes_run_side_by_side_and_a_killed_owner_takes_its_own(held: ExitStack) -> None:
    with ControlPlane.start() as mine:
        program = owner("ControlPlane", "killed3")
        theirs = connect("killed3")
        assert isinstance(theirs, ControlPlane)
        traces = Traces.of(theirs, held)
        assert mine.url != theirs.url
        kill(program)
        until(lambda: not list(process.marked(traces.folder)), "its processes to end", timeout=10)
        assert mine.status("/readyz") == 200
        assert tool("gc").returncode == 0
        assert traces.found() == []
        assert mine.status("/readyz") == 200


def test_data_outlives_a_killed_etcd_and_api_server() -> None:
    with ControlPlane.start() as cp:
        cp.kubectl("create", "namespace", "kept")
        cp.kill("kube-apiserver")
        cp.kill("etcd")
        cp.restart("etcd")
        cp.start_apiserver()
        assert cp.kubectl("get", "namespace", "kept", "-o", "name").strip() == "namespace/kept"


def test_a_part_that_cannot_start_is_named_with_its_complaint() -> None:
    with pytest.raises(ClusterError, match=r"kube-apiserver ended with 1 .*") as caught:
        ControlPlane.start("broken", apiserver_args=["--no-such-flag"])
    assert "unknown flag: --no-such-flag" in str(caught.value)
    assert "broken" not in tool("status").stdout
