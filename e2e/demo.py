"""``make demo``: one good model promoted, three bad ones rolled back, live, on a real cluster.

A client sends requests through the gateway from the first version on and never stops; its
failures are counted by whose fault they are. ``--keep`` leaves the cluster for looking around.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import yaml
from rich.console import Console

from e2e.cluster import Cluster
from e2e.cluster.errors import ClusterError
from e2e.cluster.progress import Progress
from e2e.stack import ROOT, Stack
from e2e.traffic import Summary, Traffic

NAME = "demo"
NAMESPACE = "payments"
HANDOFFS = ROOT / "build" / "demo"
"""Where `--keep` leaves what was applied."""
RATE = 50.0
"""Requests a second; 10 % of them are about as much as the slow version can bear."""

Raw = dict[str, Any]


@dataclass(frozen=True)
class Chapter:
    """One version's story."""

    directory: str
    title: str
    ends: str


CHAPTERS = (
    Chapter("v2", "v2 is a better model: it should reach 100 %", "Promoted"),
    Chapter("v3", "v3 is slow: its p95 is far over the budget of 150 ms", "RolledBack"),
    Chapter("v4", "v4 fails on one merchant code: about 5 % of its requests", "RolledBack"),
    Chapter("v5", "v5 answers fast and without errors, but its scores have drifted", "RolledBack"),
)


class Story:
    """Prints what happens as it happens."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.began = time.monotonic()
        self._last = ""

    def say(self, text: str, style: str = "") -> None:
        """One line with the time since the start."""
        elapsed = time.monotonic() - self.began
        self.console.print(f"[dim]{elapsed:6.1f} s[/]  {text}", style=style, highlight=False)

    def title(self, text: str) -> None:
        """A new chapter."""
        self.console.print()
        self.console.rule(text, align="left")

    def status(self, status: Raw) -> None:
        """The status sentence, when its gist has changed."""
        step = status.get("step") or {}
        verdict = (status.get("verdict") or {}).get("decision", "")
        gist = f"{status.get('phase')} {step.get('weight')} {verdict}"
        if gist != self._last:
            self._last = gist
            phase = status.get("phase", "Pending")
            self.say(f"[bold]{phase:<12}[/] {step.get('weight', 0):>3} %  {status.get('message')}")


def main() -> int:
    """Run the demo; 0 when everything ended as told."""
    parser = argparse.ArgumentParser(prog="make demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", default=bool(os.environ.get("KEEP")))
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(soft_wrap=True)
    story = Story(console)
    stack: Stack | None = None
    kept = False
    try:
        stack = Stack.start(NAME, attached=not given.keep, progress=Progress())
        if given.keep:
            write_handoffs(stack, story)
        ok = tell(stack, story)
        look_around(stack, console, given.keep)
        kept = given.keep
        return 0 if ok else 1
    except ClusterError as error:
        console.print(f"[red]demo: {error}")
        return 1
    except KeyboardInterrupt:
        console.print("\nInterrupted; cleaning up.")
        return 130
    finally:
        if stack is not None and not kept:
            stack.down()


def tell(stack: Stack, story: Story) -> bool:
    """All chapters under one stream of requests; whether each ended as announced."""
    stack.namespace(NAMESPACE)
    story.title("v1 is the first version: nothing to compare it with, so it serves once it is warm")
    stack.apply(stack.handoff("v1", NAMESPACE))
    stack.wait_phase(NAMESPACE, "Promoted", seen=story.status)
    traffic = stack.traffic(rate=RATE, duration=1800)
    answered(stack)
    traffic.start()
    story.say(f"{RATE:.0f} requests a second go through the gateway from now on.")
    ok = True
    try:
        for chapter in CHAPTERS:
            ok = play(stack, story, traffic, chapter) and ok
    finally:
        traffic.stop()
    story.title("What the client saw")
    summary = traffic.summary()
    for version, seen in sorted(summary.versions.items()):
        story.say(
            f"{version}: {seen.answers} answers, {seen.errors} errors, p95 {1000 * seen.p95:.0f} ms"
        )
    lost = summary.not_the_models_fault
    story.say(
        f"{summary.answered} requests, {lost} failed on the way (not answered by a model).",
        style="bold green" if lost == 0 else "bold red",
    )
    for failure in summary.failures:
        if failure.version is None:
            took = f"{failure.seconds:.1f} s, {failure.detail}".rstrip(", ")
            story.say(f"  at {time.strftime('%H:%M:%S', time.gmtime(failure.at))} UTC: {took}")
    if lost:
        load = os.getloadavg()[0]
        story.say(
            f"All versions ended as told: {'yes' if ok else 'no'}. Load average {load:.0f} on "
            f"{os.cpu_count()} cores: a busy machine cannot serve the slow version in time."
        )
    return ok and lost == 0


def write_handoffs(stack: Stack, story: Story) -> None:
    """What the demo applies, as files to go on with."""
    HANDOFFS.mkdir(parents=True, exist_ok=True)
    for version in ("v1", *(chapter.directory for chapter in CHAPTERS)):
        text = yaml.safe_dump(stack.handoff(version, NAMESPACE), sort_keys=False)
        (HANDOFFS / f"{version}.yaml").write_text(text, encoding="utf-8")
    story.say(f"export KUBECONFIG={stack.cluster.kubeconfig}   # to look on")
    story.say(f"The handoffs are in {HANDOFFS.relative_to(ROOT)}/.")


def play(stack: Stack, story: Story, traffic: Traffic, chapter: Chapter) -> bool:
    """Apply one version and watch it to its end."""
    story.title(chapter.title)
    mark = traffic.now()
    began = time.monotonic()
    stack.apply(stack.handoff(chapter.directory, NAMESPACE))
    status = stack.wait_phase(
        NAMESPACE,
        "Promoted", "RolledBack", "Rejected", "Inconclusive", "Aborted",
        seen=story.status, timeout=300,
    )  # fmt: skip
    took = time.monotonic() - began
    right = bool(status["phase"] == chapter.ends)
    story.say(
        f"{status['phase']} after {took:.0f} s; {_shares(traffic.summary(since=mark))}",
        style="bold green" if right else "bold red",
    )
    return right


def answered(stack: Stack, timeout: float = 30) -> None:
    """Wait until the first request through the gateway is answered by a model."""
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        probe = stack.traffic(rate=5, duration=1.0)
        probe.start()
        probe.join()
        found = probe.summary()
        if found.answered and not found.not_the_models_fault:
            return
    raise ClusterError(f"no answer through the gateway within {timeout:.0f} s")


def look_around(stack: Stack, console: Console, keep: bool) -> None:
    """The commands to look around with."""
    cluster = stack.cluster
    console.print()
    console.rule("Look around" if keep else "Look around next time: make demo KEEP=1", align="left")
    command: Callable[[str], None] = lambda text: console.print(f"  {text}", highlight=False)  # noqa: E731
    command("export PATH=$PWD/.venv/bin:$PATH")
    command(f"export KUBECONFIG={cluster.kubeconfig}")
    command(f"kubectl-handoff status fraud -n {NAMESPACE}       # what serves, and what came of v5")
    command(f"kubectl-handoff explain fraud -n {NAMESPACE}      # which rule decided, by how much")
    command(f"kubectl-handoff report fraud -n {NAMESPACE}       # the whole decision")
    command(f"kubectl-handoff history fraud -n {NAMESPACE}      # every attempt, newest first")
    command(f"kubectl get mho,handoffattempts,httproutes -n {NAMESPACE}")
    if isinstance(cluster, Cluster):
        command(f"curl -s -H 'Host: fraud.example' http://{stack.gateway}/v2/models/fraud")
        if keep:
            command(f"python -m e2e.cluster down --name {NAME}   # removes everything")
    console.print()
    console.print(cluster.kubectl("get", "mho", "-n", NAMESPACE), highlight=False)


def _shares(summary: Summary) -> str:
    total = sum(seen.answers for seen in summary.versions.values()) or 1
    return ", ".join(
        f"{version} answered {100 * seen.answers / total:.0f} %"
        for version, seen in sorted(summary.versions.items())
    )


if __name__ == "__main__":
    sys.exit(main())
