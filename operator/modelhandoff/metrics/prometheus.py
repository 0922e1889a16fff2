"""One question to one Prometheus: bounded in time, bytes and series, and every failure named.

``prometheus_api_client`` has no default timeout, drops the result type and the warnings, puts
POST queries into the URL, retries with sleeps and reads bodies of any size. This subclass keeps
its session and address handling and asks by itself.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import requests
from prometheus_api_client.prometheus_connect import PrometheusConnect
from urllib3.exceptions import HTTPError as TransportError
from urllib3.exceptions import ReadTimeoutError
from urllib3.util.retry import Retry

from modelhandoff.errors import cut
from modelhandoff.metrics.samples import NAME, Labels, Series
from modelhandoff.metrics.trouble import MetricsError, Trouble

__all__ = ["Endpoint", "OnQuery", "PrometheusEndpoint", "Source"]

OnQuery = Callable[[str, str, float], None]
"""Told of every query in the event loop: source, ``Answered`` or the trouble, seconds."""

ANSWERED: Final = "Answered"

_CHUNK: Final = 1 << 16
_QUERY_SHOWN: Final = 300
_TOO_HEAVY: Final = (413, 414, 422)


@dataclass(frozen=True, slots=True)
class Source:
    """A metric source that the platform configured.

    Attributes:
        name: what handoffs call it.
        url: base address of the HTTP API.
        timeout: seconds for one whole answer, connecting included.
        max_series: most series in one answer.
        max_bytes: most bytes in one answer, decoded.
        max_in_flight: most questions at a time.
        labels: names of the target labels in its scrape configuration.
        token_file: file with a bearer token, read anew for every question (tokens rotate).
        ca_file: certificate authority for https, the usual ones if ``None``.
    """

    name: str
    url: str
    timeout: float = 10.0
    max_series: int = 20_000
    max_bytes: int = 64 * 1024 * 1024
    max_in_flight: int = 8
    labels: Labels = field(default_factory=Labels)
    token_file: Path | None = None
    ca_file: Path | None = None


class PrometheusEndpoint(PrometheusConnect):
    """The client library, with every bound in place. Blocking; safe for several threads."""

    def __init__(self, source: Source, monotonic: Callable[[], float]) -> None:
        super().__init__(
            url=source.url.rstrip("/"),
            retry=Retry(total=0, redirect=False, raise_on_status=False),
            method="POST",
        )
        self._source = source
        self._monotonic = monotonic
        # Nothing from the environment: no proxy, no .netrc.
        self._session.trust_env = False
        if source.ca_file is not None:
            self._session.verify = str(source.ca_file)

    def ask(self, query: str, at: int) -> tuple[Series, ...]:
        """Evaluate a range selector at ``at`` (Unix milliseconds).

        Raises:
            MetricsError: anything but a complete, clean matrix; the message names the query.
        """
        try:
            return self._ask(query, at)
        except MetricsError as error:
            raise MetricsError(
                error.trouble, f"{self._source.name}: {error}; query {cut(query, _QUERY_SHOWN)}"
            ) from None

    def _ask(self, query: str, at: int) -> tuple[Series, ...]:
        source = self._source
        form = {
            "query": query,
            "time": f"{at / 1000:.3f}",
            "timeout": f"{max(round(source.timeout * 1000), 1)}ms",
            # One more than allowed, so that Prometheus stops early and the excess still shows.
            "limit": str(source.max_series + 1),
        }
        deadline = self._monotonic() + source.timeout
        try:
            with self._session.post(
                f"{self.url}/api/v1/query",
                data=form,
                headers=self._headers(),
                stream=True,
                timeout=source.timeout,
                allow_redirects=False,
            ) as response:
                body = self._read(response, deadline)
                return parse(response.status_code, body, source.max_series)
        except requests.Timeout:
            raise self._late() from None
        except requests.ConnectionError as error:
            raise MetricsError(
                Trouble.REFUSED, f"cannot connect to {self.url}: {_cause(error)}"
            ) from None
        except requests.RequestException as error:
            raise MetricsError(
                Trouble.MISCONFIGURED, f"cannot ask {self.url}: {cut(error, 160)}"
            ) from None

    def _headers(self) -> dict[str, str]:
        headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
        if self._source.token_file is not None:
            try:
                token = self._source.token_file.read_text(encoding="ascii").strip()
            except (OSError, ValueError) as error:
                raise MetricsError(
                    Trouble.MISCONFIGURED, f"cannot read the token: {cut(error)}"
                ) from None
            headers["Authorization"] = f"Bearer {token}"
        return headers

    def _read(self, response: requests.Response, deadline: float) -> bytes:
        limit = self._source.max_bytes
        body = bytearray()
        try:
            # read1 returns after every packet, so that a server that drips bytes meets the
            # deadline; read and iter_content would wait for a full chunk.
            while chunk := response.raw.read1(_CHUNK, decode_content=True):
                body += chunk
                if len(body) > limit:
                    raise MetricsError(
                        Trouble.TOO_LARGE, f"the answer is larger than {limit} bytes"
                    )
                if self._monotonic() > deadline:
                    raise self._late()
        except ReadTimeoutError:
            raise self._late() from None
        except TransportError as error:
            raise MetricsError(
                Trouble.TRUNCATED,
                f"the answer broke off after {len(body)} bytes: {_cause(error)}",
            ) from None
        return bytes(body)

    def _late(self) -> MetricsError:
        return MetricsError(Trouble.TIMEOUT, f"no full answer within {self._source.timeout:g} s")


class Endpoint:
    """A Prometheus for asyncio: a bounded pool of threads in front of the blocking client."""

    def __init__(
        self,
        source: Source,
        monotonic: Callable[[], float],
        on_query: OnQuery = lambda *_: None,
    ) -> None:
        self.source = source
        self.asked = 0
        self._monotonic = monotonic
        self._on_query = on_query
        self._client = PrometheusEndpoint(source, monotonic)
        self._pool = ThreadPoolExecutor(source.max_in_flight, f"prometheus-{source.name}")

    async def ask(self, query: str, at: int) -> tuple[Series, ...]:
        """See :meth:`PrometheusEndpoint.ask`."""
        self.asked += 1
        loop = asyncio.get_running_loop()
        began, result = self._monotonic(), "Cancelled"
        try:
            found = await loop.run_in_executor(self._pool, self._client.ask, query, at)
            result = ANSWERED
            return found
        except MetricsError as error:
            result = str(error.trouble)
            raise
        finally:
            self._on_query(self.source.name, result, self._monotonic() - began)

    def close(self) -> None:
        """Let running questions end by their own timeout and drop the rest."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._client.close()


def parse(status: int, body: bytes, max_series: int) -> tuple[Series, ...]:
    """Read an answer of ``/api/v1/query``.

    Raises:
        MetricsError: it is not a complete matrix, or says itself that it is partial.
    """
    answer = _json(status, body)
    if status != 200 or answer.get("status") != "success":
        raise _refusal(status, answer)
    data = answer.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    if not isinstance(data, dict) or kind != "matrix" or not isinstance(data.get("result"), list):
        raise MetricsError(
            Trouble.WRONG_TYPE, f"the result type is {cut(kind)}; a range selector gives a matrix"
        )
    result = data["result"]
    if len(result) > max_series:
        raise MetricsError(Trouble.TOO_MANY_SERIES, f"more than {max_series} series in one answer")
    warnings = answer.get("warnings")
    if warnings:
        raise MetricsError(
            Trouble.WARNINGS, f"the answer may be partial, it warns: {cut(warnings, 200)}"
        )
    same: dict[str, str] = {}
    return tuple(_series(one, same) for one in result)


def _json(status: int, body: bytes) -> dict[str, Any]:
    text = body.lstrip()
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        shown = cut(text[:200].decode("utf-8", "replace"))
        if status != 200:
            heavy = status in _TOO_HEAVY
            raise MetricsError(
                Trouble.TOO_HEAVY if heavy else Trouble.HTTP_STATUS, f"HTTP {status}: {shown}"
            ) from None
        if text[:1] == b"{":
            raise MetricsError(
                Trouble.TRUNCATED, f"the JSON ends too early, after {len(body)} bytes"
            ) from None
        raise MetricsError(Trouble.NOT_JSON, f"not JSON but {shown or 'nothing'}") from None
    if not isinstance(answer, dict):
        raise MetricsError(Trouble.NOT_JSON, f"not an answer of Prometheus: {cut(answer)}")
    return answer


def _refusal(status: int, answer: dict[str, Any]) -> MetricsError:
    kind, said = answer.get("errorType"), cut(answer.get("error", ""), 160)
    message = f"HTTP {status} {cut(kind or '')}: {said}".replace(" :", ":")
    if kind in ("timeout", "canceled"):
        return MetricsError(Trouble.TIMEOUT, message)
    if status in _TOO_HEAVY or kind == "execution":
        return MetricsError(Trouble.TOO_HEAVY, message)
    if status == 400 or kind == "bad_data":
        return MetricsError(Trouble.BAD_QUERY, message)
    return MetricsError(Trouble.HTTP_STATUS, message)


def _series(one: Any, same: dict[str, str]) -> Series:
    """One series; equal texts become one object, since every series repeats its target."""
    try:
        if one.get("histograms"):
            raise MetricsError(
                Trouble.WRONG_TYPE,
                f"{cut(one['metric'])} is a native histogram; scrape classic buckets "
                "(always_scrape_classic_histograms)",
            )
        labels = {
            same.setdefault(label, label): same.setdefault(value, value)
            for label, value in one["metric"].items()
        }
        times = [round(at * 1000) for at, _ in one["values"]]
        values = [float(value) for _, value in one["values"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise MetricsError(Trouble.WRONG_TYPE, f"not a series: {cut(one)}") from None
    if any(a >= b for a, b in pairwise(times)):
        raise MetricsError(Trouble.WRONG_TYPE, f"samples out of order: {cut(one['metric'])}")
    return Series(labels.pop(NAME, ""), labels, tuple(times), tuple(values))


def _cause(error: BaseException) -> str:
    """The innermost reason, without the object addresses that the wrappers print."""
    while True:
        inner = error.__cause__ or error.__context__ or getattr(error, "reason", None)
        if not isinstance(inner, BaseException):
            return cut(error, 120)
        error = inner
