"""Whether this process is alive and ready, and the small server that says so.

Alive means that something real happened lately: a watch answered, an event came, a handoff was
looked at, the lease was looked at. An open port proves nothing: a process whose watches hang
would answer it for ever.
"""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from modelhandoff.controller.clock import Clock
from modelhandoff.controller.telemetry import Telemetry

SILENCE = 400.0
"""Seconds. Every watch ends after 300 s and is opened again, even in a cluster at rest."""


class Health:
    """Signs of life, by what they are a sign of."""

    def __init__(self, clock: Clock, silence: float = SILENCE) -> None:
        self._clock = clock
        self._silence = silence
        self._beats: dict[str, float] = {}
        self._ages: dict[str, Callable[[], float]] = {}
        self._not_ready = "starting"

    def beat(self, what: str) -> None:
        """Something of this name just worked."""
        self._beats[what] = self._clock.monotonic()

    def expect(self, what: str) -> None:
        """From now on, silence of this name counts."""
        self._beats.setdefault(what, self._clock.monotonic())

    def ready(self, unless: str = "") -> None:
        """Ready, or not ready and why."""
        self._not_ready = unless

    @property
    def age(self) -> float:
        """Seconds since the sign of life that has been missing longest."""
        now = self._clock.monotonic()
        return max((now - at for at in self._beats.values()), default=0.0)

    def also(self, what: str, seconds: Callable[[], float]) -> None:
        """Something that tells by itself for how long it has been stuck."""
        self._ages[what] = seconds

    def silent(self) -> str:
        """What has been silent for too long, as a sentence; "" when all is well."""
        now = self._clock.monotonic()
        ages = {what: now - at for what, at in self._beats.items()}
        ages |= {what: seconds() for what, seconds in self._ages.items()}
        late = {what: age for what, age in ages.items() if age > self._silence}
        return "; ".join(
            f"nothing from {what} for {seconds:.0f} s (limit {self._silence:.0f} s)"
            for what, seconds in sorted(late.items())
        )

    def not_ready(self) -> str:
        """Why this process is not ready, or ""."""
        return self._not_ready or self.silent()


def application(health: Health, telemetry: Telemetry) -> web.Application:
    """``/healthz``, ``/readyz`` and ``/metrics``."""

    def answer(reason: Callable[[], str]) -> Callable[[web.Request], object]:
        async def handle(_: web.Request) -> web.Response:
            wrong = reason()
            return web.Response(text=f"{wrong or 'ok'}\n", status=503 if wrong else 200)

        return handle

    async def metrics(_: web.Request) -> web.Response:
        return web.Response(
            body=await telemetry.exposition(), headers={"Content-Type": "text/plain; version=0.0.4"}
        )

    app = web.Application()
    app.router.add_get("/healthz", answer(health.silent))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answer(health.not_ready))  # type: ignore[arg-type]
    app.router.add_get("/metrics", metrics)
    return app


async def serve(app: web.Application, host: str, port: int) -> tuple[web.AppRunner, int]:
    """Serve it; returns the runner to clean up and the port in use (0 asks for a free one)."""
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    await web.TCPSite(runner, host, port).start()
    return runner, int(runner.addresses[0][1])
