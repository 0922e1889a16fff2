"""Ending TLS connections now: an event loop that ends with its test cannot wait for farewells."""

from __future__ import annotations

import asyncio

import aiohttp


def abort(answer: aiohttp.ClientResponse) -> None:
    """End the connection of an answer that is still being read."""
    if answer.connection is not None and answer.connection.transport is not None:
        answer.connection.transport.abort()


async def close(session: aiohttp.ClientSession) -> None:
    """Close a session and every connection in its pool."""
    if session.connector is not None:
        await session.connector.close(abort_ssl=True)
    await session.close()
    for _ in range(5):  # An aborted transport tells its protocol in the next turns of the loop.
        await asyncio.sleep(0)
