"""What every router can do: read routes for a decision, and write one decision down."""

from __future__ import annotations

from typing import Protocol

from modelhandoff.cluster.routing import RouteReader, RouteWriter


class Router(RouteReader, RouteWriter, Protocol):
    """A way for weights to become traffic."""
