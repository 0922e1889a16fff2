"""One served model from start to end: load, warm up, serve, drain."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from enum import StrEnum

from modelhandoff.serve.batching import Batcher
from modelhandoff.serve.contract import Contract, bind
from modelhandoff.serve.metrics import ServerMetrics
from modelhandoff.serve.model import ModelUnusable, OnnxModel, find_model, load_model
from modelhandoff.serve.reference import BadReference, load_reference
from modelhandoff.serve.settings import Settings
from modelhandoff.serve.tensors import Feeds
from modelhandoff.serve.warmup import (
    BadExamples,
    WarmedUp,
    read_examples,
    synthetic_examples,
    warm_up,
)

log = logging.getLogger(__name__)


class State(StrEnum):
    """Where the server is in its life; only ``READY`` passes the readiness probe."""

    LOADING = "Loading"
    WARMING_UP = "WarmingUp"
    READY = "Ready"
    DRAINING = "Draining"


@dataclass(frozen=True, slots=True)
class Serving:
    """What exists once the model has been loaded and has answered."""

    model: OnnxModel
    contract: Contract
    batcher: Batcher


class Service:
    """The served model and its state; knows no HTTP.

    Args:
        settings: the server's options.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = ServerMetrics(
            settings.model_name, settings.model_version, settings.latency_edges
        )
        self.state = State.LOADING
        self.serving: Serving | None = None

    @property
    def ready(self) -> bool:
        """Whether traffic should come here."""
        return self.state is State.READY

    async def load(self) -> None:
        """Load the model, warm it up, become ready.

        Raises:
            ModelUnusable: the file is no usable model, or it failed on every example.
            BadReference: the reference file is malformed or names other tensors.
        """
        settings = self.settings
        path = find_model(settings.model_dir, settings.model_file)
        model = await asyncio.to_thread(
            load_model, path, intra_op_threads=settings.intra_op_threads
        )
        stamped = model.metadata.get("version")
        if stamped is not None and stamped != settings.model_version:
            # Not an error: the same bytes may be handed over under a new version.
            log.warning("%s says version %s, served as %s", path, stamped, settings.model_version)
        reference = load_reference(settings.reference) if settings.reference else None
        contract = bind(model.inputs, model.outputs, reference)
        self._check_names(contract)
        self.metrics.add_inputs(spec.name for spec in model.inputs)
        if reference is not None:
            self.metrics.add_reference(reference)
        if self.state is State.LOADING:
            self.state = State.WARMING_UP
        warm = await asyncio.to_thread(self._warm_up, model, contract)
        log.info(
            "warmed up: %d calls, %d failed, rows %s",
            warm.calls,
            warm.failures,
            "may share a call" if warm.joins_rows else "run alone",
        )
        batcher = Batcher(
            model, settings.batch, joins_rows=warm.joins_rows, on_call=self.metrics.ran
        )
        self.serving = Serving(model, contract, batcher)
        # A drain that began during a long load must not be undone.
        if self.state is State.WARMING_UP:
            self.state = State.READY

    def _check_names(self, contract: Contract) -> None:
        settings = self.settings
        if settings.route and not contract.named_route:
            raise BadReference(
                f"{settings.reference}: features must cover every column of the model's inputs "
                f"for the route {settings.route}"
            )
        names = sorted(output.name for output in contract.outputs)
        if settings.abstain_output and settings.abstain_output not in names:
            raise BadReference(
                f"{settings.reference}: outputs: no such output to abstain by; "
                f"got {settings.abstain_output!r}; allowed {names}"
            )

    def _warm_up(self, model: OnnxModel, contract: Contract) -> WarmedUp:
        settings = self.settings
        examples: list[Feeds] = []
        if settings.examples is not None:
            try:
                examples = read_examples(settings.examples, contract, max_rows=settings.max_rows)
            except BadExamples as error:
                # Judging the test data is the verification's business; serving goes on.
                log.warning("warming up with synthetic requests instead: %s", error)
        if not examples:
            # Invented values may well be ones the model fails on: that proves nothing.
            warm = warm_up(model, synthetic_examples(contract), settings.warmup_requests)
            if warm.failures == warm.calls:
                log.warning("every synthetic warm-up call failed: %s", warm.last_failure)
            return warm
        warm = warm_up(model, examples, settings.warmup_requests)
        if warm.failures == warm.calls:
            raise ModelUnusable(
                f"{settings.examples}: the model failed on every example; got {warm.last_failure}"
            )
        return warm

    def start_draining(self) -> None:
        """Fail readiness from now on; requests are still served."""
        self.state = State.DRAINING

    async def close(self) -> None:
        """Free the workers. Call it when no request is in flight any more."""
        if self.serving is not None:
            await self.serving.batcher.close()
