"""Bad input and bad days: one line on standard error, the right exit code, never a stack."""

from __future__ import annotations

import socket

import pytest
import yaml

from modelhandoff.api import names
from modelhandoff.cli.kubectl import listing
from modelhandoff.cli.kubectl.entry import DEBUG, main
from tests.unit.cli.kubectl.conftest import kubeconfig
from tests.unit.cli.kubectl.world import Story


@pytest.mark.parametrize("verb", ["get", "status", "explain", "history", "wait", "pause", "abort"])
def test_an_unknown_name_suggests_a_close_one(server, call, verb):
    Story(server).plain()

    answer = call(verb, "fraude")

    assert answer.code == 1
    assert answer.line == (
        "fraude: no such handoff in namespace payments (context test); did you mean fraud?"
    )


def test_a_name_of_another_namespace_says_which(server, call):
    Story(server, namespace="risk").plain()

    assert call("status", "fraud").line.endswith("there is one in risk: add -n risk")


def test_the_name_of_an_attempt_says_whose_it_is(server, call):
    story = Story(server).judged().write("10 %", weight=10)

    assert call("status", story.attempt).line == (
        f"{story.attempt}: this is an attempt, not a handoff; its handoff is fraud"
    )


def test_a_resource_that_is_no_handoff_is_refused(server, call):
    assert call("status", "deployment/fraud").line == (
        "deployment/fraud: not a handoff; allowed NAME or mho/NAME"
    )


def test_two_matches_are_named(server, call):
    Story(server, namespace="payments").plain()
    Story(server, namespace="risk").plain()

    assert call("status", "fraud", "-A").line == (
        "fraud: 2 handoffs have this name: payments/fraud, risk/fraud; choose with -n"
    )
    assert call("status", "-A").line == (
        "NAME: 2 handoffs in any namespace; name one of payments/fraud, risk/fraud"
    )
    assert "there is no handoff in namespace empty" in call("status", "-n", "empty").line


def test_missing_crds_are_named_with_the_way_to_install_them(server, call):
    for plural in (names.HANDOFFS, names.ATTEMPTS, names.POLICIES):
        del server.kinds[plural]

    for words in (["get"], ["status", "fraud"], ["wait", "fraud"], ["abort", "fraud"]):
        line = call(*words).line
        assert line.startswith("this cluster has no kind modelhandoffs.modelhandoff.dev")
        assert "helm install" in line


def test_no_right_names_verb_and_kind(server, call):
    story = Story(server).judged().write("10 %", weight=10)
    server.refused["PATCH", "/apis/modelhandoff.dev"] = (403, 'User "eve" cannot patch')

    answer = call("pause", "fraud")

    assert answer.code == 1
    assert answer.line == (
        'no right to change modelhandoffs fraud (context test): User "eve" cannot patch'
    )
    assert story.annotations() == {}


def test_no_right_to_list(server, call):
    server.refused["GET", "/apis/modelhandoff.dev"] = (403, "User cannot list")

    assert call("get", "-A").line.startswith("no right to read modelhandoffs (context test)")


def test_no_cluster_answers(tmp_path, server, call, monkeypatch):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
    monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, url)))

    answer = call("get")

    assert answer.code == 1
    assert answer.line == f"{url}: no answer (context test): Connection refused"


def test_a_token_that_is_not_known(tmp_path, server, call, monkeypatch):
    path = kubeconfig(tmp_path, server.url, token="stale")
    monkeypatch.setenv("KUBECONFIG", str(path))

    assert call("get").line == "the API server does not know you (context test); log in again"


def test_a_server_that_is_no_api_server(server, call):
    server.raw["/apis/modelhandoff.dev/v1alpha1/modelhandoffs"] = "<html>hello</html>"

    assert "not an API server; got <html>hello</html>" in call("get", "-A").line


def test_a_server_that_cannot_now(server, call):
    server.refused["GET", "/apis/"] = (503, "etcd is tired")

    answer = call("get")

    assert answer.line == f"{server.url}: cannot read modelhandoffs now (503): etcd is tired"


def test_no_kubeconfig_at_all(call, monkeypatch, tmp_path):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))

    answer = call("get")

    assert answer.code == 1
    assert answer.line.startswith("kubeconfig: there is none; got ~/.kube/config;")


def test_an_unknown_context_names_the_known_ones(server, call):
    assert call("get", "--context", "prod").line.endswith("no such context; got prod; allowed test")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not a kubeconfig; got None"),
        ("[1, 2]", "not a kubeconfig"),
        ("{a: [}", "not YAML"),
        ("current-context: x", "no such context; got x; allowed none"),
        ("contexts: [{name: x, context: {cluster: c}}]", "no current-context; allowed x"),
        (
            "{current-context: x, contexts: [{name: x, context: {cluster: c, user: u}}]}",
            "contexts.x.cluster: no such cluster; got c",
        ),
    ],
)
def test_a_broken_kubeconfig_says_where(tmp_path, call, monkeypatch, text, told):
    path = tmp_path / "config"
    path.write_text(text)
    monkeypatch.setenv("KUBECONFIG", str(path))

    answer = call("get")

    assert answer.code == 1
    assert answer.line.startswith(f"{path}: ")
    assert told in answer.line


def test_a_certificate_that_is_none_is_named(tmp_path, server, call, monkeypatch):
    path = kubeconfig(tmp_path, "https://127.0.0.1:1")
    config = yaml.safe_load(path.read_text())
    config["clusters"][0]["cluster"]["certificate-authority-data"] = "bm9uZQ=="
    path.write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", str(path))

    assert "certificate or key cannot be used" in call("get").line


def test_other_logins_go_through_the_official_client(tmp_path, server, call, monkeypatch):
    Story(server).plain()
    path = kubeconfig(tmp_path, server.url)
    config = yaml.safe_load(path.read_text())
    config["users"][0]["user"] = {
        "exec": {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "sh",
            "args": ["-c", 'echo \'{"apiVersion": "client.authentication.k8s.io/v1", "kind": '
                     '"ExecCredential", "status": {"token": "a-token"}}\''],
            "interactiveMode": "Never",
        }
    }  # fmt: skip
    path.write_text(yaml.safe_dump(config))

    assert "fraud" in call("get").out


@pytest.mark.parametrize(
    "words",
    [["gett"], ["get", "--no-such"], ["get", "-o", "xml"], ["wait"], ["wait", "a", "b"], ["lint"]],
)
def test_a_line_that_means_nothing_is_1_and_not_a_verdicts_code(server, call, words):
    answer = call(*words)

    assert answer.code == 1
    assert "--help" in answer.line


def test_help_is_no_error(server, call):
    assert call("--help").code == 0
    assert call("get", "-h").code == 0
    assert call().code == 0


def test_a_defect_is_one_line_unless_asked_for_more(server, monkeypatch, capsys):
    def broken(*args, **more):
        raise RuntimeError("surprise")

    monkeypatch.setattr(listing, "get", broken)

    assert main(["get"]) == 1
    assert capsys.readouterr().err.startswith("this is a defect of kubectl handoff: RuntimeError")

    monkeypatch.setenv(DEBUG, "1")
    with pytest.raises(RuntimeError):
        main(["get"])
