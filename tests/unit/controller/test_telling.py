"""What the operator tells: health, metrics, logs, and when a status is worth a write."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from modelhandoff.api.vocabulary import ConditionType
from modelhandoff.controller import logs
from modelhandoff.controller.health import Health
from modelhandoff.controller.reporting import news, refused
from modelhandoff.controller.telemetry import Telemetry
from modelhandoff.errors import ForbiddenError
from tests.clocks import START, ManualClock


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
        handoffs = [
            {
                "metadata": {"namespace": "team", "name": "fraud"},
                "status": {"phase": "Progressing", "step": {"weight": 25}},
            },
            {"metadata": {"namespace": "team", "name": "odd"}, "status": {"phase": "Nonsense"}},
        ]
        telemetry.watch_handoffs(lambda: iter(handoffs))
        text = telemetry.text().decode()
        weight = 'modelhandoff_candidate_weight_percent{handoff="fraud",namespace="team"} 25.0'
        assert weight in text
        assert 'modelhandoff_handoffs{phase="Progressing"} 1.0' in text
        assert "Nonsense" not in text, "only words of the closed set become labels"
        handoffs.clear()
        assert 'handoff="fraud"' not in telemetry.text().decode()

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
