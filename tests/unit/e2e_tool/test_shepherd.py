"""The process that ties the lives of an instance's parts together. Needs no root."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.cluster import process, shepherd

LIMIT = 10.0


def wait_until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


class Running:
    """A shepherd of its own and the pipe that it lives by."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.socket = folder / "s"
        spec = folder / "spec.json"
        spec.write_text(json.dumps({"socket": str(self.socket), "attached": True}))
        self.process = subprocess.Popen(
            [sys.executable, "-I", str(shepherd.__file__), str(spec)], stdin=subprocess.PIPE
        )
        wait_until(self.answers)

    def answers(self) -> bool:
        try:
            return "parts" in self.ask(op="list")
        except OSError:
            return False

    def ask(self, **request: Any) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.socket))
            connection.sendall(json.dumps(request).encode() + b"\n")
            with connection.makefile("rb") as stream:
                return dict(json.loads(stream.readline()))

    def start(self, name: str, *argv: str) -> int:
        reply = self.ask(op="start", name=name, argv=argv, log=str(self.folder / f"{name}.log"))
        return int(reply["pid"])

    def exit_of(self, name: str) -> int | None:
        code = self.ask(op="list")["parts"][name]["exit"]
        return None if code is None else int(code)


@pytest.fixture
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    it = Running(tmp_path_factory.mktemp("s"))
    yield it
    assert it.process.stdin is not None
    it.process.stdin.close()
    it.process.wait(LIMIT)


def gone(pid: int) -> bool:
    return process.start_time(pid) is None


def test_parts_end_when_the_owner_lets_go(running: Running) -> None:
    pid = running.start("sleeper", "sleep", "600")
    assert running.exit_of("sleeper") is None
    assert running.process.stdin is not None
    running.process.stdin.close()
    assert running.process.wait(LIMIT) == 0
    wait_until(lambda: gone(pid))


def test_parts_end_when_the_shepherd_is_killed(running: Running) -> None:
    pid = running.start("sleeper", "sleep", "600")
    running.process.kill()
    wait_until(lambda: gone(pid))


def test_an_interrupt_from_the_terminal_is_for_the_owner_to_handle(running: Running) -> None:
    pid = running.start("sleeper", "sleep", "600")
    running.process.send_signal(signal.SIGINT)
    assert running.answers()
    assert not gone(pid)


def test_how_a_part_ended_is_reported(running: Running) -> None:
    running.start("seven", "sh", "-c", "exit 7")
    running.start("shot", "sleep", "600")
    running.ask(op="signal", name="shot", signal=int(signal.SIGKILL))
    wait_until(lambda: running.exit_of("seven") is not None)
    wait_until(lambda: running.exit_of("shot") is not None)
    assert (running.exit_of("seven"), running.exit_of("shot")) == (7, -signal.SIGKILL)


def test_a_part_can_be_started_again_but_not_twice(running: Running) -> None:
    first = running.start("one", "sleep", "600")
    refused = running.ask(op="start", name="one", argv=["sleep", "1"], log=os.devnull)
    assert refused == {"error": f"ValueError: one runs already, process {first}"}
    running.ask(op="signal", name="one", signal=int(signal.SIGKILL))
    wait_until(lambda: running.exit_of("one") is not None)
    assert running.start("one", "sleep", "600") != first
    assert running.exit_of("one") is None


def test_a_program_that_does_not_exist_is_seen_in_its_log(running: Running) -> None:
    running.start("ghost", "/no/such/program")
    wait_until(lambda: running.exit_of("ghost") == 127)
    assert "cannot start /no/such/program" in (running.folder / "ghost.log").read_text()


def test_an_unknown_request_is_answered_and_harms_nothing(running: Running) -> None:
    assert "op: unknown" in running.ask(op="dance")["error"]
    assert running.answers()
