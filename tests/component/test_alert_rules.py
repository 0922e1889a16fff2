"""The alerting rules before a real promtool: legal, and true to their stories."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.resolve import resolve
from modelhandoff.observability import boards
from modelhandoff.observability.alert import document
from modelhandoff.observability.handoff_alerts import handoff_groups
from modelhandoff.observability.operator_alerts import GROUPS
from tests import builders

pytestmark = pytest.mark.control_plane

STORIES = Path(__file__).with_name("alerts")
RULES = Path(__file__).parents[2] / "charts/modelhandoff/files/rules.yaml"
ODD = [
    {"name": "web", "type": "ErrorRate", "max": 0.02, "server": "VLLM"},
    {"name": "first", "type": "Latency", "quantile": 0.9, "budget": "3s", "server": "VLLM"},
    {"name": "slow", "type": "Latency", "quantile": 0.99, "budget": "300ms", "server": "Triton"},
    {"name": "failed", "type": "ErrorRate", "max": 1e-05, "server": "Triton"},
    {"name": "infer", "type": "ErrorRate", "max": 0.02, "server": "OpenInference"},
    {
        "name": "own",
        "type": "AbstainRate",
        "max": 0.1,
        "counters": {
            "bad": {
                "metric": "team:abstained",
                "matchers": [{"label": "why", "value": 'a "quoted" \\ {{ $value }}'}],
            },
            "total": {"metric": "answers_total"},
        },
    },
    {
        "name": "hist",
        "type": "Latency",
        "quantile": 0.5,
        "budget": "20ms",
        "histogram": {"metric": "took", "unit": "Milliseconds"},
    },
]


@pytest.fixture(scope="session")
def promtool() -> Path:
    from e2e.cluster import build

    return build.binaries("stack").promtool


def run(program: Path, *words: object) -> str:
    done = subprocess.run(
        [program, *map(str, words)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def write(path: Path, spec: ModelHandoffSpec) -> Path:
    path.write_text(yaml.safe_dump(document(handoff_groups("fraud", "payments", spec))))
    return path


def test_the_operators_rules_are_legal_and_true(promtool: Path) -> None:
    assert f"{sum(len(g.alerts) for g in GROUPS)} rules found" in run(
        promtool, "check", "rules", RULES
    )
    run(promtool, "test", "rules", STORIES / "operator.test.yaml")


def test_every_alert_has_a_story_in_which_it_fires() -> None:
    told = (STORIES / "operator.test.yaml").read_text()
    for group in GROUPS:
        for alert in group.alerts:
            fires = f'alertname="{alert.name}"' in told or (
                alert.name == "ModelHandoffOperatorDown" and "exp_alerts" in told
            )
            assert fires, alert.name


def test_a_handoffs_rules_are_legal_and_true(promtool: Path, tmp_path: Path) -> None:
    shutil.copy(STORIES / "handoff.test.yaml", tmp_path)
    write(tmp_path / "rules.yaml", resolve(builders.spec()))
    run(promtool, "test", "rules", tmp_path / "handoff.test.yaml")


def test_rules_over_every_server_and_odd_series_are_legal(promtool: Path, tmp_path: Path) -> None:
    spec = resolve(builders.spec(monitoring={"metrics": ODD}))
    told = run(promtool, "check", "rules", write(tmp_path / "odd.yaml", spec))
    assert f"{len(ODD) + 2} rules found" in told


def test_every_query_of_the_dashboards_is_legal(promtool: Path, tmp_path: Path) -> None:
    made = [boards.operator_board(), boards.handoffs_board()]
    for metrics in (builders.spec()["monitoring"]["metrics"], ODD):
        spec = resolve(builders.spec(monitoring={"metrics": metrics}))
        made.append(boards.handoff_board("fraud", "payments", spec))
    queries = [
        target["expr"].replace("$namespace", ".*").replace("$handoff", ".*")
        for board in made
        for panel in board["panels"]
        for target in panel.get("targets", ())
    ]
    rules = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "panels.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}))
    assert f"{len(queries)} rules found" in run(promtool, "check", "rules", "--lint=none", file)
