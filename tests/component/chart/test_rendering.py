"""What the chart makes of values: golden files, rights, pods that pass the strictest rules."""

from __future__ import annotations

import copy
import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

from tests.component.chart.helm import CHART, HelmError, Raw, helm, of_kind, render

pytestmark = pytest.mark.control_plane

GOLDEN = Path(__file__).with_name("golden")
EVERYTHING: Raw = {
    "image": {"repository": "registry.example/operator", "digest": "sha256:" + "ab" * 32},
    "fetchImage": "registry.example/serve@sha256:" + "cd" * 32,
    "imagePullSecrets": [{"name": "pull"}],
    "replicas": 2,
    "prometheusUrl": "http://prometheus.monitoring:9090",
    "scrapeInterval": "30s",
    "logLevel": "DEBUG",
    "extraEnv": [{"name": "MODELHANDOFF_WORKERS", "value": "8"}],
    "commonLabels": {"team": "platform"},
    "podLabels": {"sidecar": "no"},
    "podAnnotations": {"a.example/b": "c"},
    "priorityClassName": "system-cluster-critical",
    "nodeSelector": {"pool": "system"},
    "tolerations": [{"key": "system", "operator": "Exists"}],
    "affinity": {"podAntiAffinity": {}},
    "podMonitor": {"enabled": True, "interval": "15s", "labels": {"release": "prometheus"}},
    "prometheusRule": {"enabled": True, "labels": {"release": "prometheus"}},
    "dashboards": {"enabled": True, "annotations": {"grafana_folder": "Models"}},
    "networkPolicy": {
        "enabled": True,
        "from": [{"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}],
        "egress": [{"ports": [{"port": 443}]}],
    },
}
CASES: dict[str, Raw] = {
    "cluster-wide": {},
    "namespaced": {"namespaces": ["payments", "search"], "watchNodes": False},
    "no-cluster-rights": {
        "namespaces": ["payments"],
        "rbac": {"clusterRole": False},
        "admission": {"enabled": False},
    },
    "everything": EVERYTHING,
}


@pytest.mark.parametrize("case", CASES)
def test_what_comes_out_is_what_was_looked_at(case: str, tmp_path: Path) -> None:
    """``MODELHANDOFF_GOLDEN=write`` writes the files; look at the difference before a commit."""
    text = yaml.safe_dump_all(map(short, render(tmp_path, CASES[case])), sort_keys=True, width=100)
    file = GOLDEN / f"{case}.yaml"
    if os.environ.get("MODELHANDOFF_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text(), f"{file.name}: MODELHANDOFF_GOLDEN=write writes it anew"


def short(found: Raw) -> Raw:
    """Without what is checked where it is made: alerts, dashboards, admission, rights."""
    cut = copy.deepcopy(found)
    if cut["kind"] in ("Role", "ClusterRole"):
        cut["rules"] = "..."
    if cut["kind"] in ("PrometheusRule", "ValidatingAdmissionPolicy"):
        cut["spec"] = "..."
    if cut["kind"] == "ConfigMap":
        cut["data"] = dict.fromkeys(cut["data"], "...")
    return cut


def test_the_rights_are_these(tmp_path: Path) -> None:
    """Every right of the operator, one a line; ``e2e/test_rights.py`` shows that each is used."""
    objects = render(tmp_path, {})
    roles = [*of_kind(objects, "ClusterRole", "ops-modelhandoff"),
             *of_kind(objects, "Role", "modelhandoff-lease")]  # fmt: skip
    lines = sorted(
        f"{role['kind']}: {group or 'core'}/{resource}: {' '.join(rule['verbs'])}"
        for role in roles
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    )
    text = "".join(f"{line}\n" for line in lines)
    file = GOLDEN / "rights.txt"
    if os.environ.get("MODELHANDOFF_GOLDEN") == "write":
        file.write_text(text)
    assert text == file.read_text(), f"{file.name}: MODELHANDOFF_GOLDEN=write writes it anew"


@pytest.mark.parametrize("case", CASES)
def test_no_role_says_secrets_or_everything(case: str, tmp_path: Path) -> None:
    objects = render(tmp_path, CASES[case])
    rules = [
        rule for kind in ("Role", "ClusterRole") for role in of_kind(objects, kind)
        for rule in role["rules"]
    ]  # fmt: skip
    assert rules
    for rule in rules:
        words = {*rule["apiGroups"], *rule["resources"], *rule["verbs"]}
        assert "*" not in words
        assert "secrets" not in words


def test_a_namespaced_install_has_rights_there_and_reads_policies(tmp_path: Path) -> None:
    objects = render(tmp_path, CASES["namespaced"])
    (wide,) = of_kind(objects, "ClusterRole", "ops-modelhandoff")
    assert [(r["resources"], r["verbs"]) for r in wide["rules"]] == [
        (["handoffpolicies"], ["list", "watch"])
    ]
    where = {r["metadata"]["namespace"] for r in of_kind(objects, "Role", "modelhandoff")}
    assert where == {"payments", "search"}
    whole = of_kind(render(tmp_path, {}), "ClusterRole", "ops-modelhandoff")[0]["rules"]
    here = of_kind(objects, "Role", "modelhandoff")[0]["rules"]
    assert [r for r in whole if r in here] == here, "the same rights, there instead of everywhere"


def test_without_cluster_rights_nothing_is_cluster_wide(tmp_path: Path) -> None:
    objects = render(tmp_path, CASES["no-cluster-rights"])
    assert all("namespace" in o["metadata"] for o in objects)
    env = of_kind(objects, "Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "MODELHANDOFF_WATCH_NODES", "value": "false"} in env


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"rbac": {"clusterRole": False}, "admission": {"enabled": False}}, "needs namespaces"),
        ({"rbac": {"clusterRole": False}, "namespaces": ["a"]}, "admission.enabled: false"),
        ({"replica": 2}, "replica"),
        ({"logLevel": "LOUD"}, "logLevel"),
        ({"image": {"repository": "x", "digest": "latest"}}, "digest"),
        ({"namespaces": ["Payments"]}, "namespaces"),
        ({"prometheusUrl": "prometheus:9090"}, "prometheusUrl"),
        ({"podMonitor": {"enabled": "yes"}}, "podMonitor"),
    ],
)
def test_values_that_make_no_sense_are_refused_by_name(
    values: Raw, says: str, tmp_path: Path
) -> None:
    with pytest.raises(HelmError, match=says):
        render(tmp_path, values)


def test_the_defaults_obey_the_schema_and_the_chart_passes_the_linter(tmp_path: Path) -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.validate(yaml.safe_load((CHART / "values.yaml").read_text()), schema)
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), home=tmp_path)


def test_rules_and_dashboards_arrive_as_they_were_written(tmp_path: Path) -> None:
    objects = render(tmp_path, EVERYTHING)
    (rule,) = of_kind(objects, "PrometheusRule")
    assert rule["spec"] == yaml.safe_load((CHART / "files/rules.yaml").read_text())
    (boards,) = of_kind(objects, "ConfigMap")
    for name, text in boards["data"].items():
        file = f"dashboard-{name.removeprefix('modelhandoff-')}"
        assert json.loads(text) == json.loads((CHART / "files" / file).read_text())
    (monitor,) = of_kind(objects, "PodMonitor")
    assert monitor["spec"]["podMetricsEndpoints"][0]["honorLabels"] is True


def test_a_policy_or_monitor_catches_the_operators_pods_and_not_the_test(tmp_path: Path) -> None:
    objects = render(tmp_path, EVERYTHING)
    pod = of_kind(objects, "Deployment")[0]["spec"]["template"]["metadata"]["labels"]
    test = of_kind(objects, "Pod")[0]["metadata"]["labels"]
    for selector in (
        of_kind(objects, "NetworkPolicy")[0]["spec"]["podSelector"]["matchLabels"],
        of_kind(objects, "PodMonitor")[0]["spec"]["selector"]["matchLabels"],
    ):
        assert selector.items() <= pod.items()
        assert not selector.items() <= test.items()
