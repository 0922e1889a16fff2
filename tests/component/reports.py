"""What is kept of a decision: the ConfigMap of an attempt, read as a person would."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections import Counter

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Phase
from modelhandoff.controller.reports import documents
from tests.component.fakeapi.kinds import BY_PLURAL
from tests.component.fakeapi.objects import Object
from tests.component.world import World

CONFIG_MAP = BY_PLURAL["", "configmaps"]


def reports(place: World) -> dict[str, Object]:
    """ConfigMaps of reports by name; a namespace has others, of its own and of verification."""
    found = {o["metadata"]["name"]: o for o in place.objects.list(CONFIG_MAP, place.namespace)}
    return {name: one for name, one in found.items() if name.endswith("-report")}


def texts(config_map: Object) -> dict[str, str]:
    """Its documents, unpacked."""
    packed = config_map.get("binaryData") or {}
    return {
        **(config_map.get("data") or {}),
        **{key: gzip.decompress(base64.b64decode(one)).decode() for key, one in packed.items()},
    }


def kept_once(place: World) -> None:
    """Every ended attempt has its report, written once, with the digests its status tells."""
    found = reports(place)
    for attempt in place.attempts():
        status = attempt["status"]
        assert Phase(status["phase"]).terminal
        config_map = found.pop(names.report_name(attempt["metadata"]["name"]))
        assert config_map["immutable"] is True
        kept = texts(config_map)
        told = {one["key"]: one for one in status["reportRef"]["documents"]}
        assert set(kept) == set(told) == {"report.md", "report.html.gz"}
        again = documents(attempt)
        for key, text in kept.items():
            assert hashlib.sha256(text.encode()).hexdigest() == told[key]["sha256"]
            assert len(text.encode()) == told[key]["size"]
            assert again[key.removesuffix(".gz")] == text, "the export gives the same bytes"
    assert not found
    made = Counter(
        write.after["metadata"]["name"]
        for write in place.writes()
        if write.kind == "ConfigMap" and write.after["metadata"]["name"].endswith("-report")
    )
    assert set(made.values()) == {1}
