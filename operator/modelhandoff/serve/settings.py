"""The server's options: a command-line flag and an environment variable each.

``--latency-budget`` is ``MODELHANDOFF_LATENCY_BUDGET`` and so on; a flag wins over its
variable. Times are seconds (``0.03``) or carry a unit (``30ms``, ``5s``, ``1m``).
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, NoReturn

from modelhandoff.serve.batching import BatchLimits
from modelhandoff.serve.metrics import DEFAULT_LATENCY_EDGES, latency_edges

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?|\.[0-9]+)(ms|s|m|h)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, None: 1.0}
MAX_LATENCY_EDGES = 60


class ContractMode(StrEnum):
    """What happens to a request whose values are out of the declared range or categories."""

    OBSERVE = "observe"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything the server is told from outside. Times in seconds, sizes in bytes."""

    model_dir: Path
    model_file: str | None
    model_name: str
    model_version: str
    host: str
    port: int
    metrics_port: int | None
    reference: Path | None
    examples: Path | None
    route: str | None
    latency_edges: tuple[float, ...]
    intra_op_threads: int
    batch: BatchLimits
    max_body: int
    max_rows: int
    request_timeout: float
    warmup_requests: int
    drain_wait: float
    drain_timeout: float
    contract: ContractMode
    abstain_output: str | None
    abstain_below: float
    request_id_header: str
    version_header: str


def seconds(text: str) -> float:
    """A duration in seconds from ``0.03``, ``30ms``, ``5s``, ``1m`` or ``1h``."""
    match = _DURATION.fullmatch(text.strip())
    if match is None:
        raise argparse.ArgumentTypeError(f"no duration: got {text!r}; allowed 0.03, 30ms, 5s, 1m")
    # Rounded so that 30ms is the float 0.03, the bucket label everybody else computes.
    return round(float(match[1]) * _SECONDS[match[2]], 9)


def _times(text: str) -> tuple[float, ...]:
    times = tuple(seconds(part) for part in text.split(",") if part.strip())
    if not times or min(times) <= 0 or len(times) > MAX_LATENCY_EDGES:
        raise argparse.ArgumentTypeError(
            f"must be 1 to {MAX_LATENCY_EDGES} durations above 0, separated by commas; got {text!r}"
        )
    return times


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"got {text!r}; allowed {low}..{high}")
        return value

    return parse


def _route(text: str) -> str:
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text) or text.split("/")[1] in {"v2", "metrics"}:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed a plain path such as /score, not below /v2 or /metrics"
        )
    return text


def _header(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", text):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed letters, digits and hyphens")
    return text


class _OneLineParser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def parse(argv: Sequence[str], environ: Mapping[str, str]) -> Settings:
    """Settings from flags and environment.

    Exits with status 2 and one line on standard error when a value is missing or not allowed.
    """
    parser = _OneLineParser(
        prog="modelhandoff-serve",
        description="Serve one ONNX model over the Open Inference Protocol v2.",
        epilog="Every option can be given as MODELHANDOFF_<NAME> in the environment.",
    )

    def option(
        flag: str, default: str | None = None, *, required: bool = False, **more: Any
    ) -> None:
        name = "MODELHANDOFF_" + flag.removeprefix("--").replace("-", "_").upper()
        given = environ.get(name) or default
        parser.add_argument(flag, default=given, required=required and given is None, **more)

    model_dir = environ.get("MODEL_DIR")
    option("--model-dir", model_dir, required=True, type=Path, help="directory of the artifacts")
    option("--model-file", help="file in it; default: the only *.onnx")
    option("--model-name", required=True, help="name in /v2/models/<name>")
    option("--model-version", required=True, help="version in answers and paths")
    option("--host", "0.0.0.0", help="address to listen on")  # noqa: S104 (a pod's server)
    option("--port", "8080", type=_whole(0, 65535))
    option("--metrics-port", type=_whole(0, 65535), help="serve /metrics there instead")
    option("--reference", type=Path, help="reference.json; relative to the model directory")
    option("--examples", type=Path, help="warm-up requests; default golden.jsonl if present")
    option("--route", type=_route, help="path of the route that takes named features")
    option("--latency-edges", type=_times, help="base borders of the duration histogram")
    option("--latency-budget", type=_times, help="budgets, each made a border")
    option("--intra-op-threads", "1", type=_whole(1, 256))
    option("--workers", "1", type=_whole(1, 64), help="model calls at a time")
    option("--max-batch", "16", type=_whole(1, 4096), help="rows per shared call")
    option("--batch-wait", "0", type=seconds, help="time an idle worker waits for company")
    option("--max-pending", "256", type=_whole(1, 100_000), help="above it: 429")
    option("--max-body", str(4 * 1024 * 1024), type=_whole(1, 2**30), help="above it: 413")
    option("--max-rows", "1024", type=_whole(1, 2**20), help="rows per request")
    option("--request-timeout", "30s", type=seconds, help="above it: 503")
    option("--warmup-requests", "20", type=_whole(1, 10_000))
    option("--drain-wait", "5s", type=seconds, help="serve on after readiness has failed")
    option("--drain-timeout", "20s", type=seconds, help="time for requests in flight")
    option("--contract", "observe", type=ContractMode, help="observe or refuse")
    option("--abstain-output", help="reference output that carries the confidence")
    option("--abstain-below", "0.5", type=float, help="below it the model abstains")
    option("--request-id-header", "X-Request-Id", type=_header)
    option("--version-header", "X-Model-Version", type=_header)
    args = parser.parse_args(argv)
    if args.route and not args.reference:
        parser.error("--route needs --reference: it names the features")
    if args.abstain_output and not args.reference:
        parser.error("--abstain-output needs --reference: it names the outputs")
    examples = args.examples
    if examples is None and (args.model_dir / "golden.jsonl").is_file():
        examples = Path("golden.jsonl")
    return Settings(
        model_dir=args.model_dir,
        model_file=args.model_file,
        model_name=args.model_name,
        model_version=args.model_version,
        host=args.host,
        port=args.port,
        metrics_port=None if args.metrics_port == args.port != 0 else args.metrics_port,
        # Joining an absolute path to a directory yields the absolute path.
        reference=args.model_dir / args.reference if args.reference else None,
        examples=args.model_dir / examples if examples else None,
        route=args.route,
        latency_edges=latency_edges(
            args.latency_edges or DEFAULT_LATENCY_EDGES, args.latency_budget or ()
        ),
        intra_op_threads=args.intra_op_threads,
        batch=BatchLimits(args.max_batch, args.batch_wait, args.workers, args.max_pending),
        max_body=args.max_body,
        max_rows=args.max_rows,
        request_timeout=args.request_timeout,
        warmup_requests=args.warmup_requests,
        drain_wait=args.drain_wait,
        drain_timeout=args.drain_timeout,
        contract=args.contract,
        abstain_output=args.abstain_output,
        abstain_below=args.abstain_below,
        request_id_header=args.request_id_header,
        version_header=args.version_header,
    )
