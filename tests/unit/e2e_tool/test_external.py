"""Tests never write to a cluster that does not look like a test cluster."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from e2e.cluster.errors import ClusterError, NotATestCluster
from e2e.cluster.external import (
    PERMISSION,
    ExternalCluster,
    current_context,
    image_loader,
    looks_like_a_test_cluster,
    refuse_real_clusters,
)

REMOTE = "https://api.shop.example:6443"


@pytest.mark.parametrize(
    ("context", "server"),
    [
        ("kind-modelhandoff", REMOTE),
        ("k3d-dev", REMOTE),
        ("minikube", REMOTE),
        ("minikube-2", REMOTE),
        ("modelhandoff-e2e", "https://10.200.0.2:6443"),
        ("anything", "https://127.0.0.1:39471"),
        ("anything", "https://localhost:6443"),
        ("anything", "https://[::1]:6443"),
    ],
)
def test_test_clusters_are_accepted(context: str, server: str) -> None:
    assert looks_like_a_test_cluster(context, server)
    refuse_real_clusters(context, server, env={})


@pytest.mark.parametrize(
    ("context", "server"),
    [
        ("prod", REMOTE),
        ("kind", REMOTE),
        ("kind-", REMOTE),
        ("my-kind-cluster", REMOTE),
        ("mankind-prod", REMOTE),
        ("minikube2", REMOTE),
        ("prod", "https://127.0.0.1.evil.example:6443"),
        ("prod", "https://localhost.example:6443"),
        ("prod", "https://10.0.0.1:6443"),
        ("prod", "127.0.0.1:6443/x"),
        ("prod", ""),
    ],
)
def test_everything_else_is_refused_with_the_way_out(context: str, server: str) -> None:
    with pytest.raises(NotATestCluster, match=f"set {PERMISSION}=yes") as caught:
        refuse_real_clusters(context, server, env={})
    assert repr(context) in str(caught.value)


def test_permission_is_the_word_yes_and_nothing_else() -> None:
    refuse_real_clusters("prod", REMOTE, env={PERMISSION: "yes"})
    for value in ("", "no", "1", "true", "YES"):
        with pytest.raises(NotATestCluster):
            refuse_real_clusters("prod", REMOTE, env={PERMISSION: value})


def write_config(path: Path, context: str, server: str) -> Path:
    path.write_text(
        yaml.safe_dump(
            {
                "current-context": context,
                "contexts": [
                    {"name": "other", "context": {"cluster": "x", "user": "y"}},
                    {"name": context, "context": {"cluster": "c", "user": "u"}},
                ],
                "clusters": [{"name": "c", "cluster": {"server": server}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
            }
        )
    )
    return path


def test_the_current_context_decides_not_the_first(tmp_path: Path) -> None:
    found = current_context(write_config(tmp_path / "config", "kind-a", REMOTE))
    assert (found.name, found.server, found.user) == ("kind-a", REMOTE, {"token": "t"})


def test_a_refused_cluster_is_never_contacted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*_: object, **__: object) -> str:
        raise AssertionError("kubectl was run against a real cluster")

    monkeypatch.setattr(ExternalCluster, "kubectl", forbidden)
    config = write_config(tmp_path / "config", "prod", REMOTE)
    with pytest.raises(NotATestCluster):
        ExternalCluster.connect(config, env={})


@pytest.mark.parametrize("text", ["", "{}", "a: [", "current-context: x\ncontexts: []\n", "- 1\n"])
def test_an_unusable_kubeconfig_is_one_clear_line(tmp_path: Path, text: str) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    with pytest.raises(ClusterError, match=r"^KUBECONFIG: .*no complete current context$"):
        current_context(config)


def test_a_missing_kubeconfig_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"^KUBECONFIG: cannot read .*No such file"):
        current_context(tmp_path / "absent")


def test_images_go_in_by_the_tool_that_made_the_cluster() -> None:
    assert image_loader("kind-ci") == ["kind", "load", "image-archive", "--name", "ci"]
    assert image_loader("k3d-dev") == ["k3d", "image", "import", "--cluster", "dev"]
    assert image_loader("minikube") == ["minikube", "--profile", "minikube", "image", "load"]
    assert image_loader("prod") is None
