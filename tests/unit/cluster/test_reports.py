"""The ConfigMap of a report: what it holds, how large it may be, whose it is."""

import base64
import gzip
import json

import pytest

from modelhandoff.api import names
from modelhandoff.cluster import reports
from modelhandoff.errors import RefusedError

ATTEMPT = {
    "metadata": {"name": "fraud-1", "namespace": "payments", "uid": "u1"},
    "spec": {"handoffRef": {"name": "fraud", "uid": "h1"}, "revision": "v1-" + "a" * 64},
}


def test_markdown_is_plain_and_the_page_is_packed():
    made = reports.config_map(ATTEMPT, {"report.md": "# é\n", "report.html": "<p>é</p>\n"})
    assert made["data"] == {"report.md": "# é\n"}
    packed = base64.b64decode(made["binaryData"]["report.html.gz"])
    assert gzip.decompress(packed).decode() == "<p>é</p>\n"
    told = json.loads(made["metadata"]["annotations"][names.ANNOTATION_DOCUMENTS])
    assert [(one["key"], one["size"]) for one in told] == [
        ("report.html.gz", 10), ("report.md", 5),
    ]  # fmt: skip


def test_the_same_texts_give_the_same_bytes():
    texts = {"report.md": "a\n" * 1000, "report.html": "b\n" * 1000}
    assert reports.config_map(ATTEMPT, texts) == reports.config_map(ATTEMPT, dict(texts))


def test_it_goes_with_its_attempt_and_changes_never():
    made = reports.config_map(ATTEMPT, {"report.md": "x"})
    assert made["immutable"] is True
    (owner,) = made["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"]) == ("HandoffAttempt", "u1")
    assert made["metadata"]["labels"][names.LABEL_HANDOFF] == "fraud"


def test_a_document_that_is_too_large_is_left_out(monkeypatch):
    monkeypatch.setattr(reports, "MAX_STORED", 1000)
    large = {"report.md": "x" * 1001, "report.html": "y" * 100_000}
    made = reports.config_map(ATTEMPT, large)
    assert (set(made["data"]), set(made["binaryData"])) == (set(), {"report.html.gz"})
    with pytest.raises(RefusedError, match="larger than a ConfigMap may be"):
        reports.config_map(ATTEMPT, {"report.md": "x" * 1001})


def test_two_of_the_largest_fit_into_one():
    """The API server takes 1 MiB of keys and values; what is packed grows by a third as text."""
    assert reports.MAX_STORED * 2 < 1024 * 1024
