"""The volumes that artifacts lie on: claims and ConfigMaps, for the fetching container. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from modelhandoff.api.addresses import CLAIM, FOLDERS, Mounted, parse_mounted
from modelhandoff.api.candidate import Artifact

Raw = dict[str, Any]


def volumes(artifacts: Iterable[Artifact]) -> list[Raw]:
    """One volume per claim and ConfigMap; none for artifacts that lie elsewhere.

    A ConfigMap is optional for the kubelet, and only the keys that are named are mounted: one
    that is missing is then reported by the fetcher, in a sentence, where a pod would otherwise
    wait for ever and only its events would say what for.
    """
    return [
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


def mounts(artifacts: Iterable[Artifact]) -> list[Raw]:
    """Where the fetching container finds them, read-only."""
    return [
        {"name": volume, "mountPath": f"{FOLDERS[scheme]}/{name}", "readOnly": True}
        for volume, scheme, name, _ in _named(artifacts)
    ]


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
