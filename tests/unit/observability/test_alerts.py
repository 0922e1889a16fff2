"""Alerts and dashboards are about what is really exported, and say what to do."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelhandoff.api.resolve import resolve
from modelhandoff.metrics.families import FAMILIES
from modelhandoff.observability import boards
from modelhandoff.observability.alert import Severity, document
from modelhandoff.observability.handoff_alerts import handoff_groups
from modelhandoff.observability.operator_alerts import GROUPS
from tests.builders import handoff, spec

ROOT = Path(__file__).parents[3]
ALERTS = [alert for group in GROUPS for alert in group.alerts]
OWN = resolve(spec())


def rules(**changes: Any) -> list[dict[str, Any]]:
    made = document(handoff_groups("fraud", "payments", resolve(spec(**changes))))
    return list(made["groups"][0]["rules"])


def heading(text: str) -> str:
    return re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-")


def anchors() -> set[str]:
    page = (ROOT / "docs/alerts.md").read_text()
    return {heading(line.lstrip("# ")) for line in page.splitlines() if line.startswith("#")}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_an_alert_says_what_it_means_and_what_to_do(alert):
    made = alert.rule()
    assert made["annotations"]["summary"]
    assert "`" in alert.remedy or alert.remedy[0].isupper()
    assert made["annotations"]["runbook"].partition("#")[2] in anchors()


def test_only_production_that_is_not_safe_or_not_guarded_pages():
    pages = {alert.name for alert in ALERTS if alert.severity is Severity.CRITICAL}
    assert pages == {
        "ModelHandoffOperatorDown",
        "ModelHandoffUnsafe",
        "ModelHandoffRollbackStuck",
    }


def test_a_handoffs_alerts_carry_its_owners_and_its_runbook():
    for rule in rules():
        assert rule["labels"]["team"] == "risk-ml"
        assert rule["annotations"]["runbook_url"] == "https://runbooks.example/fraud"
        assert rule["annotations"]["escalation"] == "#risk-oncall"
        assert rule["annotations"]["runbook"].partition("#")[2] in anchors()


def test_a_handoffs_alerts_are_about_its_own_pods():
    exprs = [rule["expr"] for rule in rules() if "modelhandoff_stalled" not in rule["expr"]]
    assert exprs
    for expr in exprs:
        selected = expr.count("rate(")
        assert selected or "absent" in expr
        assert expr.count('namespace="payments"') == selected
        assert expr.count('pod=~"(?:fraud-[0-9a-f]{10})-.+"') == selected


def test_an_adopted_baseline_counts_too():
    adopted = rules(baseline={"workloadRef": {"kind": "Deployment", "name": "old-fraud"}})
    assert "|old-fraud)-.+" in adopted[0]["expr"]


def test_a_metric_that_is_only_shown_alarms_nobody():
    shown = [
        {"name": "errors", "type": "ErrorRate", "max": 0.01},
        {"name": "shown", "type": "ErrorRate", "max": 0.01, "role": "Info"},
        {"name": "watched", "type": "ErrorRate", "max": 0.01, "role": "Watch"},
    ]
    found = {r["labels"].get("metric"): r for r in rules(monitoring={"metrics": shown})}
    assert "shown" not in found
    assert found["errors"]["labels"]["severity"] == "critical"
    assert found["watched"]["labels"]["severity"] == "warning"


def test_a_tenants_text_is_no_template():
    owners = {"team": "risk-ml", "escalation": ['{{ query "up" }}']}
    told = rules(runbook={"owners": owners})[0]["annotations"]["escalation"]
    assert told == '{{ "{{" }} query "up" }}'


def test_every_built_in_series_of_a_handoffs_rules_is_one_that_its_server_publishes():
    for kind, family in FAMILIES.items():
        metrics = [
            {"name": "errors", "type": "ErrorRate", "max": 0.01, "server": str(kind)},
            {
                "name": "slow",
                "type": "Latency",
                "quantile": 0.9,
                "budget": "1s",
                "server": str(kind),
            },
        ]
        text = " ".join(rule["expr"] for rule in rules(monitoring={"metrics": metrics}))
        named = set(re.findall(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\{", text)) - {"modelhandoff_stalled"}
        assert named
        assert named <= set(family.labels), kind


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    return [panel for panel in board["panels"] if panel["type"] != "row"]


@pytest.mark.parametrize(
    "board",
    [
        boards.operator_board(),
        boards.handoffs_board(),
        boards.handoff_board("fraud", "payments", OWN),
    ],
    ids=lambda board: board["title"],
)
def test_a_dashboard_is_whole(board):
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    assert len(board["uid"]) <= 40
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, f"{panel['title']} lies on another panel"
        taken |= cells
    for panel in panels(board):
        assert panel["targets"]
        assert panel["datasource"]["uid"] == "${source}"


def test_a_handoffs_dashboard_draws_its_own_limits():
    lines = {
        panel["title"]: panel["fieldConfig"]["defaults"]["thresholds"]["steps"][1]["value"]
        for panel in panels(boards.handoff_board("fraud", "payments", OWN))
        if "thresholds" in panel["fieldConfig"]["defaults"]
    }
    assert lines == {"errors": 0.01, "latency": 0.03}


def test_the_same_words_as_everywhere():
    """Alerts name only reasons that status and command line know."""
    from modelhandoff.api.vocabulary import Phase, Reason
    from modelhandoff.observability.operator_alerts import ENDED, UNSAFE

    known = set(map(str, Reason)) | set(map(str, Phase))
    assert set(ENDED) | set(UNSAFE) <= known


def test_alerts_and_dashboard_commands_write_what_prometheus_and_grafana_read(call, tmp_path):
    file = tmp_path / "fraud.yaml"
    file.write_text(yaml.safe_dump(handoff()))
    both = call("alerts", file)
    assert both.exit_code == 0, both.output
    (made,) = yaml.safe_load_all(both.stdout)
    assert (made["kind"], made["metadata"]) == (
        "PrometheusRule",
        {"name": "fraud-modelhandoff", "namespace": "payments"},
    )
    plain = call("alerts", "--format", "prometheus")
    assert yaml.safe_load(plain.stdout) == document(GROUPS)
    out = tmp_path / "board.json"
    assert call("dashboard", file, "-o", out).exit_code == 0
    assert json.loads(out.read_text())["title"] == "ModelHandoff / payments / fraud"
    assert json.loads(call("dashboard", "--operator").stdout)["uid"] == "modelhandoff-operator"


def test_a_file_without_a_namespace_needs_one(call, tmp_path):
    manifest = handoff()
    del manifest["metadata"]["namespace"]
    file = tmp_path / "fraud.yaml"
    file.write_text(yaml.safe_dump(manifest))
    refused = call("alerts", file)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(f"{file}: metadata.namespace: is not there")
    assert call("alerts", file, "-n", "team").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["alerts", "--format", "xml"], "--format: not a format; got xml"),
        (["alerts", "none.yaml"], "none.yaml: cannot be read"),
        (["dashboard", "-o", "/nowhere/x.json"], "--output /nowhere/x.json: cannot be written"),
    ],
)
def test_bad_input_is_one_line(arguments, says, call):
    refused = call(*arguments)
    assert refused.exit_code == 1
    assert refused.stderr.startswith(says)
    assert refused.stderr.count("\n") == 1


def test_what_is_checked_in_is_what_the_code_says(call):
    assert call("generate", "--check", "--root", ROOT).exit_code == 0


def test_an_old_file_is_noticed(call, tmp_path):
    for folder in ("charts", "docs", "examples", "integrations"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    rules = tmp_path / "charts/modelhandoff/files/rules.yaml"
    assert call("generate", "--root", tmp_path).exit_code == 0
    assert call("generate", "--check", "--root", tmp_path).exit_code == 0
    rules.write_text("groups: []\n")
    refused = call("generate", "--check", "--root", tmp_path)
    assert refused.exit_code == 1
    assert refused.stderr == (
        "charts/modelhandoff/files/rules.yaml: differs from the code; run `modelhandoff generate` "
        "and commit\n"
    )
