"""Structured logs: one JSON object a line, with the handoff it is about."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

_handoff: ContextVar[str] = ContextVar("handoff", default="")

QUIET = ("kopf", "aiohttp", "asyncio", "kubernetes", "urllib3")
"""Libraries that are heard from warnings on: they log every event otherwise."""


@contextmanager
def about(handoff: object) -> Iterator[None]:
    """Everything logged inside carries this handoff's key."""
    token = _handoff.set(str(handoff))
    try:
        yield
    finally:
        _handoff.reset(token)


class JsonLines(logging.Formatter):
    """A record as one line of JSON: time, level, logger, handoff, message, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
        }
        handoff = _handoff.get()
        if handoff:
            line["handoff"] = handoff
        line["message"] = record.getMessage()
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def configure(level: str, stream: TextIO | None = None) -> None:
    """Log to ``stream`` (standard error) as JSON lines, replacing what was configured before."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
