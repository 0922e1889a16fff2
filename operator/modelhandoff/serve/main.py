"""``modelhandoff-serve``: listen at once, be ready when warm, leave without losing a request.

Exit status: 0 after a drain, 1 when the model cannot be served, 2 for a wrong option. The last
line on standard error says why; with ``terminationMessagePolicy: FallbackToLogsOnError`` it is
what ``kubectl describe pod`` shows.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from datetime import UTC, datetime

from aiohttp import web

from modelhandoff.serve.endpoints import Endpoints
from modelhandoff.serve.model import ModelUnusable
from modelhandoff.serve.reference import BadReference
from modelhandoff.serve.service import Service
from modelhandoff.serve.settings import Settings, parse

log = logging.getLogger(__name__)
KEEP_ALIVE = 3900.0
"""Seconds an idle connection is kept. Longer than a gateway's own hour (Envoy's default), so that
it is never us who close a pooled connection just as the next request is being written to it."""
UNUSABLE = (ModelUnusable, BadReference)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line)


class Listener:
    """The open ports of one service.

    Args:
        service: the served model.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        settings = service.settings
        endpoints = Endpoints(service)
        self._runners = [self._runner(endpoints.application())]
        self._ports = [settings.port]
        if settings.metrics_port is not None:
            self._runners.append(self._runner(endpoints.metrics_application()))
            self._ports.append(settings.metrics_port)

    def _runner(self, app: web.Application) -> web.AppRunner:
        return web.AppRunner(
            app,
            access_log=None,
            keepalive_timeout=KEEP_ALIVE,
            shutdown_timeout=self._service.settings.drain_timeout,
        )

    async def open(self) -> list[int]:
        """Listen; the ports taken (the public one first), which matters when 0 was asked for."""
        taken: list[int] = []
        for runner, port in zip(self._runners, self._ports, strict=True):
            await runner.setup()
            await web.TCPSite(runner, self._service.settings.host, port, backlog=512).start()
            taken.append(runner.addresses[0][1])
        return taken

    async def drain(self) -> None:
        """Fail readiness, serve on while the news spreads, then finish what is in flight."""
        self._service.start_draining()
        await asyncio.sleep(self._service.settings.drain_wait)
        await self._runners[0].cleanup()
        # Metrics last, so that a final scrape still sees the requests of the drain.
        for runner in self._runners[1:]:
            await runner.cleanup()
        await self._service.close()


async def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises:
        ModelUnusable, BadReference: nothing can be served.
    """
    service = Service(settings)
    listener = Listener(service)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    ports = await listener.open()
    log.info("listening on %s, loading %s", ports, settings.model_dir)
    load = asyncio.create_task(service.load())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({load, stopped}, return_when=asyncio.FIRST_COMPLETED)
    if load.done():
        load.result()
        log.info("ready: %s %s", settings.model_name, settings.model_version)
        await stopped
    else:
        # Nobody was ever sent here, so there is nothing to drain; a load cannot be interrupted.
        log.info("stopped while loading")
        os._exit(0)
    log.info("draining")
    await listener.drain()
    log.info("drained")


def run() -> None:
    """Console entry point."""
    settings = parse(sys.argv[1:], os.environ)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    try:
        asyncio.run(serve(settings))
    except (*UNUSABLE, OSError) as error:
        print(f"modelhandoff-serve: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    run()
