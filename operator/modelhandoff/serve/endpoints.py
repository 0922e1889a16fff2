"""The HTTP face: Open Inference Protocol v2, one route of named features, metrics.

Every answer, refusals and probes included, carries the model version and the request's id.
Every error is ``{"error": "<one line>"}``.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from modelhandoff.serve.batching import TooManyWaiting
from modelhandoff.serve.contract import named_rows
from modelhandoff.serve.metrics import CONTENT_TYPE
from modelhandoff.serve.model import ModelFailed
from modelhandoff.serve.refusals import Refused, Rule, shown
from modelhandoff.serve.service import Service, Serving, State
from modelhandoff.serve.settings import ContractMode
from modelhandoff.serve.tensors import Feeds, decode_request, encode_outputs, wanted_outputs

log = logging.getLogger(__name__)
MAX_REQUEST_ID = 200
MAX_NESTING_HINT = "JSON nested too deeply"


def _body(
    document: Any, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=json.dumps(document, separators=(",", ":"), allow_nan=False).encode(),
        status=status,
        content_type="application/json",
        headers=headers,
    )


def _error(status: int, message: str) -> web.Response:
    retry = {"Retry-After": "1"} if status in {429, 503} else None
    return _body({"error": message}, status, retry)


class Endpoints:
    """Handlers over one service.

    Args:
        service: the served model.
        clock: monotonic seconds, for the duration histogram.
        new_id: makes a request id when the client sent none.
    """

    def __init__(
        self,
        service: Service,
        *,
        clock: Callable[[], float] = time.perf_counter,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._service = service
        self._settings = service.settings
        self._clock = clock
        self._new_id = new_id
        self._uncounted = {
            self._live,
            self._ready,
            self._server_metadata,
            self._model_ready,
            self._model_metadata,
            self._metrics,
        }

    def application(self) -> web.Application:
        """The public application."""
        app = web.Application(
            client_max_size=self._settings.max_body, middlewares=[self._account_for]
        )
        name = "/v2/models/{name}"
        versioned = name + "/versions/{version}"
        app.router.add_get("/v2", self._server_metadata)
        app.router.add_get("/v2/health/live", self._live)
        app.router.add_get("/v2/health/ready", self._ready)
        for base in (name, versioned):
            app.router.add_get(base, self._model_metadata)
            app.router.add_get(f"{base}/ready", self._model_ready)
            app.router.add_post(f"{base}/infer", self._infer)
        if self._settings.route:
            app.router.add_post(self._settings.route, self._score)
        if self._settings.metrics_port is None:
            app.router.add_get("/metrics", self._metrics)
        return app

    def metrics_application(self) -> web.Application:
        """The application of the metrics port."""
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        return app

    # --- around every request ---------------------------------------------------------------

    @property
    def _account_for(self) -> Any:
        @web.middleware
        async def account_for(request: web.Request, handler: Handler) -> web.StreamResponse:
            start = self._clock()
            response = await self._answer(request, handler)
            headers = response.headers
            headers[self._settings.version_header] = self._settings.model_version
            headers[self._settings.request_id_header] = self._request_id(request)
            if self._service.state is State.DRAINING:
                response.force_close()
            if request.match_info.handler not in self._uncounted:
                self._service.metrics.answered(response.status, self._clock() - start)
            return response

        return account_for

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        try:
            return await handler(request)
        except Refused as refused:
            if refused.field is not None and refused.rule is not None:
                self._service.metrics.violated(refused.field, refused.rule)
            return _error(refused.status, str(refused))
        except ModelFailed as failed:
            log.warning("%s: the model failed: %s", request.path, failed)
            return _error(500, f"model {self._settings.model_name} failed on this input: {failed}")
        except TooManyWaiting:
            return _error(
                429, f"too many requests waiting; allowed {self._settings.batch.max_pending}"
            )
        except web.HTTPRequestEntityTooLarge:
            return _error(413, f"body too large; allowed {self._settings.max_body} bytes")
        except web.HTTPException as error:
            return _error(error.status, f"{request.method} {request.path[:200]}: {error.reason}")
        except Exception:
            log.exception("%s: unexpected failure", request.path)
            return _error(500, "internal error")

    def _request_id(self, request: web.Request) -> str:
        given = request.headers.get(self._settings.request_id_header, "")
        printable = given.isascii() and given.isprintable()
        return given if given and printable and len(given) <= MAX_REQUEST_ID else self._new_id()

    # --- probes and metadata, never counted -------------------------------------------------

    async def _live(self, _request: web.Request) -> web.Response:
        return _body({"live": True})

    async def _ready(self, _request: web.Request) -> web.Response:
        ready = self._service.ready
        body = {"ready": ready, "state": self._service.state.value}
        return _body(body, 200 if ready else 503)

    async def _server_metadata(self, _request: web.Request) -> web.Response:
        try:
            release = version("modelhandoff")
        except PackageNotFoundError:
            release = "unknown"
        return _body({"name": "modelhandoff-serve", "version": release, "extensions": []})

    async def _model_ready(self, request: web.Request) -> web.Response:
        self._check_model(request)
        ready = self._service.ready
        return _body({"name": self._settings.model_name, "ready": ready}, 200 if ready else 503)

    async def _model_metadata(self, request: web.Request) -> web.Response:
        self._check_model(request)
        model = self._serving().model
        return _body(
            {
                "name": self._settings.model_name,
                "versions": [self._settings.model_version],
                "platform": "onnx_onnxv1",
                "inputs": [spec.as_json() for spec in model.inputs],
                "outputs": [spec.as_json() for spec in model.outputs],
            }
        )

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(
            body=self._service.metrics.exposition(), headers={"Content-Type": CONTENT_TYPE}
        )

    # --- inference --------------------------------------------------------------------------

    async def _infer(self, request: web.Request) -> web.Response:
        self._check_model(request)
        serving = self._serving()
        document = await _json(request)
        feeds = decode_request(document, serving.model.inputs, max_rows=self._settings.max_rows)
        identifier = document.get("id")
        if identifier is not None and not isinstance(identifier, str):
            raise Refused(f"id: must be a string; got {shown(identifier)}")
        chosen = wanted_outputs(document, serving.model.outputs)
        outputs = await self._predict(serving, feeds)
        answer: dict[str, Any] = {
            "model_name": self._settings.model_name,
            "model_version": self._settings.model_version,
        }
        if identifier is not None:
            answer["id"] = identifier
        answer["outputs"] = encode_outputs(outputs, serving.model.outputs, chosen)
        return _finite(answer)

    async def _score(self, request: web.Request) -> web.Response:
        serving = self._serving()
        document = await _json(request)
        named = named_rows(document, max_rows=self._settings.max_rows)
        feeds = serving.contract.feeds_from_rows(named.rows, named.paths)
        outputs = await self._predict(serving, feeds)
        answers: list[dict[str, Any]] = [*serving.contract.output_values(outputs)]
        if len(answers) != len(named.rows):
            raise ModelFailed("the model did not answer row by row")
        if self._settings.abstain_output:
            for answer in answers:
                answer["abstained"] = self._abstains(answer[self._settings.abstain_output])
        head = {
            "model_name": self._settings.model_name,
            "model_version": self._settings.model_version,
        }
        return _finite(
            {**head, **({"outputs": answers[0]} if named.single else {"predictions": answers})}
        )

    async def _predict(self, serving: Serving, feeds: Feeds) -> Feeds:
        """Contract, queue, model, and what the metrics must know of all three."""
        metrics, settings = self._service.metrics, self._settings
        inspection = serving.contract.inspect(feeds)
        for violation in inspection.violations:
            metrics.violated(violation.field, violation.rule)
        refuse_all = settings.contract is ContractMode.REFUSE
        for violation in inspection.violations:
            if refuse_all or violation.rule is Rule.MISSING:
                raise Refused(violation.message)
        for name, value in inspection.values:
            metrics.feature(name, value)
        rows = max((array.shape[0] for array in feeds.values() if array.ndim), default=1)
        try:
            async with asyncio.timeout(settings.request_timeout):
                outputs = await serving.batcher.submit(feeds, rows)
        except TimeoutError:
            message = f"no answer within {settings.request_timeout:g} s"
            raise Refused(message, status=503) from None
        abstained = 0
        for row in serving.contract.output_values(outputs):
            for name, value in row.items():
                metrics.output(name, value)
                abstained += name == settings.abstain_output and self._abstains(value)
        metrics.abstained(abstained)
        return outputs

    def _abstains(self, confidence: float) -> bool:
        return confidence < self._settings.abstain_below

    def _check_model(self, request: web.Request) -> None:
        name = request.match_info["name"]
        if name != self._settings.model_name:
            raise Refused(
                f"no such model; got {shown(name)}; allowed {self._settings.model_name!r}",
                status=404,
            )
        asked = request.match_info.get("version", self._settings.model_version)
        if asked != self._settings.model_version:
            raise Refused(
                f"no such version; got {shown(asked)}; allowed {self._settings.model_version!r}",
                status=404,
            )

    def _serving(self) -> Serving:
        serving = self._service.serving
        if serving is None:
            raise Refused(f"not ready: {self._service.state.value}", status=503)
        return serving


async def _json(request: web.Request) -> Any:
    if "Inference-Header-Content-Length" in request.headers:
        raise Refused("binary tensors are not supported; allowed JSON data")
    raw = await request.read()
    try:
        return json.loads(raw)
    except RecursionError:
        raise Refused(f"body: {MAX_NESTING_HINT}") from None
    except ValueError as error:
        raise Refused(f"body: not JSON; got {str(error)[:120]}") from None


def _finite(answer: Mapping[str, Any]) -> web.Response:
    """The answer, unless it holds a number that JSON does not know."""
    try:
        return _body(answer)
    except ValueError:
        raise ModelFailed("an output is not a finite number") from None
