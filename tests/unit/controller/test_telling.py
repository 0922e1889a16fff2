"""What the operator tells: health, metrics, logs, and when a status is worth a write."""

import io
import json
import logging
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from modelhandoff.api.vocabulary import ConditionType
from modelhandoff.controller import logs
from modelhandoff.controller.handoff_series import LastLook
from modelhandoff.controller.health import Health
from modelhandoff.controller.reporting import news, refused
from modelhandoff.controller.telemetry import Telemetry
from modelhandoff.errors import ForbiddenError
from tests.clocks import START, ManualClock


def series(telemetry: Telemetry) -> dict[str, float]:
    """Every sample as Prometheus would read it."""
    lines = telemetry.text().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def ago(seconds: float) -> str:
    return (START - timedelta(seconds=seconds)).isoformat()


def condition(kind: str, value: str, seconds: float, reason: str = "X") -> dict[str, Any]:
    return {"type": kind, "status": value, "reason": reason, "lastTransitionTime": ago(seconds)}


def running(*conditions: dict[str, Any]) -> dict[str, Any]:
    """A handoff at its first step."""
    errors = {
        "name": "errors", "state": "Pending", "candidate": 0.004, "limit": 0.01, "samples": 400
    }  # fmt: skip
    return {
        "metadata": {"namespace": "team", "name": "fraud"},
        "status": {
            "phase": "Progressing",
            "attemptRef": {"name": "fraud-1"},
            "step": {"weight": 10},
            "metrics": [errors],
            "conditions": [*conditions],
        },
    }


class TestHealth:
    def test_one_watch_that_falls_silent_is_enough_to_be_unwell(self) -> None:
        clock = ManualClock()
        health = Health(clock, silence=100)
        health.beat("pods")
        health.beat("routes")
        clock.move(90)
        health.beat("routes")
        clock.move(20)
        assert health.silent() == "nothing from pods for 110 s (limit 100 s)"
        health.beat("pods")
        assert health.silent() == ""

    def test_what_was_announced_and_never_came_counts(self) -> None:
        clock = ManualClock()
        health = Health(clock, silence=100)
        health.expect("the lease")
        clock.move(101)
        assert "the lease" in health.silent()

    def test_not_ready_until_said_and_not_while_unwell(self) -> None:
        clock = ManualClock()
        health = Health(clock, silence=100)
        assert health.not_ready() == "starting"
        health.ready()
        health.also("the queue", lambda: 101.0)
        assert "the queue" in health.not_ready()


class TestMetrics:
    def test_a_handoff_that_is_gone_leaves_no_series(self) -> None:
        telemetry = Telemetry()
        handoffs: list[dict[str, Any]] = [
            {
                "metadata": {"namespace": "team", "name": "fraud"},
                "status": {"phase": "Progressing", "step": {"weight": 25}},
            },
            {"metadata": {"namespace": "team", "name": "odd"}, "status": {"phase": "Nonsense"}},
        ]
        telemetry.watch_handoffs(lambda: handoffs, lambda: (), lambda: START)
        telemetry.last_looks["team", "fraud"] = LastLook("fraud-1")
        told = series(telemetry)
        assert told['modelhandoff_candidate_weight_percent{handoff="fraud",namespace="team"}'] == 25
        assert told['modelhandoff_handoffs{phase="Progressing"}'] == 1
        assert not [name for name in told if "Nonsense" in name], "only closed sets become labels"
        handoffs.clear()
        assert not [name for name in series(telemetry) if 'handoff="fraud"' in name]
        assert not telemetry.last_looks

    def test_a_running_attempt_is_told_with_its_evidence_and_its_waits(self) -> None:
        telemetry = Telemetry()
        handoffs = [running(condition("CapacityAvailable", "False", 90))]
        attempts = [
            {
                "metadata": {"namespace": "team", "name": "fraud-1"},
                "status": {
                    "phase": "Progressing",
                    "phaseSince": ago(60),
                    "startedAt": ago(600),
                    "pausedSeconds": 100.0,
                    "pausedAt": ago(20),
                    "unknownSince": ago(30),
                },
            }
        ]
        telemetry.watch_handoffs(lambda: handoffs, lambda: attempts, lambda: START)
        telemetry.last_looks["team", "fraud"] = LastLook("fraud-1", 0.11, 2.5, {"errors": 0.9})
        told = series(telemetry)
        who = 'handoff="fraud"'
        assert (
            told[f'modelhandoff_phase_seconds{{{who},namespace="team",phase="Progressing"}}'] == 60
        )
        assert told[f'modelhandoff_attempt_seconds{{{who},namespace="team"}}'] == 600
        assert told[f'modelhandoff_attempt_people_seconds{{{who},namespace="team"}}'] == 120
        assert told[f'modelhandoff_metrics_unknown_seconds{{{who},namespace="team"}}'] == 30
        assert told[f'modelhandoff_capacity_wait_seconds{{{who},namespace="team"}}'] == 90
        assert told[f'modelhandoff_candidate_share_ratio{{{who},namespace="team"}}'] == 0.11
        assert told[f'modelhandoff_evidence_total{{{who},namespace="team"}}'] == 2.5
        metric = f'{who},metric="errors",namespace="team"'
        assert told[f"modelhandoff_metric_evidence_log{{{metric}}}"] == 0.9
        assert told[f'modelhandoff_metric_state{{{metric},state="Pending"}}'] == 1
        assert told[f'modelhandoff_metric_value{{{metric},of="limit"}}'] == 0.01
        assert told[f"modelhandoff_metric_requests{{{metric}}}"] == 400

    def test_the_evidence_of_an_earlier_attempt_is_not_told_of_this_one(self) -> None:
        telemetry = Telemetry()
        handoffs = [running()]
        telemetry.watch_handoffs(lambda: handoffs, lambda: (), lambda: START)
        telemetry.last_looks["team", "fraud"] = LastLook("fraud-0", 0.5, 90.0, {"errors": 9.0})
        assert not [name for name in series(telemetry) if "evidence" in name or "share" in name]

    def test_an_ended_attempt_does_not_age(self) -> None:
        telemetry = Telemetry()
        ended = running(condition("Stalled", "True", 5, "RolledBack"))
        ended["status"]["phase"] = "RolledBack"
        attempt = {
            "metadata": {"namespace": "team", "name": "fraud-1"},
            "status": {"phase": "RolledBack", "phaseSince": ago(60), "startedAt": ago(600)},
        }
        telemetry.watch_handoffs(lambda: [ended], lambda: [attempt], lambda: START)
        told = series(telemetry)
        assert not [name for name in told if "_seconds{" in name and "fraud" in name]
        stalled = 'modelhandoff_stalled{handoff="fraud",namespace="team",reason="RolledBack"}'
        assert told[stalled] == 1

    def test_free_text_never_becomes_a_label(self) -> None:
        telemetry = Telemetry()
        odd = running(condition("Stalled", "True", 5, "SomebodysOwnWord"))
        odd["status"]["metrics"][0]["state"] = "Excellent"
        telemetry.watch_handoffs(lambda: [odd], lambda: (), lambda: START)
        text = telemetry.text().decode()
        assert "SomebodysOwnWord" not in text
        assert "Excellent" not in text

    def test_the_first_bug_can_be_seen_as_an_increase(self) -> None:
        assert series(Telemetry())['modelhandoff_reconcile_failures_total{error="Bug"}'] == 0

    def test_two_processes_in_one_interpreter_do_not_share_counters(self) -> None:
        first, second = Telemetry(), Telemetry()
        first.request("get", "pods", 200)
        assert 'kind="pods"' not in second.text().decode()


class TestLogs:
    @pytest.fixture
    def lines(self) -> Iterator[io.StringIO]:
        root = logging.getLogger()
        before, level = root.handlers[:], root.level
        quiet = {name: logging.getLogger(name).level for name in logs.QUIET}
        stream = io.StringIO()
        logs.configure("INFO", stream)
        yield stream
        root.handlers[:] = before
        root.setLevel(level)
        for name, was in quiet.items():
            logging.getLogger(name).setLevel(was)

    def test_a_line_is_json_and_names_the_handoff_it_is_about(self, lines: io.StringIO) -> None:
        log = logging.getLogger("modelhandoff.test")
        with logs.about("team/fraud"):
            log.info("step %d\nand a line break", 2)
        log.info("nobody's")
        first, second = (json.loads(line) for line in lines.getvalue().splitlines())
        assert first["handoff"] == "team/fraud"
        assert first["message"] == "step 2\nand a line break"
        assert first["level"] == "info"
        assert "handoff" not in second

    def test_a_failure_keeps_its_traceback_in_the_same_line(self, lines: io.StringIO) -> None:
        try:
            raise ValueError("broken")
        except ValueError:
            logging.getLogger("modelhandoff.test").exception("a bug")
        (line,) = lines.getvalue().splitlines()
        assert "ValueError: broken" in json.loads(line)["exception"]

    def test_libraries_are_heard_from_warnings_on(self, lines: io.StringIO) -> None:
        logging.getLogger("kopf.objects").info("an event")
        logging.getLogger("kopf.objects").warning("trouble")
        assert [json.loads(x)["message"] for x in lines.getvalue().splitlines()] == ["trouble"]


def status(**changes: object) -> dict[str, object]:
    conditions = [
        {
            "type": str(kind),
            "status": "False",
            "reason": "Working",
            "message": "10 % of 1,000 requests",
            "lastTransitionTime": "2026-03-02T08:00:00.000Z",
            "observedGeneration": 1,
        }
        for kind in (ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED)
    ]
    whole = {"phase": "Progressing", "message": "look 3", "conditions": conditions}
    return {**whole, "verdict": {"decision": "Continue", "message": "look 3"}, **changes}


class TestReporting:
    def test_numbers_that_move_at_every_look_are_no_news(self) -> None:
        later = status(
            message="look 4",
            metrics=[{"name": "errors", "samples": 9}],
            verdict={"decision": "Continue", "message": "look 4"},
        )
        assert news(later) == news(status())

    @pytest.mark.parametrize(
        "changes",
        [{"phase": "Promoting"}, {"verdict": {"decision": "Hold"}}, {"step": {"weight": 50}}],
        ids=str,
    )
    def test_a_transition_is_news(self, changes: dict[str, object]) -> None:
        assert news(status(**changes)) != news(status())

    def test_a_refused_write_is_told_with_what_a_person_can_do(self) -> None:
        error = ForbiddenError("patch httproutes: 403", user_action="give the right back")
        told = refused(status(), error, START, status())
        found = {c["type"]: c for c in told["conditions"]}
        assert found["Stalled"]["status"] == "True"
        assert found["Stalled"]["reason"] == "PermissionDenied"
        assert found["Stalled"]["message"] == "patch httproutes: 403. give the right back"
        assert found["Stalled"]["lastTransitionTime"] == "2026-03-02T09:00:00.000Z"
        assert found["Ready"]["lastTransitionTime"] == "2026-03-02T08:00:00.000Z", "still False"
        assert news(refused(status(), error, START, told)) == news(told), "told once"
