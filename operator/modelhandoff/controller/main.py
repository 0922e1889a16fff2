"""The operator as a process of its own: log, log in, run until told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from collections.abc import Callable

from modelhandoff.cluster import login
from modelhandoff.controller import logs
from modelhandoff.controller.clock import Clock, SystemClock
from modelhandoff.controller.process import Chances, Process
from modelhandoff.controller.settings import Settings
from modelhandoff.errors import HandoffError
from modelhandoff.metrics.collect import PrometheusCollector

log = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def main(settings: Settings, kubeconfig: str = "", context: str = "") -> int:
    """Run the operator; returns the exit code: 0 when stopped, 1 when it lost its lease."""
    logs.configure(settings.log_level)
    try:
        return asyncio.run(_run(settings, kubeconfig, context))
    except HandoffError as error:
        log.error("%s %s", error, error.user_action)
        return 1
    finally:
        sys.stderr.flush()


async def _run(settings: Settings, kubeconfig: str, context: str) -> int:
    stop = asyncio.Event()
    process = Process(
        settings,
        await login.configuration(kubeconfig, context),
        prometheus,
        Chances(SystemClock(), on_watching=lambda: _on_signals(stop.set)),
    )
    _on_signals(stop.set)
    return await process.run(stop)


def prometheus(clock: Clock) -> PrometheusCollector:
    """The collector of a real process; its sources are configured from the policies."""
    return PrometheusCollector((), clock.monotonic)


def _on_signals(stop: Callable[[], None]) -> None:
    """Stop in order on SIGTERM and SIGINT; asked again after kopf has put in its own handlers."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, stop)
