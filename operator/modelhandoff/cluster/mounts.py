"""What the fetching container mounts: claims, ConfigMaps, and a registry's pull secrets. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from modelhandoff.api.addresses import (
    CLAIM,
    FOLDERS,
    LOGIN_FILE,
    PULL_SECRETS,
    Mounted,
    parse_mounted,
)
from modelhandoff.api.candidate import Artifact, ArtifactSource
from modelhandoff.api.serving import Serving

Raw = dict[str, Any]


def volumes(artifacts: Sequence[Artifact], serving: Serving) -> list[Raw]:
    """One volume per claim, ConfigMap and pull secret; none for artifacts over https.

    A ConfigMap is optional for the kubelet, and only the keys that are named are mounted: one
    that is missing is then reported by the fetcher, in a sentence, where a pod would otherwise
    wait for ever and only its events would say what for. Pull secrets are optional as they are
    for images.
    """
    secrets = [
        {
            "name": f"pull-secret-{number}",
            "secret": {
                "secretName": name,
                "optional": True,
                "items": [{"key": ".dockerconfigjson", "path": LOGIN_FILE}],
            },
        }
        for number, name in enumerate(_pull_secrets(artifacts, serving))
    ]
    return secrets + [
        {"name": volume, "persistentVolumeClaim": {"claimName": name, "readOnly": True}}
        if scheme == CLAIM
        else {
            "name": volume,
            "configMap": {
                "name": name,
                "optional": True,
                "items": [{"key": key, "path": key} for key in paths],
            },
        }
        for volume, scheme, name, paths in _named(artifacts)
    ]


def mounts(artifacts: Sequence[Artifact], serving: Serving) -> list[Raw]:
    """Where the fetching container finds them, read-only."""
    secrets = [
        {
            "name": f"pull-secret-{number}",
            "mountPath": f"{PULL_SECRETS}/{name}",
            "readOnly": True,
        }
        for number, name in enumerate(_pull_secrets(artifacts, serving))
    ]
    return secrets + [
        {"name": volume, "mountPath": f"{FOLDERS[scheme]}/{name}", "readOnly": True}
        for volume, scheme, name, _ in _named(artifacts)
    ]


def _pull_secrets(artifacts: Iterable[Artifact], serving: Serving) -> tuple[str, ...]:
    if not any(artifact.source is ArtifactSource.OCI for artifact in artifacts):
        return ()
    return tuple(secret.name for secret in serving.image_pull_secrets)


def _named(artifacts: Iterable[Artifact]) -> list[tuple[str, str, str, list[str]]]:
    """Name of the volume, scheme, name of the object, and the paths below it, each once."""
    found: dict[tuple[str, str], list[str]] = {}
    for one in _mounted(artifacts):
        paths = found.setdefault((one.scheme, one.name), [])
        if one.path not in paths:
            paths.append(one.path)
    return [
        (f"artifacts-{number}", scheme, name, paths)
        for number, ((scheme, name), paths) in enumerate(found.items())
    ]


def _mounted(artifacts: Iterable[Artifact]) -> Iterable[Mounted]:
    for artifact in artifacts:
        one = parse_mounted(artifact.uri)
        if one is not None:
            yield one
