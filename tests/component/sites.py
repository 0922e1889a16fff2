"""Where a world's API is: in this process, or a real API server behind a proxy.

Stories are told to :class:`tests.component.world.World` and do not know which it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol

from kubernetes.aio.client.configuration import Configuration

from tests.clocks import START
from tests.component.fakeapi.faults import Faults
from tests.component.fakeapi.objects import Change, Reads, Write
from tests.component.fakeapi.server import Server
from tests.component.hands import DirectHand, Hand

NAMESPACE = "payments"
NOBODY = Path(__file__).with_name("fakeapi") / "nobody.pem"
"""A certificate whose key nobody has."""

OnWrite = Callable[[Write], None]


class Site(Protocol):
    """An API with everything a test does to it from outside.

    Attributes:
        namespace: where the handoffs of this world are.
        begin: when the world's clock starts.
        objects: what is stored.
        faults: what goes wrong with the operator's requests.
        on_write: told of every committed write of the operator, before its reply goes out.
        hold_watches: cleared, the operator's watches deliver nothing.
    """

    namespace: str
    begin: datetime
    objects: Reads
    faults: Faults
    on_write: list[OnWrite]
    hold_watches: asyncio.Event

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def configuration(self) -> Configuration:
        """How the operator reaches it."""
        ...

    def settings(self) -> dict[str, Any]:
        """Settings of an operator here."""
        ...

    def hand(self, actor: str) -> Hand: ...

    def restless(self) -> str:
        """What is on its way at this moment; "" when nothing is."""
        ...

    def drop_watches(self) -> None:
        """Cut every watch of the operator."""
        ...

    def expire_watches(self) -> None:
        """Tell every watch of the operator that its version is too old (410)."""
        ...


class FakeSite(Server):
    """The API in this process."""

    def __init__(self) -> None:
        super().__init__()
        self.namespace = NAMESPACE
        self.begin = START
        self.on_write: list[OnWrite] = []
        self.objects.listeners.append(self._committed)

    def configuration(self) -> Configuration:
        configuration = Configuration()
        configuration.host = self.url
        # Not needed for plain HTTP; one certificate loads faster than the machine's collection.
        configuration.ssl_ca_cert = str(NOBODY)
        return configuration

    def settings(self) -> dict[str, Any]:
        return {"lease_namespace": "ops"}

    def hand(self, actor: str) -> Hand:
        return DirectHand(self.objects, actor)

    def restless(self) -> str:
        return "" if self.delivered else "watch events are on their way"

    def _committed(self, _: Change) -> None:
        write = self.objects.writes[-1]
        for listener in list(self.on_write):
            listener(write)
