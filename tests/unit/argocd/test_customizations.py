"""Argo CD's health and actions, by the operator's own statuses, in a Lua with next to nothing.

``MODELHANDOFF_GOLDEN=write`` writes test data and expectations in the layout of Argo CD's
``resource_customizations``; look at the difference before a commit.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelhandoff.api import names
from modelhandoff.api.vocabulary import Phase
from tests.unit.argocd.sandbox import run, run_text
from tests.unit.argocd.stories import Raw, Story, tell

FOLDER = Path(__file__).parents[3] / "integrations/argocd" / names.GROUP
HANDOFF, ATTEMPT = FOLDER / "ModelHandoff", FOLDER / "HandoffAttempt"
ACTIONS = {
    "pause": names.ANNOTATION_PAUSE,
    "resume": names.ANNOTATION_PAUSE,
    "abort": names.ANNOTATION_ABORT,
    "retry": names.ANNOTATION_RETRY,
    "promote": names.ANNOTATION_PROMOTE,
}
STORIES = {story.name: story for story in tell()}
WRITE = os.environ.get("MODELHANDOFF_GOLDEN") == "write"
ENDED = {
    Phase.PROMOTED: "Healthy",
    Phase.SUPERSEDED: "Healthy",
    Phase.AWAITING_APPROVAL: "Suspended",
}

every = pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)


def offered(handoff: Raw) -> set[str]:
    found = run(HANDOFF / "actions/discovery.lua", handoff)
    assert set(found) == set(ACTIONS)
    return {name for name, action in found.items() if not action["disabled"]}


def acted(action: str, handoff: Raw) -> Raw:
    found: Raw = run(HANDOFF / f"actions/{action}/action.lua", handoff)
    return found


def test_the_sandbox_is_one() -> None:
    gone = ("string", "math", "io", "os", "debug", "package", "require", "loadstring", "python")
    names_of = ", ".join(f'["{name}"] = type({name})' for name in gone)
    assert set(run_text(f"return {{{names_of}}}", {}).values()) == {"nil"}
    assert run_text('return (pcall(function() return ("x"):upper() end))', {}) is False


@every
def test_health_follows_the_operators_conditions(story: Story) -> None:
    said = run(HANDOFF / "health.lua", story.handoff)
    assert said["status"] == story.health
    told = story.handoff["status"].get("message")
    current = (
        story.handoff["status"]["observedGeneration"] == story.handoff["metadata"]["generation"]
    )
    if current:
        assert said["message"].startswith(told)
    else:
        assert said["message"] == "Waiting for the operator to look at it"


@every
def test_an_action_is_offered_where_it_could_have_an_effect(story: Story) -> None:
    assert offered(story.handoff) == story.actions


def test_every_phase_that_the_operator_enters_has_a_story() -> None:
    later = {Phase.MIRRORING, Phase.FALLEN_BACK}
    seen = {story.handoff["status"].get("phase") for story in STORIES.values()}
    seen |= {(story.attempt or {}).get("status", {}).get("phase") for story in STORIES.values()}
    assert set(Phase) - later <= seen


@pytest.mark.parametrize("action", ["pause", "abort", "retry", "promote"])
def test_an_action_writes_what_the_command_line_writes_and_nothing_else(action: str) -> None:
    before = STORIES["progressing" if action != "retry" else "rolled-back"].handoff
    after = acted(action, before)
    attempt = before["status"]["attemptRef"]["name"]
    wanted = _as_lua_sees(before)
    wanted["metadata"]["annotations"] = {ACTIONS[action]: attempt}
    assert after == wanted


def test_resume_takes_the_pause_away_and_nothing_else() -> None:
    before = copy.deepcopy(STORIES["paused"].handoff)
    before["metadata"]["annotations"]["team.example/note"] = "keep"
    wanted = _as_lua_sees(before)
    del wanted["metadata"]["annotations"][names.ANNOTATION_PAUSE]
    assert acted("resume", before) == wanted


def test_other_annotations_stay() -> None:
    before = copy.deepcopy(STORIES["progressing"].handoff)
    before["metadata"]["annotations"] = {"team.example/note": "keep"}
    after = acted("abort", before)["metadata"]["annotations"]
    assert after["team.example/note"] == "keep"
    assert names.ANNOTATION_ABORT in after


@pytest.mark.parametrize("action", ACTIONS)
def test_an_action_without_an_attempt_changes_nothing(action: str) -> None:
    before = STORIES["new"].handoff
    assert acted(action, before) == _as_lua_sees(before)


def test_nothing_is_offered_on_what_is_being_deleted() -> None:
    going = copy.deepcopy(STORIES["progressing"].handoff)
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert offered(going) == set()
    said = run(HANDOFF / "health.lua", going)
    assert said["status"] == "Progressing"
    assert "before it is deleted" in said["message"]


def test_a_metric_that_fails_cannot_be_promoted_over() -> None:
    failing = copy.deepcopy(STORIES["progressing"].handoff)
    failing["status"]["metrics"] = [{"name": "a", "state": "Pass"}, {"name": "b", "state": "Fail"}]
    assert offered(failing) == {"pause", "abort"}


def test_an_object_without_any_status_waits() -> None:
    bare = {key: value for key, value in STORIES["new"].handoff.items() if key != "status"}
    assert run(HANDOFF / "health.lua", bare)["status"] == "Progressing"
    assert offered(bare) == set()
    assert run(ATTEMPT / "health.lua", {"metadata": {"name": "a"}})["status"] == "Progressing"


@every
def test_health_of_an_attempt_is_how_it_went(story: Story) -> None:
    if story.attempt is None:
        return
    status = story.attempt["status"]
    phase = status.get("phase")
    said = run(ATTEMPT / "health.lua", story.attempt)["status"]
    if phase is not None and Phase(phase).terminal:
        assert said == ENDED.get(Phase(phase), "Degraded")
    elif phase == Phase.AWAITING_APPROVAL or status.get("pausedAt"):
        assert said == "Suspended"
    else:
        assert said == "Progressing"


# The files in Argo CD's own layout


def _written(path: Path, wanted: Any) -> Any:
    if WRITE:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump(wanted, sort_keys=False, width=100, allow_unicode=True))
    return yaml.safe_load(path.read_text())


@every
def test_test_data_is_what_the_operator_says_today(story: Story) -> None:
    """Sentences may be improved; what machines read may not drift away from the test data."""
    stored = _written(HANDOFF / f"testdata/{story.name}.yaml", story.handoff)
    assert _for_machines(stored) == _for_machines(story.handoff)
    if story.attempt is not None:
        stored = _written(ATTEMPT / f"testdata/{story.name}.yaml", story.attempt)
        assert stored["status"].get("phase") == story.attempt["status"].get("phase")


@pytest.mark.parametrize("kind", [HANDOFF, ATTEMPT], ids=lambda kind: kind.name)
def test_health_of_the_test_data_is_as_expected(kind: Path) -> None:
    data = sorted(path.name for path in (kind / "testdata").glob("*.yaml"))
    made = [
        {
            "healthStatus": run(kind / "health.lua", _load(kind / "testdata" / name)),
            "inputPath": f"testdata/{name}",
        }
        for name in data
    ]
    stored = _written(kind / "health_test.yaml", {"tests": made})
    assert [one["inputPath"] for one in stored["tests"]] == [f"testdata/{name}" for name in data]
    for one in stored["tests"]:
        assert run(kind / "health.lua", _load(kind / one["inputPath"])) == one["healthStatus"]
    assert {one["healthStatus"]["status"] for one in stored["tests"]} == {
        "Healthy", "Progressing", "Suspended", "Degraded",
    }  # fmt: skip


def test_actions_on_the_test_data_are_as_expected() -> None:
    """``action_test.yaml``; paths in it are relative to the ``actions`` folder."""
    folder = HANDOFF / "actions"
    shown = ("new", "progressing", "paused", "rolled-back", "promoted")
    inputs = {"resume": "paused", "retry": "rolled-back"}
    expectation = {
        "discoveryTests": [
            {
                "inputPath": f"../testdata/{name}.yaml",
                "result": _discovered(HANDOFF / f"testdata/{name}.yaml"),
            }
            for name in shown
        ],
        "actionTests": [
            {
                "action": action,
                "inputPath": f"../testdata/{inputs.get(action, 'progressing')}.yaml",
                "expectedOutputPath": f"testdata/{action}.yaml",
            }
            for action in ACTIONS
        ],
    }
    stored = _written(folder / "action_test.yaml", expectation)
    for one in stored["discoveryTests"]:
        assert _discovered(folder / one["inputPath"]) == one["result"]
    assert [one["action"] for one in stored["actionTests"]] == list(ACTIONS)
    for one in stored["actionTests"]:
        after = acted(one["action"], _load(folder / one["inputPath"]))
        assert after == _as_lua_sees(_written(folder / one["expectedOutputPath"], after))


def _discovered(path: Path) -> list[Raw]:
    found = run(HANDOFF / "actions/discovery.lua", _load(path))
    return [{"name": name, **found[name]} for name in sorted(found)]


def _load(path: Path) -> Raw:
    found: Raw = yaml.safe_load(path.read_text())
    return found


def _for_machines(handoff: Raw) -> Raw:
    status = handoff["status"]
    return {
        "phase": status.get("phase"),
        "observedGeneration": status["observedGeneration"],
        "conditions": [
            (c["type"], c["status"], c["reason"]) for c in status.get("conditions") or ()
        ],
        "annotations": sorted(handoff["metadata"].get("annotations") or {}),
        "verdict": [(status.get("verdict") or {}).get(key) for key in ("decision", "reason")],
    }


def _as_lua_sees(value: Any) -> Any:
    """An empty list and an empty object are the same to Lua, and nothing is not there."""
    if isinstance(value, dict):
        return {key: _as_lua_sees(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_as_lua_sees(inner) for inner in value] or {}
    return value
