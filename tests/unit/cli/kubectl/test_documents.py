"""``readme`` and ``report``: what is agreed and what was decided, from the cluster."""

import json

import pytest

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Outcome
from modelhandoff.cluster.reports import config_map
from modelhandoff.controller.reports import documents
from modelhandoff.report import compose, read, to_markdown
from tests.unit.cli.kubectl.world import Story


def policy(server, **spec):
    server.add("handoffpolicies", {"metadata": {"name": "default"}, "spec": spec})


def test_the_readme_has_the_terms_and_the_state(server, call):
    Story(server).judged().write("10 % on 1.4.0: no harm found.", weight=10)
    found = call("readme", "fraud")
    assert found.code == 0
    assert "# Handoff: fraud-classifier 1.4.0" in found.out
    assert "- **Where it is**: 10 % on 1.4.0: no harm found." in found.out
    assert "ModelHandoff payments/fraud" in found.out


def test_presets_of_the_policy_are_terms(server, call):
    Story(server).judged().write("x", weight=10)
    policy(server, defaults={"scaleDownDelay": "77m"})
    assert "stays warm for 1h17m" in call("readme", "fraud").out


def test_a_policy_that_may_not_be_read_is_said(server, call):
    spec = Story(server).spec | {"policyRef": {"name": "strict"}}
    Story(server, spec=spec).judged().write("x", weight=10)
    server.refused["GET", "/apis/modelhandoff.dev/v1alpha1/handoffpolicies"] = (403, "no")
    found = call("readme", "fraud")
    assert found.code == 0
    assert found.err == "policy strict cannot be read: what it presets is shown as not set\n"


def test_a_handoff_that_is_not_legal_names_the_field(server, call):
    story = Story(server)
    handoff = story.plain()
    handoff["spec"]["monitoring"]["interval"] = "often"
    server.add("modelhandoffs", handoff)
    assert "spec.monitoring.interval: not a duration; got often" in call("readme", "fraud").line


def rolled_back(server):
    story = Story(server).judged(errors=0.2)
    story.ended(Outcome.ROLLBACK, "HarmDetected", "errors at 20 %.").write("Rolled back.")
    return server.find("handoffattempts", "payments", story.attempt)


def keep(server, attempt, **changes):
    """What the operator keeps of an ended attempt; the texts are marked, to tell them apart."""
    marked = {name: text + "kept\n" for name, text in documents(attempt).items()}
    made = config_map(attempt, marked)
    told = made["metadata"]["annotations"][names.ANNOTATION_DOCUMENTS]
    server.add("configmaps", made | changes)
    status = {**attempt["status"], "reportRef": {
        "name": made["metadata"]["name"], "documents": json.loads(told),
    }}  # fmt: skip
    server.add("handoffattempts", attempt | {"status": status})
    return marked


@pytest.mark.parametrize(("output", "file"), [("md", "report.md"), ("html", "report.html")])
def test_the_kept_report_is_what_is_shown(server, call, output, file):
    marked = keep(server, rolled_back(server))
    found = call("report", "fraud", "-o", output)
    assert (found.code, found.err) == (0, "")
    assert found.out == marked[file]


def test_a_kept_report_that_was_changed_is_not_believed(server, call):
    attempt = rolled_back(server)
    keep(server, attempt, data={"report.md": "All is well.\n"})
    found = call("report", "fraud")
    assert "All is well" not in found.out
    assert "errors at 20 %." in found.out
    assert found.err == (
        f"ConfigMap {attempt['metadata']['name']}-report is not what the operator kept: the "
        "report is made again from the attempt\n"
    )


@pytest.mark.parametrize("packed", ["", "!", "aGVsbG8=", "H4sIAAAAAAAC/8vPBgBH3dx5"])
def test_a_kept_page_that_cannot_be_unpacked_is_not_believed(server, call, packed):
    keep(server, rolled_back(server), binaryData={"report.html.gz": packed})
    found = call("report", "fraud", "-o", "html")
    assert found.out.startswith("<!doctype html>")
    assert "is not what the operator kept" in found.err


def test_a_kept_report_that_is_gone_is_made_again(server, call):
    attempt = rolled_back(server)
    keep(server, attempt)
    server.remove("configmaps", "payments", f"{attempt['metadata']['name']}-report")
    found = call("report", "fraud")
    assert found.err.count("\n") == 1
    assert "is gone, or you may not read it" in found.err
    assert found.out.startswith("# fraud-classifier 1.4.0: Rolled back")


def test_without_a_kept_report_one_is_made(server, call):
    attempt = rolled_back(server)
    found = call("report", "fraud")
    assert found.err == ""
    assert "errors at 20 %." in found.out
    handoff = server.find("modelhandoffs", "payments", "fraud")
    assert found.out == to_markdown(compose(read([attempt, handoff])))


def test_a_running_attempt_can_be_reported(server, call):
    Story(server).judged().write("10 % on 1.4.0: no harm found.", weight=10)
    assert "The attempt has not ended" in call("report", "fraud").out


def test_another_attempt_can_be_asked_for_by_name(server, call):
    attempt = rolled_back(server)
    name = attempt["metadata"]["name"]
    assert call("report", "fraud", "--attempt", name).out == call("report", "fraud").out
    line = call("report", "fraud", "--attempt", "fraud-other").line
    assert line.startswith("fraud-other: no attempt of payments/fraud; kubectl handoff history")


def test_an_attempt_of_another_version_is_named(server, call):
    attempt = rolled_back(server)
    server.add("handoffattempts", attempt | {"spec": attempt["spec"] | {"snapshot": "{}"}})
    assert "spec.snapshot: not a snapshot" in call("report", "fraud").line


def test_nothing_to_report_on_is_one_line(server, call):
    server.add("modelhandoffs", Story(server).plain())
    assert call("report", "fraud").line == (
        "payments/fraud: no attempt to report on; nothing has begun"
    )
    assert "allowed md, html" in call("report", "fraud", "-o", "pdf").line
