"""What a handoff is rendered into: manifests as plain dicts, and what holds for all of them."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhandoff.api import names
from modelhandoff.api.checks import sha256
from modelhandoff.api.resolve import resolve
from modelhandoff.cluster.identity import Identity
from modelhandoff.cluster.objects import (
    deployment,
    disruption_budget,
    owner,
    plain_service,
    render,
    service,
    thaw,
)
from modelhandoff.cluster.pods import file_names, served_name
from modelhandoff.cluster.warmup import addressed, warmup_job
from modelhandoff.errors import RefusedError
from modelhandoff.verify.manifest import parse_manifest
from tests import builders
from tests.unit.cluster.raw import (
    ATTEMPT_NAME,
    NS,
    REVISION,
    SETTINGS,
    UID,
    WHO,
    WORKLOAD,
    resolved,
)

TEST_DATA = {
    "role": "TestData",
    "uri": "https://models.example/golden.jsonl?version=3",
    "digest": "sha256:" + "cd" * 32,
}
REFERENCE = {
    "role": "Reference",
    "uri": "https://models.example/reference.json",
    "digest": "sha256:" + "ef" * 32,
}
MODEL = builders.spec()["candidate"]["artifacts"][0]


def pod_of(manifest):
    return manifest["spec"]["template"]["spec"]


def server_of(manifest):
    return pod_of(manifest)["containers"][0]


def env_of(container):
    return {item["name"]: item["value"] for item in container["env"]}


def made(**spec):
    return deployment(resolved(**spec), WHO, SETTINGS)


def serving(**fields):
    return made(candidate={"serving": fields})


# One Deployment, in full


def test_the_smallest_handoff_becomes_this_deployment():
    labels = {
        "modelhandoff.dev/handoff": "fraud",
        "modelhandoff.dev/revision": "ab12cd34ef",
        "app.kubernetes.io/managed-by": "modelhandoff",
        "app.kubernetes.io/part-of": "modelhandoff",
    }
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    model = {
        "modelhandoff.dev/model": "fraud-classifier",
        "modelhandoff.dev/model-version": "1.4.0",
    }
    manifest = made()
    assert manifest["metadata"] == {
        "name": "fraud-ab12cd34ef",
        "namespace": "payments",
        "labels": {**labels, "modelhandoff.dev/role": "candidate"},
        "annotations": model,
    }
    spec = manifest["spec"]
    template = spec.pop("template")
    assert spec == {
        "selector": {
            "matchLabels": {
                "modelhandoff.dev/handoff": "fraud",
                "modelhandoff.dev/revision": "ab12cd34ef",
            }
        },
        "strategy": {
            "type": "RollingUpdate",
            "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0},
        },
        "revisionHistoryLimit": 1,
        "progressDeadlineSeconds": 3600 + 120,
    }
    assert template["metadata"] == {
        "labels": labels,
        "annotations": {
            "prometheus.io/scrape": "true",
            "prometheus.io/port": "8080",
            "prometheus.io/path": "/metrics",
            **model,
        },
    }
    pod = template["spec"]
    containers, init = pod.pop("containers"), pod.pop("initContainers")
    assert pod == {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 40,
        "volumes": [{"name": "model", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}],
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    }
    assert init == [
        {
            "name": "fetch",
            "image": SETTINGS.fetch_image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["python", "-m", "modelhandoff.verify.fetch"],
            "env": [
                {"name": "MODEL_DIR", "value": "/mnt/models"},
                {
                    "name": "MODELHANDOFF_ARTIFACTS",
                    "value": json.dumps([{**MODEL, "file": "model.onnx"}], separators=(",", ":")),
                },
                {"name": "MODELHANDOFF_ALLOW_HTTP", "value": "false"},
            ],
            "resources": {
                "requests": {"cpu": "50m", "memory": "64Mi"},
                "limits": {"memory": "256Mi"},
            },
            "securityContext": security,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "model", "mountPath": "/mnt/models"},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }
    ]
    ready = {"httpGet": {"path": "/v2/health/ready", "port": "http"}}
    assert containers == [
        {
            "name": "server",
            "image": builders.IMAGE,
            "ports": [{"name": "http", "containerPort": 8080}],
            "env": [
                {"name": "MODEL_DIR", "value": "/mnt/models"},
                {"name": "MODELHANDOFF_MODEL_NAME", "value": "fraud"},
                {"name": "MODELHANDOFF_MODEL_VERSION", "value": "1.4.0"},
                {"name": "MODELHANDOFF_MODEL_FILE", "value": "model.onnx"},
                {"name": "MODELHANDOFF_PORT", "value": "8080"},
                {"name": "MODELHANDOFF_LATENCY_BUDGET", "value": "30ms"},
            ],
            "resources": {
                "requests": {"cpu": "500m", "memory": "512Mi", "nvidia.com/gpu": "1"},
                "limits": {"memory": "512Mi", "nvidia.com/gpu": "1"},
            },
            "securityContext": security,
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": [
                {"name": "model", "mountPath": "/mnt/models", "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
            "lifecycle": {"preStop": {"sleep": {"seconds": 10}}},
            "startupProbe": {
                **ready,
                "periodSeconds": 1,
                "timeoutSeconds": 5,
                "failureThreshold": 1800,
            },
            "readinessProbe": {
                **ready,
                "periodSeconds": 2,
                "timeoutSeconds": 5,
                "failureThreshold": 3,
            },
            "livenessProbe": {
                "httpGet": {"path": "/v2/health/live", "port": "http"},
                "periodSeconds": 10,
                "timeoutSeconds": 10,
                "failureThreshold": 3,
            },
        }
    ]


def test_services_and_disruption_budget():
    chosen = {
        "modelhandoff.dev/handoff": "fraud",
        "modelhandoff.dev/revision": "ab12cd34ef",
    }
    assert service(WHO)["spec"] == {
        "type": "ClusterIP",
        "selector": chosen,
        "ports": [{"name": "http", "port": 80, "targetPort": "http", "protocol": "TCP"}],
    }
    assert disruption_budget(WHO)["spec"] == {
        "maxUnavailable": 1,
        "unhealthyPodEvictionPolicy": "AlwaysAllow",
        "selector": {"matchLabels": chosen},
    }
    baseline = plain_service("fraud", NS, "fraud-baseline", {"app": "old"}, 9000)
    assert baseline["metadata"]["labels"] == names.labels("fraud")
    assert baseline["spec"]["selector"] == {"app": "old"}
    assert baseline["spec"]["ports"][0]["targetPort"] == 9000


# What a spec says, where it lands


def test_gpu_products_become_node_affinity():
    pod = pod_of(serving(gpu={"count": 2, "product": ["Tesla-T4", "NVIDIA-L4"]}))
    term = {"key": "nvidia.com/gpu.product", "operator": "In", "values": ["Tesla-T4", "NVIDIA-L4"]}
    assert pod["affinity"] == {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [term]}]
            }
        }
    }
    assert pod["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "2"


@pytest.mark.parametrize(
    ("resource", "taint"),
    [
        ("nvidia.com/gpu", "nvidia.com/gpu"),
        ("nvidia.com/mig-1g.5gb", "nvidia.com/gpu"),
        ("amd.com/gpu", "amd.com/gpu"),
    ],
)
def test_the_nodes_taint_is_tolerated(resource, taint):
    pod = pod_of(serving(gpu={"count": 1, "resource": resource}))
    assert pod["tolerations"] == [{"key": taint, "operator": "Exists", "effect": "NoSchedule"}]
    assert pod["containers"][0]["resources"]["requests"][resource] == "1"


def test_without_a_gpu_there_is_nothing_of_it():
    text = json.dumps(serving(gpu=...))
    assert "nvidia" not in text
    assert "tolerations" not in text


def test_scheduling_fields_are_passed_on():
    pod = pod_of(
        serving(
            nodeSelector={"zone": "a"},
            tolerations=[{"key": "spot", "operator": "Exists"}],
            priorityClassName="high",
            runtimeClassName="nvidia",
            serviceAccountName="puller",
            imagePullSecrets=[{"name": "regcred"}],
        )
    )
    assert pod["nodeSelector"] == {"zone": "a"}
    assert {"key": "spot", "operator": "Exists"} in pod["tolerations"]
    assert pod["priorityClassName"] == "high"
    assert pod["runtimeClassName"] == "nvidia"
    assert pod["serviceAccountName"] == "puller"
    assert pod["imagePullSecrets"] == [{"name": "regcred"}]
    assert pod["automountServiceAccountToken"] is False


def test_command_arguments_and_variables_are_the_users_and_ours_come_on_top():
    server = server_of(
        serving(command=["serve"], args=["--x"], env=[{"name": "LOG_LEVEL", "value": "debug"}])
    )
    assert server["command"] == ["serve"]
    assert server["args"] == ["--x"]
    assert env_of(server)["LOG_LEVEL"] == "debug"
    assert env_of(server)["MODEL_DIR"] == "/mnt/models"


def test_a_metrics_port_of_its_own_is_opened_scraped_and_told_to_the_server():
    manifest = serving(port=9000, metricsPort=9001)
    assert server_of(manifest)["ports"] == [
        {"name": "http", "containerPort": 9000},
        {"name": "metrics", "containerPort": 9001},
    ]
    template = manifest["spec"]["template"]
    assert template["metadata"]["annotations"]["prometheus.io/port"] == "9001"
    assert env_of(server_of(manifest))["MODELHANDOFF_METRICS_PORT"] == "9001"


def test_every_judged_latency_becomes_a_border_of_the_servers_histogram():
    metrics = [
        *builders.spec()["monitoring"]["metrics"],
        {"name": "p99", "type": "Latency", "quantile": 0.99, "budget": "1m30s"},
    ]
    server = server_of(made(monitoring={"metrics": metrics}))
    assert env_of(server)["MODELHANDOFF_LATENCY_BUDGET"] == "30ms,90000ms"


def test_a_custom_server_is_probed_where_it_says_and_killed_only_when_its_port_is_dead():
    custom = {"protocol": "CustomHTTP", "probePath": "/healthz"}
    manifest = made(candidate={"serving": custom}, rollout={"warmup": {"requests": 0}})
    server = server_of(manifest)
    assert server["readinessProbe"]["httpGet"]["path"] == "/healthz"
    assert server["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert server["livenessProbe"]["tcpSocket"] == {"port": "http"}


def test_the_start_up_budget_is_the_startup_probes():
    manifest = made(
        candidate={"serving": {"startup": {"timeout": "90s"}}},
        rollout={"capacity": {"pendingDeadline": "5m"}},
    )
    probe = server_of(manifest)["startupProbe"]
    assert probe["periodSeconds"] * probe["failureThreshold"] == 90
    assert manifest["spec"]["progressDeadlineSeconds"] == 90 + 300 + 120


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v2/models/fraud/infer", "fraud"),
        ("/v2/models/fraud/versions/3/infer", "fraud"),
        ("/score", "fraud-classifier"),
        ("/v2/models/fraud", "fraud-classifier"),
    ],
)
def test_the_served_name_is_the_one_that_callers_use(path, name):
    assert served_name(resolved(contracts={"api": {"path": path}})) == name


def test_the_reference_file_and_the_route_of_named_features():
    artifacts = [MODEL, REFERENCE, TEST_DATA]
    contract = {"api": {"path": "/score"}}
    with_reference = server_of(made(candidate={"artifacts": artifacts}, contracts=contract))
    assert env_of(with_reference)["MODELHANDOFF_REFERENCE"] == "reference.json"
    assert env_of(with_reference)["MODELHANDOFF_ROUTE"] == "/score"
    assert env_of(with_reference)["MODELHANDOFF_EXAMPLES"] == "golden.jsonl"
    # The server names features from the reference: without it there can be no such route.
    assert "MODELHANDOFF_ROUTE" not in env_of(server_of(made(contracts=contract)))


def test_the_server_starts_with_what_the_pod_tells_it(tmp_path):
    from modelhandoff.serve.settings import parse

    artifacts = [MODEL, REFERENCE, TEST_DATA]
    server = server_of(
        made(
            candidate={"artifacts": artifacts, "serving": {"metricsPort": 9001}},
            contracts={"api": {"path": "/score"}},
        )
    )
    told = parse([], env_of(server))
    assert str(told.model_dir) == "/mnt/models"
    assert told.model_file == "model.onnx"
    assert str(told.reference) == "/mnt/models/reference.json"
    assert str(told.examples) == "/mnt/models/golden.jsonl"
    assert (told.port, told.metrics_port, told.route) == (8080, 9001, "/score")
    assert 0.03 in told.latency_edges


# The warm-up Job


def test_the_warm_up_job_sends_examples_to_the_candidates_service():
    spec = resolved(
        candidate={"artifacts": [MODEL, TEST_DATA]},
        rollout={"warmup": {"requests": 20, "maxDuration": "3m"}},
    )
    job = warmup_job(spec, WHO, SETTINGS)
    assert job["metadata"]["name"] == f"{ATTEMPT_NAME}-warmup"
    assert job["spec"]["activeDeadlineSeconds"] == 180 + 60
    pod = pod_of(job)
    assert pod["restartPolicy"] == "Never"
    fetched = json.loads(env_of(pod["initContainers"][0])["MODELHANDOFF_ARTIFACTS"])
    assert [artifact["role"] for artifact in fetched] == ["TestData"]
    assert env_of(pod["containers"][0]) == {
        "MODEL_DIR": "/mnt/models",
        "MODELHANDOFF_TARGET": f"http://{WORKLOAD}",
        "MODELHANDOFF_METHOD": "POST",
        "MODELHANDOFF_PATH": "/v2/models/fraud/infer",
        "MODELHANDOFF_MODEL_NAME": "fraud",
        "MODELHANDOFF_REQUESTS": "20",
        "MODELHANDOFF_DEADLINE": "180s",
        "MODELHANDOFF_EXAMPLES": "golden.jsonl",
    }


def test_the_warm_up_job_is_told_what_the_pods_promise_and_must_report_on_that():
    api = {"errors": [{"status": 400, "meaning": "malformed"}, {"status": 503, "meaning": "busy"}],
           "idempotency": {"header": "Idempotency-Key"},
           "trace": {"requestIdHeader": "X-Id", "versionHeader": "X-Version"}}  # fmt: skip
    contract = {**TEST_DATA, "role": "ApiContract", "uri": "https://models.example/api.json"}
    spec = resolved(
        candidate={"artifacts": [MODEL, TEST_DATA, contract]},
        acceptance={"smoke": {"absTolerance": 0.5}},
        contracts={"api": api},
    )
    job = warmup_job(spec, WHO, SETTINGS)
    pod = pod_of(job)
    fetched = json.loads(env_of(pod["initContainers"][0])["MODELHANDOFF_ARTIFACTS"])
    assert [artifact["role"] for artifact in fetched] == ["TestData", "ApiContract"]
    promised = env_of(pod["containers"][0])["MODELHANDOFF_PROMISES"]
    assert json.loads(promised) == {
        "version": "1.4.0",
        "smoke": {"absTolerance": 0.5, "relTolerance": 0.0001},
        "tensors": True,
        "golden": "golden.jsonl",
        "contract": "api.json",
        "errors": [400],
        "idempotencyHeader": "Idempotency-Key",
        "requestIdHeader": "X-Id",
        "versionHeader": "X-Version",
    }
    digest = job["metadata"]["annotations"][names.ANNOTATION_SPEC_DIGEST]
    assert digest == sha256(promised.encode())
    assert thaw(render(spec, WHO, SETTINGS)).promises_digest == digest
    # The reference server answers under the names that the contract gives.
    env = env_of(deployment(spec, WHO, SETTINGS)["spec"]["template"]["spec"]["containers"][0])
    assert env["MODELHANDOFF_REQUEST_ID_HEADER"] == "X-Id"
    assert env["MODELHANDOFF_VERSION_HEADER"] == "X-Version"


@pytest.mark.parametrize(
    ("path", "form", "judged"),
    [
        ("/v2/models/fraud/infer", "ONNX", True),
        # Its cases hold tensors, which this route does not answer with: the verification Job's.
        ("/score", "ONNX", False),
        ("/score", "LightGBM", True),
    ],
)
def test_golden_cases_are_judged_through_the_pods_where_answers_can_be_compared(path, form, judged):
    spec = resolved(
        candidate={"model": {"format": form}, "artifacts": [MODEL, TEST_DATA]},
        acceptance={"smoke": {}},
        contracts={"api": {"path": path}},
    )
    env = env_of(pod_of(warmup_job(spec, WHO, SETTINGS))["containers"][0])
    assert ("MODELHANDOFF_PROMISES" in env) is judged


def test_every_pod_gets_an_address_of_its_own():
    job = warmup_job(resolved(), WHO, SETTINGS)
    told = addressed(job, {"b": "fd00::1", "a": "10.0.0.1"}, 8080)
    env = env_of(pod_of(told)["containers"][0])
    assert env["MODELHANDOFF_PODS"] == "a=http://10.0.0.1:8080,b=http://[fd00::1]:8080"
    assert addressed(job, {}, 8080) == job
    assert "MODELHANDOFF_PODS" not in env_of(pod_of(job)["containers"][0])


# Artifacts on volumes


def at(role, uri):
    return {"role": role, "uri": uri, "digest": builders.DIGEST}


ON_VOLUMES = [
    at("Model", "pvc://models/fraud/1.4.0/model.onnx"),
    at("ModelCard", "configmap://fraud-card/card.md"),
    at("TestData", "configmap://fraud.golden/golden.jsonl"),
    at("SBOM", "configmap://fraud-card/sbom.json"),
    at("Docs", "configmap://fraud-card/card.md"),
    at("Reference", "pvc://models/reference.json"),
    at("Environment", "oci+http://registry.example/fraud:1#requirements.lock"),
]


def test_claims_and_config_maps_are_mounted_for_the_fetcher_alone_and_read_only():
    pod = pod_of(made(candidate={"artifacts": ON_VOLUMES}))
    card, sbom = ({"key": key, "path": key} for key in ("card.md", "sbom.json"))
    golden = {"key": "golden.jsonl", "path": "golden.jsonl"}
    assert pod["volumes"][2:] == [
        {
            "name": "artifacts-0",
            "persistentVolumeClaim": {"claimName": "models", "readOnly": True},
        },
        {
            "name": "artifacts-1",
            "configMap": {"name": "fraud-card", "optional": True, "items": [card, sbom]},
        },
        {
            "name": "artifacts-2",
            "configMap": {"name": "fraud.golden", "optional": True, "items": [golden]},
        },
    ]
    folder = "/var/run/modelhandoff"
    fetch = pod["initContainers"][0]
    assert fetch["volumeMounts"][2:] == [
        {"name": "artifacts-0", "mountPath": f"{folder}/claims/models", "readOnly": True},
        {"name": "artifacts-1", "mountPath": f"{folder}/configmaps/fraud-card", "readOnly": True},
        {"name": "artifacts-2", "mountPath": f"{folder}/configmaps/fraud.golden", "readOnly": True},
    ]
    assert [
        m["name"] for m in server_of({"spec": {"template": {"spec": pod}}})["volumeMounts"]
    ] == [
        "model",
        "tmp",
    ]
    files = [a["file"] for a in json.loads(env_of(fetch)["MODELHANDOFF_ARTIFACTS"])]
    assert files == [
        "model.onnx",
        "card.md",
        "golden.jsonl",
        "sbom.json",
        "4-card.md",
        "reference.json",
        "requirements.lock",
    ]
    assert env_of(fetch)["MODELHANDOFF_ALLOW_HTTP"] == "true"


def test_pull_secrets_are_mounted_where_a_registry_is_asked_and_nowhere_else():
    secrets = [{"name": "pull"}, {"name": "other.pull"}]

    def volumes_of(uri):
        spec = resolved(
            candidate={"artifacts": [at("Model", uri)], "serving": {"imagePullSecrets": secrets}}
        )
        pod = pod_of(deployment(spec, WHO, SETTINGS))
        assert pod["imagePullSecrets"] == secrets
        assert len(pod["containers"][0]["volumeMounts"]) == 2
        return pod["volumes"][2:], pod["initContainers"][0]["volumeMounts"][2:]

    assert volumes_of("https://models.example/model.onnx") == ([], [])
    volumes, mounts = volumes_of("oci://registry.example/fraud:1")
    assert volumes[0] == {
        "name": "pull-secret-0",
        "secret": {
            "secretName": "pull",
            "optional": True,
            "items": [{"key": ".dockerconfigjson", "path": "config.json"}],
        },
    }
    assert [v["secret"]["secretName"] for v in volumes] == ["pull", "other.pull"]
    assert [m["mountPath"] for m in mounts] == [
        "/var/run/modelhandoff/pull-secrets/pull",
        "/var/run/modelhandoff/pull-secrets/other.pull",
    ]
    assert all(m["readOnly"] for m in mounts)


def test_the_warm_up_job_mounts_what_its_examples_lie_on_and_no_more():
    pod = pod_of(warmup_job(resolved(candidate={"artifacts": ON_VOLUMES}), WHO, SETTINGS))
    assert [v["configMap"]["name"] for v in pod["volumes"] if "configMap" in v] == ["fraud.golden"]
    assert not any("persistentVolumeClaim" in volume for volume in pod["volumes"])
    mounted = {m["name"] for m in pod["initContainers"][0]["volumeMounts"]}
    assert mounted == {volume["name"] for volume in pod["volumes"]}


def test_without_examples_the_job_fetches_nothing():
    job = warmup_job(resolved(), WHO, SETTINGS)
    assert pod_of(job)["initContainers"] == []
    assert "MODELHANDOFF_EXAMPLES" not in env_of(pod_of(job)["containers"][0])


def test_a_job_pod_is_selected_by_no_service_of_a_revision():
    labels = warmup_job(resolved(), WHO, SETTINGS)["spec"]["template"]["metadata"]["labels"]
    assert not service(WHO)["spec"]["selector"].items() <= labels.items()
    assert labels[names.LABEL_HANDOFF] == "fraud"


# The snapshot


def test_a_snapshot_reads_back_to_what_was_rendered():
    spec = resolved(candidate={"serving": {"replicas": 3}})
    frozen = thaw(render(spec, WHO, SETTINGS))
    assert frozen.spec == spec
    assert frozen.objects["deployment"] == deployment(spec, WHO, SETTINGS)
    assert set(frozen.objects) == {"deployment", "service", "warmup", "disruptionBudget"}


def test_one_pod_has_no_disruption_budget():
    assert "disruptionBudget" not in thaw(render(resolved(), WHO, SETTINGS)).objects


def test_rendering_is_deterministic_and_far_below_what_an_attempt_may_hold():
    spec = resolved(candidate={"artifacts": [MODEL, REFERENCE, TEST_DATA]})
    text = render(spec, WHO, SETTINGS)
    assert text == render(spec, WHO, SETTINGS)
    assert len(text) < 40_000


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"spec": {}, "objects": {}}', "null"])
def test_a_snapshot_that_is_not_ours_is_refused(text):
    with pytest.raises(RefusedError, match=r"spec\.snapshot"):
        thaw(text)


# What holds for every handoff

handoff_names = st.from_regex(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?", fullmatch=True)
revisions = st.from_regex(r"v1-[0-9a-f]{64}", fullmatch=True)
servings = st.fixed_dictionaries(
    {},
    optional={
        "replicas": st.integers(1, 50),
        "port": st.integers(1024, 65535),
        "metricsPort": st.integers(1024, 65535),
        "gpu": st.fixed_dictionaries(
            {"count": st.integers(1, 8)},
            optional={"product": st.just(["A100"]), "resource": st.just("amd.com/gpu")},
        ),
        "tolerations": st.just([{"operator": "Exists"}]),
        "serviceAccountName": st.just("sa"),
        "env": st.just([{"name": "HOME", "value": "/tmp"}]),
        "command": st.just(["sh", "-c", "id"]),
    },
)


@given(handoff=handoff_names, revision=revisions, serving_fields=servings)
@settings(max_examples=60, deadline=None)
def test_whatever_is_rendered_is_restricted_named_and_labelled_safely(
    handoff, revision, serving_fields
):
    spec = resolve(builders.spec(candidate={"serving": serving_fields}))
    attempt = names.attempt_name(handoff, UID, "v1-x", 1)
    who = Identity(handoff, NS, UID, attempt, revision)
    objects = thaw(render(spec, who, SETTINGS)).objects
    for manifest in objects.values():
        name = manifest["metadata"]["name"]
        assert len(name) <= 63
        assert re.fullmatch(r"[a-z]([-a-z0-9]*[a-z0-9])?", name)
        assert manifest["metadata"]["namespace"] == NS
        assert "ownerReferences" not in manifest["metadata"]
        for labels in _label_sets(manifest):
            assert all(
                key.startswith("modelhandoff.dev/")
                or (key.startswith("app.kubernetes.io/") and value == "modelhandoff")
                for key, value in labels.items()
            )
            assert all(len(value) <= 63 for value in labels.values())
    for role in ("deployment", "warmup"):
        _assert_restricted(pod_of(objects[role]))
    selector = objects["deployment"]["spec"]["selector"]["matchLabels"]
    template = objects["deployment"]["spec"]["template"]["metadata"]["labels"]
    assert selector.items() <= template.items()
    assert objects["service"]["spec"]["selector"] == selector


def _label_sets(manifest):
    yield manifest["metadata"]["labels"]
    template = manifest["spec"].get("template")
    if template:
        yield template["metadata"]["labels"]


def _assert_restricted(pod):
    """Pod Security *restricted*, rule by rule, and a little more."""
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.keys()
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    for container in [*pod["initContainers"], *pod["containers"]]:
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
        assert security["runAsNonRoot"] is True
        assert "privileged" not in security
        assert all("hostPort" not in port for port in container.get("ports", ()))
        assert container["resources"]["limits"]["memory"]


@given(one=revisions, other=revisions)
def test_two_revisions_never_select_each_others_pods(one, other):
    if names.revision_label(one) == names.revision_label(other):
        return
    first = service(Identity("fraud", NS, UID, "a", one))["spec"]["selector"]
    assert not first.items() <= names.labels("fraud", other).items()


addresses = st.lists(
    st.from_regex(
        r"https://[a-z]{1,5}\.example(/[^\s#?]{0,140}){0,3}(\?[a-z=]{0,9})?", fullmatch=True
    ),
    min_size=1,
    max_size=6,
)


@given(uris=addresses)
@settings(deadline=None)
def test_artifacts_get_distinct_safe_file_names_that_the_fetcher_takes(uris):
    artifacts = [
        {"role": "Model" if i == 0 else "Docs", "uri": uri, "digest": builders.DIGEST}
        for i, uri in enumerate(uris)
    ]
    spec = resolve(builders.spec(candidate={"artifacts": artifacts}))
    manifest = pod_of(deployment(spec, WHO, SETTINGS))["initContainers"][0]
    wanted = parse_manifest(env_of(manifest)["MODELHANDOFF_ARTIFACTS"])
    files = [artifact.file for artifact in wanted]
    assert files == list(file_names(spec.candidate.artifacts))
    assert len(set(files)) == len(uris)


def test_an_owner_blocks_no_deletion_and_claims_no_control():
    assert owner("fraud", UID) == {
        "apiVersion": "modelhandoff.dev/v1alpha1",
        "kind": "ModelHandoff",
        "name": "fraud",
        "uid": UID,
        "controller": False,
        "blockOwnerDeletion": False,
    }


def test_the_revision_of_the_examples_is_the_one_in_names():
    assert names.workload_name("fraud", REVISION) == WORKLOAD
