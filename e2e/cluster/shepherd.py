"""The parent of all processes of one instance: `python -I shepherd.py SPEC.json`.

It starts, signals and reaps parts on request over a unix socket, and it ties their lives together:

- In an instance with namespaces it is process 1 of the pid namespace: when it ends, the kernel ends
  everything below it, containers included, and with the last process go the mounts.
- Without namespaces every part asks the kernel to be killed when the shepherd ends.
- Attached, it holds the reading end of a pipe as standard input. The writing end belongs to the
  program that wanted the instance; when that ends in any way, SIGKILL too, the shepherd reads
  end-of-file and ends.

Only the standard library and no package of this project: it starts in 30 ms and stays small.

The socket takes one JSON object a connection and answers one:
`{"op": "start", "name", "argv", "env", "log"}`, `{"op": "signal", "name", "signal"}`,
`{"op": "list"}` -> `{"parts": {name: {"pid", "exit"}}}`, `{"op": "stop"}`.
`exit` is null while the part runs, else its exit code, or minus the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1


class Shepherd:
    """State: which parts were started and how they ended."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self.spec = spec
        self.parts: dict[str, dict[str, Any]] = {}
        self.libc = ctypes.CDLL(None, use_errno=True)

    def prepare(self) -> None:
        """Mounts that exist in this instance's mount namespace only."""
        for command in self.spec.get("setup", []):
            subprocess.run(command, check=True)

    def start(self, name: str, argv: list[str], env: dict[str, str], log: str) -> int:
        running = self.parts.get(name)
        if running and running["exit"] is None:
            raise ValueError(f"{name} runs already, process {running['pid']}")
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            try:
                os.setsid()
                self.libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
                if os.getppid() != parent:
                    os._exit(1)
                signal.pthread_sigmask(signal.SIG_SETMASK, [])
                out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
                null = os.open(os.devnull, os.O_RDONLY)
                os.dup2(null, 0)
                os.dup2(out, 1)
                os.dup2(out, 2)
                os.closerange(3, 64)
                os.execvpe(argv[0], argv, {**os.environ, **env})
            except BaseException as why:
                os.write(2, f"cannot start {argv[0]}: {why}\n".encode())
            os._exit(127)
        self.parts[name] = {"pid": pid, "exit": None}
        return pid

    def reap(self) -> None:
        """Collect every ended child; process 1 also inherits strangers."""
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for part in self.parts.values():
                    if part["pid"] == pid:
                        part["exit"] = os.waitstatus_to_exitcode(status)

    def kill_all(self) -> None:
        for part in self.parts.values():
            if part["exit"] is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(part["pid"], signal.SIGKILL)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.reap()
        op = request.get("op")
        if op == "start":
            pid = self.start(
                request["name"], request["argv"], request.get("env", {}), request["log"]
            )
            return {"pid": pid}
        if op == "signal":
            part = self.parts[request["name"]]
            if part["exit"] is None:
                os.kill(part["pid"], request["signal"])
            return {}
        if op == "list":
            return {"parts": self.parts}
        if op == "stop":
            return {"stop": True}
        raise ValueError(f"op: unknown; got {op!r}")

    def serve(self) -> None:
        """Answer until told to stop or until the owner is gone."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for ignored in (signal.SIGINT, signal.SIGHUP):
            signal.signal(ignored, signal.SIG_IGN)
        path = self.spec["socket"]
        server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        server.bind(path)
        os.chmod(path, 0o600)
        server.listen(16)
        wait = selectors.DefaultSelector()
        wait.register(server, selectors.EVENT_READ)
        wait.register(wake_read, selectors.EVENT_READ)
        if self.spec["attached"]:
            wait.register(0, selectors.EVENT_READ)
        while True:
            for key, _ in wait.select():
                if key.fileobj == wake_read:
                    with contextlib.suppress(BlockingIOError):
                        os.read(wake_read, 512)
                    self.reap()
                elif key.fileobj == 0:
                    if not os.read(0, 512):
                        return
                elif self.converse(server):
                    return

    def converse(self, server: socket.socket) -> bool:
        connection, _ = server.accept()
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            stream = connection.makefile("rwb")
            try:
                reply = self.answer(json.loads(stream.readline()))
            except Exception as why:
                reply = {"error": f"{type(why).__name__}: {why}"}
            stream.write(json.dumps(reply).encode() + b"\n")
            stream.flush()
            return bool(reply.get("stop"))
        return False


def main() -> None:
    shepherd = Shepherd(json.loads(Path(sys.argv[1]).read_text()))
    shepherd.prepare()
    try:
        shepherd.serve()
    finally:
        shepherd.kill_all()


if __name__ == "__main__":
    main()
