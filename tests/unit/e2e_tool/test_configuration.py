"""Configuration of the parts: what was learnt the hard way stays."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from e2e.cluster import cgroups, controlplane, memory, node, packages
from e2e.cluster.addresses import Addresses
from e2e.cluster.cli import parser
from e2e.cluster.errors import ClusterError
from e2e.cluster.progress import Progress, duration
from e2e.cluster.registry import Level

AT = Addresses(5, 200)
FOLDER = Path("/i/x")


def test_a_control_plane_without_nodes_listens_on_loopback_alone() -> None:
    at = controlplane.endpoints(Level.CONTROL_PLANE, AT)
    flags = controlplane.apiserver_arguments(Level.CONTROL_PLANE, at, AT, FOLDER)
    assert "--bind-address=127.0.0.1" in flags
    assert f"--secure-port={AT.ports[0]}" in flags
    assert len({at.port, at.etcd, at.etcd_peer}) == 3


def test_the_api_server_reaches_kubelets_by_address() -> None:
    at = controlplane.endpoints(Level.FULL, AT)
    flags = controlplane.apiserver_arguments(Level.FULL, at, AT, FOLDER)
    assert "--kubelet-preferred-address-types=InternalIP" in flags
    assert f"--advertise-address={AT.node_ip}" in flags


def test_the_request_log_never_holds_secrets() -> None:
    for audit in ("writes", "all"):
        rules = controlplane.audit_policy(audit)["rules"]
        first = next(
            r
            for r in rules
            if any("secrets" in e.get("resources", []) for e in r.get("resources", []))
        )
        bodies = next(i for i, r in enumerate(rules) if r["level"] == "RequestResponse")
        assert first["level"] == "Metadata"
        assert rules.index(first) < bodies


def test_reads_are_logged_without_bodies_unless_all_is_asked_for() -> None:
    assert controlplane.audit_policy("writes")["rules"][-1] == {"level": "Metadata"}
    assert controlplane.audit_policy("all")["rules"][-1] == {"level": "RequestResponse"}


def test_every_part_has_a_certificate_that_rbac_knows() -> None:
    at = controlplane.endpoints(Level.FULL, AT)
    made = dict(controlplane.subjects(at, AT, "n"))
    assert made["kubelet-client"].name == "system:node:n"
    assert made["kubelet-client"].groups == ("system:nodes",)
    assert made["proxy"].name == "system:kube-proxy"
    assert {AT.node_ip, AT.api_service_ip, "127.0.0.1"} <= set(made["apiserver"].hosts)
    assert not made["admin"].hosts


def test_a_kubelet_keeps_to_its_own_cgroup_and_never_collects_images() -> None:
    config = node.kubelet_configuration(AT, FOLDER, "mh-x")
    assert config["cgroupRoot"] == "/mh-x"
    assert config["imageGCHighThresholdPercent"] == 100
    assert config["clusterDNS"] == [AT.dns_ip]
    assert config["authentication"]["anonymous"] == {"enabled": False}


def test_sandboxes_survive_without_the_right_to_lower_scores() -> None:
    assert "restrict_oom_score_adj = true" in node.containerd_configuration(FOLDER, FOLDER / "c")


def test_pods_get_addresses_from_the_range_the_machine_routes() -> None:
    bridge = node.cni_configuration(AT)["plugins"][0]
    assert bridge["ipam"]["ranges"] == [[{"subnet": str(AT.pod_range)}]]


MOUNTINFO = """\
30 22 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw
31 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset
32 30 0:28 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw
40 22 0:50 / /proc rw - proc proc rw
broken
"""


def test_cgroup_hierarchies_of_both_versions_are_found() -> None:
    found = {(str(h.mount), h.version) for h in cgroups.parse(MOUNTINFO)}
    assert found == {("/sys/fs/cgroup/cpuset", 1), ("/sys/fs/cgroup/unified", 2)}


def test_packages_that_were_removed_again_count_as_missing() -> None:
    listed = "runc installed\nbuildah config-files\niproute2:amd64 installed\n"
    assert packages.missing(["runc", "buildah", "iproute2", "openssl"], listed) == [
        "buildah",
        "openssl",
    ]


def test_memory_is_read_in_bytes() -> None:
    text = "00400000-7fff ---p\nRss:   20 kB\nPss:   5 kB\nPss_Anon: 3 kB\n"
    assert memory.parse(text) == memory.Memory(rss=20480, pss=5120)


def test_a_failed_phase_says_so_and_how_long_it_took() -> None:
    now = iter([0.0, 1.0, 1.0, 4.5, 4.5])
    out = io.StringIO()
    progress = Progress(out, clock=lambda: next(now))
    with pytest.raises(ClusterError), progress.phase("Start"):
        raise ClusterError("no")
    assert "Start: FAILED after 3.5 s" in out.getvalue()
    assert progress.phases == []


def test_steps_are_printed_rarely_and_the_last_always() -> None:
    clock = [0.0]
    out = io.StringIO()
    progress = Progress(out, clock=lambda: clock[0], every=10)
    for done in range(1, 31):
        clock[0] += 1
        progress.step(done, 30, "packages", eta=30.0 - done)
    lines = out.getvalue().splitlines()
    assert len(lines) == 4
    assert "packages: 1 of 30, about 29.0 s to go" in lines[0]
    assert lines[-1].endswith("packages: 30 of 30")


def test_durations_read_well() -> None:
    assert [duration(s) for s in (0.04, 59.94, 61, 785)] == [
        "0.0 s",
        "59.9 s",
        "1 min 01 s",
        "13 min 05 s",
    ]


def test_kubectl_keeps_its_own_arguments() -> None:
    args, rest = parser().parse_known_args(
        ["kubectl", "--name", "a", "--kubeconfig", "k", "get", "pods", "-A"]
    )
    assert args.name == "a"
    assert rest == ["--kubeconfig", "k", "get", "pods", "-A"]
