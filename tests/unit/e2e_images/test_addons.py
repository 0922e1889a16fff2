"""Add-ons: filled-in manifests, Prometheus's configuration, the gateway chart's values."""

from __future__ import annotations

import json
import os
import re
import subprocess

import pytest
import yaml

from e2e.cluster import build
from e2e.cluster.addons import GATEWAY, gateway, smoke
from e2e.cluster.addons.manifests import render
from e2e.cluster.addons.prometheus import OPT_IN, configuration, relabeling
from e2e.cluster.errors import ClusterError

IMAGE = "localhost/x@sha256:" + "0" * 64


def find(documents, kind):
    (found,) = (d for d in documents if d["kind"] == kind)
    return found


class TestManifests:
    def test_a_value_behind_a_key_may_hold_lines_and_colons(self):
        config = yaml.safe_dump(configuration(), sort_keys=False)
        documents = render("prometheus", image=IMAGE, config=config, config_key="007")
        held = find(documents, "ConfigMap")["data"]["prometheus.yml"]
        assert yaml.safe_load(held) == configuration()

    def test_values_stay_texts(self):
        documents = render("prometheus", image=IMAGE, config="{}", config_key="007")
        template = find(documents, "Deployment")["spec"]["template"]
        assert template["metadata"]["annotations"]["config"] == "007"
        assert template["spec"]["containers"][0]["image"] == IMAGE

    def test_a_value_inside_a_text_is_put_in_as_it_is(self):
        (container,) = find(render("gpuplugin", image=IMAGE, count="2"), "DaemonSet")["spec"][
            "template"
        ]["spec"]["containers"]
        assert container["args"] == ["-resource=nvidia.com/gpu", "-count=2"]

    def test_a_placeholder_without_a_value_is_an_error(self):
        with pytest.raises(KeyError, match="dns_ip"):
            render("coredns", image=IMAGE)

    def test_pods_ask_the_address_that_the_dns_service_has(self):
        service = find(render("coredns", image=IMAGE, dns_ip="10.202.0.10"), "Service")
        assert service["spec"]["clusterIP"] == "10.202.0.10"

    def test_the_gateway_takes_routes_of_all_namespaces(self):
        found = find(render("gateway", envoy=IMAGE), "Gateway")
        assert (found["metadata"]["namespace"], found["metadata"]["name"]) == GATEWAY
        (listener,) = found["spec"]["listeners"]
        assert listener["port"] == 80
        assert listener["allowedRoutes"]["namespaces"]["from"] == "All"

    @pytest.mark.parametrize(
        ("name", "values"),
        [
            ("coredns", {"dns_ip": "10.0.0.10"}),
            ("prometheus", {"config": "", "config_key": ""}),
            ("gpuplugin", {"count": "1"}),
        ],
    )
    def test_every_workload_runs_the_given_image_and_is_never_killed_for_want_of_a_probe(
        self, name, values
    ):
        for document in render(name, image=IMAGE, **values):
            if document["kind"] in {"Deployment", "DaemonSet"}:
                for container in document["spec"]["template"]["spec"]["containers"]:
                    assert container["image"] == IMAGE
                    assert "readinessProbe" in container


def target(**meta: str) -> dict[str, str] | None:
    """What relabeling makes of a pod: an independent reading of Prometheus's rules."""
    labels = {f"__meta_kubernetes_{k}": v for k, v in meta.items()}
    for rule in relabeling():
        pattern = re.compile(rule.get("regex", "(.*)"))
        action = rule.get("action", "replace")
        if action == "labelmap":
            matches = [(pattern.fullmatch(k), v) for k, v in labels.items()]
            labels |= {m.group(1): v for m, v in matches if m}
            continue
        value = ";".join(labels.get(label, "") for label in rule["source_labels"])
        match = pattern.fullmatch(value)
        if action == "keep" and not match:
            return None
        if action == "replace" and match:
            template = re.sub(r"\$(\d)", r"\\\1", rule.get("replacement", "$1"))
            labels[rule["target_label"]] = match.expand(template)
    return {k: v for k, v in labels.items() if not k.startswith("__meta")}


POD = {
    "namespace": "demo",
    "pod_name": "fraud-1",
    "pod_ip": "10.201.0.7",
    "pod_phase": "Running",
    "pod_node_name": "node",
    "pod_annotation_prometheus_io_scrape": "true",
    "pod_annotation_prometheus_io_port": "8080",
}


class TestScraping:
    @pytest.mark.parametrize(
        "label",
        [
            {"pod_label_modelhandoff_dev_handoff": "fraud"},
            {"pod_label_app_kubernetes_io_part_of": "modelhandoff"},
            {"pod_label_modelhandoff_dev_scrape": "true"},
        ],
        ids=["handoff", "part-of", "opt-in"],
    )
    def test_our_pods_are_scraped(self, label):
        assert target(**POD, **label) is not None

    @pytest.mark.parametrize(
        "label",
        [
            {},
            {"pod_label_app_kubernetes_io_part_of": "gateway"},
            {"pod_label_modelhandoff_dev_scrape": "false"},
            {"pod_label_modelhandoff_dev_handoff": ""},
        ],
        ids=["none", "part of another", "opted out", "empty"],
    )
    def test_others_are_not_although_they_carry_the_annotation(self, label):
        assert target(**POD, **label) is None

    def test_without_the_annotation_nobody_is(self):
        pod = {**POD, "pod_annotation_prometheus_io_scrape": "false"}
        assert target(**pod, pod_label_modelhandoff_dev_handoff="fraud") is None

    def test_a_pod_that_has_ended_is_not(self):
        pod = {**POD, "pod_phase": "Succeeded"}
        assert target(**pod, pod_label_modelhandoff_dev_handoff="fraud") is None

    def test_a_target_says_which_pod_it_is_and_what_the_pod_says_of_itself(self):
        found = target(
            **POD,
            pod_label_modelhandoff_dev_revision="abc",
            pod_label_modelhandoff_dev_scrape="true",
            pod_annotation_prometheus_io_path="/stats",
        )
        assert found == {
            "__address__": "10.201.0.7:8080",
            "__metrics_path__": "/stats",
            "namespace": "demo",
            "pod": "fraud-1",
            "node": "node",
            "modelhandoff_dev_revision": "abc",
            "modelhandoff_dev_scrape": "true",
        }

    def test_a_pods_own_label_cannot_pretend_another_namespace(self):
        found = target(**POD, pod_label_namespace="else", pod_label_modelhandoff_dev_scrape="true")
        assert found is not None
        assert found["namespace"] == "demo"

    def test_the_opt_in_label_is_the_one_that_the_rules_read(self):
        meta = "pod_label_" + re.sub(r"[^a-zA-Z0-9]", "_", OPT_IN)
        assert target(**POD, **{meta: "true"}) is not None

    @pytest.mark.control_plane  # Runs where the programs are compiled.
    @pytest.mark.parametrize("interval", ["1s", "2s", "15s"])
    def test_prometheus_itself_accepts_the_configuration(self, interval, tmp_path):
        folder = build.folder_of("promtool", version=None)
        assert folder is not None, "promtool is not compiled; run: python -m e2e.cluster build"
        file = tmp_path / "prometheus.yml"
        file.write_text(yaml.safe_dump(configuration(interval), sort_keys=False))
        done = subprocess.run(
            # Discovery is checked against the service account's files, which only a pod has.
            [folder / "promtool", "check", "config", "--syntax-only", file],
            env={**os.environ, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


class TestGatewayChart:
    def test_the_template_becomes_values_with_our_image(self):
        template = "image: ${GatewayImage}\npullPolicy: ${GatewayImagePullPolicy}\n"
        filled = yaml.safe_load(gateway.values(template, IMAGE))
        assert filled == {"image": IMAGE, "pullPolicy": "IfNotPresent"}

    @pytest.mark.parametrize(
        "template", ["image: ${GatewayImage}\nother: ${Other}\n", "image: fixed\n"]
    )
    def test_a_template_of_another_shape_is_an_error(self, template):
        with pytest.raises(ClusterError, match=re.escape("values.tmpl.yaml")):
            gateway.values(template, IMAGE)


class TestSmoke:
    def test_weights_are_written_as_given(self):
        (rule,) = smoke.route({"v1": 90, "v2": 10})["spec"]["rules"]
        assert [(b["name"], b["weight"]) for b in rule["backendRefs"]] == [("v1", 90), ("v2", 10)]

    def test_the_server_is_labelled_as_somebody_elses(self):
        deployment, _ = smoke.server("v1", IMAGE)
        labels = deployment["spec"]["template"]["metadata"]["labels"]
        assert labels == {"app": "v1", OPT_IN: "true"}
        assert "modelhandoff.dev/handoff" not in json.dumps(deployment)
