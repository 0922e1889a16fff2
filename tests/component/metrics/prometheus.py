"""A real Prometheus on loopback, scraping a fixed list of pods every quarter of a second."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path

import yaml

from .exposition import Pod

SCRAPE = 0.25
"""Seconds between scrapes."""


class Prometheus:
    """One instance with its data in ``folder``; it may be stopped and started again."""

    def __init__(self, binary: Path, folder: Path, pods: list[Pod], jobs: int = 1) -> None:
        self._binary = binary
        self._folder = folder
        self._pods = pods
        self._jobs = jobs
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{probe.getsockname()[1]}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "prometheus.yml").write_text(yaml.safe_dump(self._config()))

    def _config(self) -> dict[str, object]:
        targets = [
            {"targets": [pod.address], "labels": {"namespace": pod.namespace, "pod": pod.name}}
            for pod in self._pods
        ]
        return {
            "global": {"scrape_interval": f"{SCRAPE * 1000:.0f}ms", "scrape_timeout": "200ms"},
            "scrape_configs": [
                {"job_name": f"pods-{job}", "static_configs": targets} for job in range(self._jobs)
            ],
        }

    def start(self) -> Prometheus:
        """Start and wait until it answers."""
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._binary),
                    f"--config.file={self._folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={self._folder / 'data'}",
                    f"--web.listen-address={self.url.removeprefix('http://')}",
                    # Targets are a fixed list; waiting 5 s for more of them is no use.
                    "--scrape.discovery-reload-interval=50ms",
                ],
                stdout=log,
                stderr=log,
                env={**os.environ, "GOMAXPROCS": "2"},
            )
        deadline = time.monotonic() + 30
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                tail = (self._folder / "log").read_text()[-2000:]
                raise AssertionError(f"Prometheus did not start:\n{tail}")
            try:
                with urllib.request.urlopen(f"{self.url}/-/ready", timeout=2) as answer:
                    if answer.status == 200:
                        return self
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)

    def stop(self) -> None:
        """End it in an orderly way, keeping its data."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=20)
        self._process = None

    def value(self, query: str) -> float | None:
        """One number by an instant query, for the tests' own look at things."""
        url = f"{self.url}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        with urllib.request.urlopen(url, timeout=5) as answer:
            result = json.load(answer)["data"]["result"]
        return float(result[0]["value"][1]) if result else None
