"""One instance: a folder, a shepherd, the parts it watches, and their end."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from . import cgroups, network, paths, process, registry, removal
from .errors import ClusterError
from .process import MARKER
from .progress import SILENT, Progress
from .registry import Level, Record

T = TypeVar("T")


def log_tail(path: Path, lines: int = 12) -> str:
    """The end of a log file, for an error message."""
    try:
        return "\n".join(path.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"


class Instance:
    """A running shepherd and a way to talk to it.

    Made by `Instance.create` or, for one that another process created, by `Instance(record)`.
    """

    def __init__(self, record: Record, shepherd: subprocess.Popen[bytes] | None = None) -> None:
        self.record = record
        self._shepherd = shepherd

    @property
    def folder(self) -> Path:
        return self.record.folder

    @classmethod
    def create(
        cls,
        name: str,
        level: Level,
        *,
        attached: bool,
        setup: Sequence[Sequence[str]] = (),
        progress: Progress = SILENT,
    ) -> Instance:
        """Reserve addresses, make the namespaces (level full), start the shepherd.

        Args:
            name: see `registry.check_name`.
            level: what the instance will be.
            attached: end with the calling process.
            setup: commands run in the new mount namespace before anything else; level full only.
                `{folder}` in an argument becomes the instance's folder.
            progress: told about orphans that were removed on the way.

        Raises:
            ClusterError: no root where it is needed, the name is taken, or a step failed.
        """
        if level is Level.FULL and os.geteuid() != 0:
            raise ClusterError("level full needs root: it makes network, pid and mount namespaces")
        with registry.lock():
            removal.collect_recorded(progress)
            self = cls(registry.reserve(name, level, attached=attached))
            try:
                for sub in ("logs", "pki"):
                    (self.folder / sub).mkdir(mode=0o700)
                if level is Level.FULL:
                    network.create(self.record.scope, self.record.veth, self.record.addresses)
                    cgroups.create(self.record.scope)
                self._start_shepherd(setup)
            except BaseException:
                removal.remove(self.record, keep_logs=paths.home() / "logs" / name)
                raise
        return self

    def _start_shepherd(self, setup: Sequence[Sequence[str]]) -> None:
        full = self.record.level is Level.FULL
        spec = {
            "socket": str(self.folder / "s.sock"),
            "attached": self.record.attached,
            "setup": [[a.format(folder=self.folder) for a in command] for command in setup],
        }
        (self.folder / "shepherd.json").write_text(json.dumps(spec))
        command = [sys.executable, "-I", str(Path(__file__).with_name("shepherd.py"))]
        command.append(str(self.folder / "shepherd.json"))
        if full:
            # `--propagation slave`: unmounting in the machine's namespace reaches this one, so it
            # never keeps a neighbour's mounts alive; its own mounts stay inside and end with it.
            inside = ["unshare", "--pid", "--mount", "--propagation", "slave", "--fork"]
            inside += ["--kill-child", "--mount-proc"]
            command = ["nsenter", f"--net=/run/netns/{self.record.scope}", *inside, *command]
        with open(self.folder / "logs" / "shepherd.log", "ab") as log:
            self._shepherd = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if self.record.attached else subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, MARKER: str(self.folder)},
                start_new_session=True,
                cwd="/",
            )
        pid = self.wait(self._shepherd_pid, "the shepherd to start", timeout=20)
        self.record = registry.save(
            dataclasses.replace(
                self.record, shepherd_pid=pid, shepherd_started=process.start_time(pid) or 0
            )
        )
        self.wait(lambda: "parts" in self._try_ask({"op": "list"}), "the shepherd to answer", 20)

    def _shepherd_pid(self) -> int | None:
        assert self._shepherd is not None
        if self._shepherd.poll() is not None:
            tail = log_tail(self.folder / "logs" / "shepherd.log")
            raise ClusterError(f"instance {self.record.name!r}: shepherd did not start: {tail}")
        if self.record.level is not Level.FULL:
            return self._shepherd.pid
        # nsenter becomes unshare, whose only child is process 1 of the new namespace.
        found = process.children(self._shepherd.pid)
        return found[0] if found else None

    # -- talking to it

    def _ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(10)
            try:
                connection.connect(str(self.folder / "s.sock"))
                with connection.makefile("rwb") as stream:
                    stream.write(json.dumps(request).encode() + b"\n")
                    stream.flush()
                    reply = json.loads(stream.readline() or b'{"error": "it hung up"}')
            except OSError as why:
                raise ClusterError(f"instance {self.record.name!r} does not run ({why})") from why
        if error := reply.get("error"):
            raise ClusterError(f"instance {self.record.name!r}: {error}")
        return dict(reply)

    def _try_ask(self, request: Mapping[str, Any]) -> dict[str, Any]:
        if self._shepherd is not None and self._shepherd.poll() is not None:
            tail = log_tail(self.folder / "logs" / "shepherd.log")
            raise ClusterError(f"instance {self.record.name!r}: shepherd ended: {tail}")
        try:
            return self._ask(request)
        except ClusterError:
            return {}

    def start_part(
        self, name: str, argv: Sequence[str | Path], env: Mapping[str, str] | None = None
    ) -> None:
        """Start a part; its output goes to `logs/NAME.log`."""
        request = {"op": "start", "name": name, "argv": [str(a) for a in argv]}
        self._ask({**request, "env": dict(env or {}), "log": str(self.log(name))})
        # Remembered, so that another process can start it again after a kill.
        (self.folder / f"{name}.part").write_text(json.dumps([request["argv"], dict(env or {})]))

    def restart_part(self, name: str) -> None:
        """Start a part that has ended, with the arguments it had."""
        try:
            argv, env = json.loads((self.folder / f"{name}.part").read_text())
        except OSError:
            raise ClusterError(f"part: not in this instance; got {name!r}") from None
        self.start_part(name, argv, env)

    def signal_part(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; after SIGKILL wait until the part is gone."""
        self._ask({"op": "signal", "name": name, "signal": int(number)})
        if number == signal.SIGKILL:
            self.wait(lambda: self.exits().get(name) is not None, f"{name} to end", timeout=10)

    def exits(self) -> dict[str, int | None]:
        """Every part ever started: None while it runs, else how it ended."""
        return {n: p["exit"] for n, p in self._ask({"op": "list"})["parts"].items()}

    @property
    def pids(self) -> dict[str, int]:
        """Running parts and their process ids as the caller sees them."""
        parts = self._ask({"op": "list"})["parts"]
        inner = {n: int(p["pid"]) for n, p in parts.items() if p["exit"] is None}
        if self.record.level is not Level.FULL:
            return inner
        identifier = process.namespace(self.record.shepherd_pid, "pid")
        outer = process.outer_pids(identifier) if identifier else {}
        return {n: outer[p] for n, p in inner.items() if p in outer}

    def log(self, part: str) -> Path:
        return self.folder / "logs" / f"{part}.log"

    def wait(self, condition: Callable[[], T | None], what: str, timeout: float = 60) -> T:
        """Poll until `condition()` is true; returns its value.

        Raises:
            ClusterError: it did not become true in `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        pause = 0.01
        while True:
            if value := condition():
                return value
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"instance {self.record.name!r}: waited {timeout:.0f} s in vain for {what}"
                )
            time.sleep(pause)
            pause = min(pause * 1.3, 0.25)

    def wait_part(
        self, part: str, condition: Callable[[], T | None], what: str, timeout: float = 60
    ) -> T:
        """As `wait`, but fails at once, with the end of its log, when `part` ends."""

        def check() -> T | None:
            code = self.exits().get(part)
            if code is not None:
                tail = log_tail(self.log(part))
                raise ClusterError(f"{part} ended with {code} while waiting for {what}:\n{tail}")
            return condition()

        try:
            return self.wait(check, what, timeout)
        except ClusterError as why:
            if "in vain" not in str(why):
                raise
            raise ClusterError(f"{why}; end of its log:\n{log_tail(self.log(part))}") from None

    def mark_ready(self, ready: bool = True) -> None:
        """An instance that is not attached outlives its creator while it is ready, else not."""
        self.record = registry.save(dataclasses.replace(self.record, ready=ready))

    def enter(self, *argv: str) -> list[str]:
        """The command that runs `argv` inside the instance's namespaces."""
        if self.record.level is not Level.FULL:
            return list(argv)
        return ["nsenter", "--target", str(self.record.shepherd_pid), "--all", *argv]

    def destroy(self, *, keep_logs: bool = False) -> None:
        """End it and remove every trace. Safe to repeat."""
        with registry.lock():
            kept = paths.home() / "logs" / self.record.name if keep_logs else None
            # Another instance of that name may have come since.
            current = registry.load(self.record.name)
            mine = self.record
            if current is not None and (current.shepherd_pid, current.shepherd_started) == (
                mine.shepherd_pid,
                mine.shepherd_started,
            ):
                removal.remove(current, keep_logs=kept)
        if self._shepherd is not None:
            if self._shepherd.stdin is not None:
                self._shepherd.stdin.close()
            self._shepherd.wait(10)


def require(*programs: str) -> None:
    """Raise when programs are not on the search path.

    Raises:
        ClusterError: naming all that are missing.
    """
    missing = [p for p in programs if shutil.which(p) is None]
    if missing:
        raise ClusterError(
            f"missing programs: {', '.join(missing)}; run: python -m e2e.cluster prepare"
        )
