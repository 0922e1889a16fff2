"""Where artifacts may lie: which addresses are taken, and what is read out of them."""

from __future__ import annotations

import pytest

from modelhandoff.api.addresses import (
    Mounted,
    Reference,
    last_part,
    parse_mounted,
    parse_reference,
    without_tls,
)
from modelhandoff.api.policy import PolicySpec
from modelhandoff.api.policy_check import policy_violations
from modelhandoff.api.resolve import resolve
from modelhandoff.errors import InvalidSpecError
from tests.builders import DIGEST, spec


@pytest.mark.parametrize(
    ("uri", "reference"),
    [
        (
            "oci://registry.example/fraud:1.4.0",
            Reference(False, "registry.example", "fraud", "1.4.0", ""),
        ),
        (
            "oci+http://registry:5000/team/a__b.c-d/fraud:V1#sub/model.onnx",
            Reference(True, "registry:5000", "team/a__b.c-d/fraud", "V1", "sub/model.onnx"),
        ),
        (
            f"oci://10.0.0.7:5000/fraud@{DIGEST}#model.onnx",
            Reference(False, "10.0.0.7:5000", "fraud", DIGEST, "model.onnx"),
        ),
    ],
)
def test_the_address_of_a_layer_has_these_parts(uri, reference):
    assert parse_reference(uri) == reference


@pytest.mark.parametrize(
    "uri",
    [
        "oci://registry.example",
        "oci://registry.example/",
        "oci://registry.example/fraud",
        "oci://registry.example/fraud:",
        "oci://registry.example/fraud:latest#",
        "oci://registry.example/fraud:-x",
        "oci://registry.example/Fraud:1",
        "oci://registry.example/a/../b:1",
        "oci://registry.example/a//b:1",
        "oci://registry.example/fraud:1/manifests/2",
        "oci://registry.example/fraud:1?x=y",
        "oci://registry.example/fraud@sha256:abc",
        f"oci://registry.example/fraud:1@{DIGEST}",
        f"oci://registry.example/fraud@{DIGEST}0",
        "oci://user:secret@registry.example/fraud:1",
        "oci://registry.example/fraud:1\n",
        "oci:///fraud:1",
        "oci+https://registry.example/fraud:1",
        "https://registry.example/fraud:1",
    ],
)
def test_what_is_not_quite_the_address_of_a_layer_is_refused_by_the_spec_too(uri):
    assert parse_reference(uri) is None
    if not uri.startswith("https"):
        with pytest.raises(InvalidSpecError, match=r"artifacts\[0\]\.uri: not "):
            resolve(with_uri(uri))


@pytest.mark.parametrize(
    ("uri", "mounted"),
    [
        ("pvc://models/model.onnx", Mounted("pvc", "models", "model.onnx")),
        (
            "pvc://my.models-2/day=2026-11-25/_v1/m+1@x,y~.bin",
            Mounted("pvc", "my.models-2", "day=2026-11-25/_v1/m+1@x,y~.bin"),
        ),
        ("configmap://card/card.md", Mounted("configmap", "card", "card.md")),
    ],
)
def test_the_address_of_a_mounted_file_has_these_parts(uri, mounted):
    assert parse_mounted(uri) == mounted


@pytest.mark.parametrize(
    "uri",
    [
        "pvc://models",
        "pvc://models/",
        "pvc:///m",
        "pvc://models/../m",
        "pvc://models/a/../../m",
        "pvc://models/./m",
        "pvc://models/.hidden",
        "pvc://models/a//m",
        "pvc://models/m/",
        "pvc://models/%2e%2e/m",
        "pvc://../m",
        "pvc://Models/m",
        "pvc://models/m?x",
        "pvc://models/m#x",
        "pvc://models/a b",
        "configmap://card",
        "configmap://card/a/b",
        "configmap://card/..data",
        "configmap://../card.md",
    ],
)
def test_what_might_leave_a_volume_is_refused_by_the_spec_too(uri):
    assert parse_mounted(uri) is None
    with pytest.raises(InvalidSpecError, match=r"artifacts\[0\]\.uri: not "):
        resolve(with_uri(uri))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("https://models.example/a/m.onnx?version=3#x", "m.onnx"),
        ("https://models.example", ""),
        ("oci://registry.example/team/fraud:1.4.0", "fraud"),
        (f"oci://registry.example/team/fraud@{DIGEST}#deep/model.onnx", "model.onnx"),
        ("pvc://models/deep/model.onnx", "model.onnx"),
        ("configmap://card/card.md", "card.md"),
    ],
)
def test_a_file_is_called_by_the_last_part_of_its_address(uri, name):
    assert last_part(uri) == name


def test_plain_http_is_seen_in_both_kinds():
    assert without_tls("http://a/b")
    assert without_tls("oci+http://a/b:1")
    assert not without_tls("https://a/b")
    assert not without_tls("oci://a/b:1")


HTTPS = "https://models.example/m"
OCI = "oci://registry.example:5000/fraud:1"
PVC = "pvc://models/m"
CONFIG_MAP = "configmap://card/m"


@pytest.mark.parametrize(
    ("policy", "allowed"),
    [
        ({}, {HTTPS, OCI, PVC, CONFIG_MAP}),
        # Whoever named hosts before there was anything else has not allowed anything else.
        ({"artifactHosts": ["models.example", "registry.example:5000"]}, {HTTPS, OCI}),
        ({"artifactHosts": ["registry.example"]}, set()),
        ({"artifactHosts": ["models.example"], "artifactSources": ["HTTP", "PVC"]}, {HTTPS, PVC}),
        ({"artifactSources": ["OCI"]}, {OCI}),
        ({"artifactSources": ["ConfigMap", "PVC"]}, {CONFIG_MAP, PVC}),
    ],
)
def test_a_policy_says_which_places_artifacts_may_come_from(policy, allowed):
    checked = PolicySpec.model_validate(policy)
    passed = {
        uri
        for uri in (HTTPS, OCI, PVC, CONFIG_MAP)
        if not policy_violations(resolve(with_uri(uri)), checked, other_sources=["default"])
    }
    assert passed == allowed


def with_uri(uri):
    model = {"role": "Model", "uri": uri, "digest": DIGEST}
    return spec(candidate={"artifacts": [model]})
