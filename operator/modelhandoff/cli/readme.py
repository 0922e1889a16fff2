"""``modelhandoff readme FILE``: the handoff README, generated from the resource."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from modelhandoff.api.handoff import ModelHandoffSpec
    from modelhandoff.report.readme import Outlook

LEVELS: Final = (1.0, 10.0, 100.0)
"""Requests per second that the proofs are planned at when nobody says what there will be."""
BINS: Final = 20
"""Bins of a drift histogram, as ``modelhandoff plan`` assumes them."""


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("readme")(readme)


def readme(
    handoff: Annotated[Path, typer.Argument(help="YAML file with the ModelHandoff.")],
    policy: Annotated[Path | None, typer.Option(help="YAML file with the HandoffPolicy.")] = None,
    traffic: Annotated[
        str, typer.Option(help="Requests of both versions: 60/s. 1, 10 and 100/s when not set.")
    ] = "",
) -> None:
    """Write the handoff README: the whole resource as one Markdown document for people.

    Offline and repeatable: the same file gives the same bytes.
    """
    from modelhandoff.cli import inputs

    manifest, spec = inputs.read_handoff(handoff, policy)
    levels = (inputs.traffic(traffic),) if traffic else LEVELS
    typer.echo(text(manifest, spec, levels), nl=False)


def text(manifest: Mapping[str, Any], spec: ModelHandoffSpec, levels: Sequence[float]) -> str:
    """The document. ``spec`` is the manifest's, resolved; ``levels`` in requests per second."""
    from pydantic import ValidationError

    from modelhandoff.api.handoff import ModelHandoffStatus
    from modelhandoff.report import to_markdown
    from modelhandoff.report.readme import Subject, compose_readme

    meta = manifest.get("metadata") or {}
    try:
        status = ModelHandoffStatus.model_validate(manifest.get("status") or {})
    except ValidationError:
        # Written by another version: a README without the state is better than none.
        status = ModelHandoffStatus()
    seen = status.observed_generation
    subject = Subject(
        name=str(meta.get("name") or ""),
        namespace=str(meta.get("namespace") or "default"),
        spec=spec,
        annotations={str(k): str(v) for k, v in (meta.get("annotations") or {}).items()},
        status=status if seen >= 0 else None,
        current=seen >= 0 and seen == int(meta.get("generation") or 0),
        outlooks=tuple(_outlooks(spec, levels)),
    )
    return to_markdown(compose_readme(subject))


def _outlooks(spec: ModelHandoffSpec, levels: Sequence[float]) -> Iterator[Outlook]:
    from modelhandoff.analysis import WireError
    from modelhandoff.analysis.forecast import forecast
    from modelhandoff.cli import inputs
    from modelhandoff.report.readme import Outlook
    from modelhandoff.rollout.judging import plan_of

    try:
        plan = plan_of(spec, inputs.even_bins(spec, BINS))
    except WireError:
        return  # `plan` and `lint` say why; the README has the terms all the same.
    rates = inputs.baseline_rates(spec.monitoring.metrics, {}, "")
    seconds = spec.monitoring.interval.total_seconds()
    for level in levels:
        yield Outlook(level, forecast(plan, level * seconds, rates))
