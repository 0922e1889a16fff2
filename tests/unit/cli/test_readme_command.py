"""``modelhandoff readme``: offline, the same bytes, mistakes in one line."""

from pathlib import Path

import yaml
from typer.testing import CliRunner

from modelhandoff.analysis import WireError
from modelhandoff.cli.main import app
from modelhandoff.rollout import judging
from tests.builders import handoff

EXAMPLE = Path(__file__).parents[3] / "docs" / "examples" / "fraud"


def run(*words):
    return CliRunner().invoke(app, ["readme", *map(str, words)])


def file(folder, manifest):
    path = folder / "handoff.yaml"
    path.write_text(yaml.safe_dump(manifest))
    return path


def test_it_says_how_long_the_proofs_take(tmp_path):
    found = run(file(tmp_path, handoff()), "--traffic", "60/s")
    assert found.exit_code == 0
    assert "| Metric | At 60/s |" in found.output
    assert "would be found" in found.output, (
        "with one level there is room for the planner's sentences"
    )
    usual = run(file(tmp_path, handoff())).output
    assert "| Metric | At 1/s | At 10/s | At 100/s |" in usual
    assert usual == run(file(tmp_path, handoff())).output


def test_a_file_that_is_no_handoff_is_refused_in_one_line(tmp_path):
    found = run(file(tmp_path, {"kind": "ConfigMap"}))
    assert found.exit_code == 1
    assert found.output.count("\n") == 1
    assert "needs exactly one ModelHandoff; got ConfigMap" in found.output


def test_rules_that_the_engine_refuses_leave_the_readme_without_outlook(tmp_path, monkeypatch):
    def refuse(*_):
        raise WireError("metrics", "a plan", "none")

    monkeypatch.setattr(judging, "plan_of", refuse)
    found = run(file(tmp_path, handoff()))
    assert found.exit_code == 0
    assert "at most 1 % of the requests fail" in found.output
    assert "How long the proofs take" not in found.output


def test_a_state_of_another_version_is_passed_over(tmp_path):
    found = run(file(tmp_path, handoff() | {"status": {"phase": "Levitating"}}))
    assert found.exit_code == 0
    assert "- [ ] Artifacts packaged" in found.output


def test_the_example_in_the_docs_is_what_the_command_writes():
    found = run(EXAMPLE / "handoff.yaml", "--traffic", "60/s")
    assert found.output == (EXAMPLE / "README.md").read_text(encoding="utf-8"), (
        "write it again: modelhandoff readme docs/examples/fraud/handoff.yaml --traffic 60/s "
        "> docs/examples/fraud/README.md"
    )
