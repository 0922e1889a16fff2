"""Where the API server is: the pod's own account, or a kubeconfig."""

from __future__ import annotations

import pytest
import yaml

from modelhandoff.cluster.login import configuration
from modelhandoff.errors import ForbiddenError


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "absent"))


def kubeconfig(path, **clusters):
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": next(iter(clusters)),
                "clusters": [
                    {"name": name, "cluster": {"server": url}} for name, url in clusters.items()
                ],
                "users": [{"name": "me", "user": {"token": "secret"}}],
                "contexts": [
                    {"name": name, "context": {"cluster": name, "user": "me"}} for name in clusters
                ],
            }
        )
    )
    return str(path)


async def test_a_named_kubeconfig_and_context_win(tmp_path, monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    path = kubeconfig(tmp_path / "k", one="https://one.example", two="https://two.example")
    assert (await configuration(path)).host == "https://one.example"
    assert (await configuration(path, "two")).host == "https://two.example"


async def test_the_token_of_the_kubeconfig_is_used(tmp_path):
    found = await configuration(kubeconfig(tmp_path / "k", one="https://one.example"))
    assert (await found.auth_settings())["BearerToken"]["value"] == "Bearer secret"


async def test_no_way_in_is_one_line_with_what_to_do(tmp_path):
    with pytest.raises(ForbiddenError, match="no way to log in") as caught:
        await configuration(str(tmp_path / "absent"))
    assert "KUBECONFIG" in caught.value.user_action


async def test_in_a_pod_without_an_account_there_is_no_way_in(monkeypatch):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    with pytest.raises(ForbiddenError, match="no way to log in"):
        await configuration()
