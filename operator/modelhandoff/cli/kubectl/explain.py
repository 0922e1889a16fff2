"""``explain``: the rule, its inputs and thresholds, the distance, what would flip the verdict."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from modelhandoff.analysis.judge import RISE_BELOW
from modelhandoff.api.vocabulary import CHECKLIST
from modelhandoff.cli.kubectl import bars, lookup
from modelhandoff.cli.kubectl.api import Api
from modelhandoff.cli.kubectl.judged import Judged, rejudge
from modelhandoff.cli.kubectl.printing import clock, mood, span
from modelhandoff.cli.kubectl.screen import console_for, plain, put
from modelhandoff.cli.kubectl.tree import STATES, STYLES, next_step
from modelhandoff.cli.kubectl.view import View, look
from modelhandoff.cli.kubectl.words import words
from modelhandoff.errors import cut

if TYPE_CHECKING:
    from modelhandoff.analysis.verdict import MetricVerdict


def show(api: Api, name: str, *, everywhere: bool) -> None:
    """Print the explanation."""
    console = console_for()
    view = look(api, lookup.find(api, name, everywhere=everywhere))
    put(console, render(view, ascii_only=plain(console)))


def render(view: View, *, ascii_only: bool = False) -> Group:
    """The whole explanation."""
    judged = rejudge(view.attempt, view.now) if view.attempt else None
    parts: list[Any] = [Text(view.sentence, f"bold {STYLES[mood(view.phase)]}"), Text()]
    reason = reason_of(view)
    said = words(reason)
    if said is not None:
        parts += [_line("Why", f"{reason}: {said.meaning}."), _line("Do", f"{said.remedy}.")]
    elif reason:
        parts.append(_line("Why", reason))
    action = next_step(view)
    if action:
        parts.append(_line("Next", action))
    if view.state.get("verdict"):
        meta = view.handoff["metadata"]
        whole = f"kubectl handoff report {meta['name']} -n {meta['namespace']}"
        parts.append(_line("Report", whole))
    parts += _rules(view, judged)
    parts += _checklist(view, ascii_only=ascii_only)
    parts += _metrics(view, judged, ascii_only=ascii_only)
    parts += _flips(view, judged, ascii_only=ascii_only)
    if judged is not None and judged.trouble:
        parts += [Text(), Text(f"From the status alone: {judged.trouble}.", "dim")]
    elif view.attempt is None and lookup.current_name(view.handoff):
        told = f"Attempt {lookup.current_name(view.handoff)} is gone: this is from the status."
        parts += [Text(), Text(told, "yellow")]
    return Group(*parts)


def reason_of(view: View) -> str:
    """The reason that explains the present state best."""
    latched = view.state.get("verdict") or {}
    if view.ended and latched:
        return str(latched.get("reason") or "")
    conditions = lookup.conditions_of(view.handoff)
    for kind in ("Stalled", "Paused"):
        found = conditions.get(kind) or {}
        if found.get("status") == "True":
            return str(found.get("reason") or "")
    withheld = view.state.get("withheld") or {}
    if withheld:
        return str(withheld.get("reason") or "")
    if view.state.get("unknownReason"):
        return str(view.state["unknownReason"])
    verdict = view.status.get("verdict") or {}
    if verdict.get("reason"):
        return str(verdict["reason"])
    return str((conditions.get("Reconciling") or {}).get("reason") or "")


def _line(label: str, told: str) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(width=9, no_wrap=True)
    grid.add_column(overflow="fold")
    grid.add_row(Text(label, "bold"), Text(told))
    return grid


def _head(told: str) -> list[Any]:
    return [Text(), Text(told, "bold underline")]


def _rules(view: View, judged: Judged | None) -> list[Any]:
    """The thresholds in force and where the evidence stands."""
    rollout = view.spec.get("rollout") or {}
    decision = rollout.get("decision") or {}
    harm, safe = float(decision.get("harmLevel", 0.01)), float(decision.get("safeLevel", 0.05))
    latched = view.state.get("verdict") or {}
    total = latched.get("totalE") or (
        judged.verdict.total_e if judged is not None and judged.verdict is not None else None
    )
    look = latched.get("look") or view.state.get("looks", 0)
    stands = ""
    if total is not None and look:
        stands = f" It {'stood' if latched else 'stands'} at {_evidence(total)} after {look} looks."
    out = _head("Rules")
    out.append(
        _line(
            "Back",
            (
                f"when the combined evidence of harm reaches {1 / harm:,.0f} (harmLevel {harm:g}: "
                f"at most {100 * harm:g} in 100 good candidates are ever rolled back).{stands}"
            ),
        )
    )
    out.append(
        _line(
            "On",
            (
                f"to the next step with evidence of harm below {RISE_BELOW:g}, at least "
                f"{decision.get('minLooks', 30)} looks in the step and the step's own minimums."
            ),
        )
    )
    people = " and a person says so" if decision.get("promotion") == "Manual" else ""
    out.append(
        _line(
            "Promote",
            (
                f"in the last step, once every guardrail is proven safe now: "
                f"evidence {1 / safe:,.0f} (safeLevel {safe:g}){people}."
            ),
        )
    )
    out.append(
        _line(
            "No data",
            (
                f"for {(rollout.get('onMetricsUnknown') or {}).get('holdFor', '10m')}: weight 0 "
                "until they are back. Silence never promotes."
            ),
        )
    )
    return out


def _checklist(view: View, *, ascii_only: bool) -> list[Any]:
    """The eight points, each with its reason and the next step."""
    counted = view.status.get("checklist") or {}
    if not counted:
        return []
    found = lookup.conditions_of(view.handoff)
    grid = Table.grid(padding=(0, 2, 0, 0))
    for at in range(3):
        grid.add_column(no_wrap=at < 2, overflow="fold")
    for kind in CHECKLIST:
        point = found.get(kind) or {}
        done = point.get("status") == "True"
        mark = ("ok" if done else "..") if ascii_only else ("✓" if done else "○")
        said = cut(point.get("message") or "", 400)
        grid.add_row(
            Text(f"  {mark} {kind}", "green" if done else "yellow"),
            Text(str(point.get("reason") or ""), "dim"),
            Text(said),
        )
    return [*_head(f"Checklist, {counted.get('passed')} of {counted.get('total')}"), grid]


def _metrics(view: View, judged: Judged | None, *, ascii_only: bool) -> list[Any]:
    entries = view.status.get("metrics") or ()
    if not entries:
        return []
    full = {}
    if judged is not None and judged.verdict is not None:
        full = {m.name: m for m in judged.verdict.metrics}
    decision = (view.spec.get("rollout") or {}).get("decision") or {}
    grid = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    grid.add_column("METRIC", no_wrap=True)
    grid.add_column("STATE", no_wrap=True)
    grid.add_column("SAFE | HARM" if ascii_only else "SAFE │ HARM", no_wrap=True)
    grid.add_column("SAYS", overflow="fold")
    grid.add_column("LIMIT", no_wrap=True)
    grid.add_column("HARM", no_wrap=True)
    grid.add_column("PROOF", no_wrap=True)
    notes: list[str] = []
    for entry in entries:
        spec = view.metric_spec(entry["name"])
        found = bars.gauge(entry, spec)
        style = STATES.get(entry.get("state", ""), "")
        between = bars.bounds(found)
        metric = full.get(entry["name"])
        grid.add_row(
            f"{entry['name']}",
            Text(entry.get("state", "?"), style),
            Text(bars.draw(found, plain=ascii_only), style),
            bars.values(entry, found) + (f" ({between})" if between else ""),
            bars.limit(found),
            _harm(metric, decision),
            _safe(metric, decision),
        )
        role = str(spec.get("role") or "Guardrail")
        notes += _notes(entry, metric, role)
    out = [*_head("Inputs"), grid]
    if notes:
        out += [Text(), *[Padding(Text(note, "dim"), (0, 0, 0, 2)) for note in notes]]
    return out


def _harm(metric: MetricVerdict | None, decision: Mapping[str, Any]) -> str:
    if metric is None or not metric.weight:
        return "" if metric is None else "no vote"
    bound = 1.0 / float(decision.get("harmLevel", 0.01))
    return f"{_evidence(metric.weighted_e)} of {bound:,.0f}"


def _safe(metric: MetricVerdict | None, decision: Mapping[str, Any]) -> str:
    if metric is None or metric.log_e_safe is None:
        return ""
    bound = 1.0 / float(decision.get("safeLevel", 0.05))
    return f"{_evidence(math.exp(min(metric.log_e_safe, 700.0)))} of {bound:,.0f}"


def _notes(entry: Mapping[str, Any], metric: MetricVerdict | None, role: str) -> Iterable[str]:
    told = []
    if role != "Guardrail":
        told.append(f"role {role}")
    if metric is not None and metric.culprits and entry.get("state") == "Fail":
        told.append(f"worst in {', '.join(metric.culprits)}")
    if metric is not None and metric.phi > 1.5:
        told.append(f"bursts count: evidence divided by {metric.phi:.3g}")
    if metric is not None and metric.note:
        told.append(metric.note.rstrip("."))
    if told:
        yield f"{entry['name']}: {'; '.join(told)}."


def _flips(view: View, judged: Judged | None, *, ascii_only: bool) -> list[Any]:
    latched = view.state.get("verdict") or {}
    if latched:
        lines: Iterable[Text] = _latched(view, latched)
    elif view.phase == "Progressing" and judged is not None:
        lines = _running(view, judged, ascii_only=ascii_only)
    elif view.phase and not view.ended:
        lines = [Text("Nothing is judged yet: the candidate has had no traffic.")]
    else:
        return []
    return [*_head("What would flip it"), *lines]


def _latched(view: View, verdict: Mapping[str, Any]) -> Iterable[Text]:
    decision = str(verdict.get("decision"))
    at = clock(verdict.get("at"), view.now)
    yield Text(
        f"Nothing in this attempt: {decision} was latched at {at} UTC. "
        + (
            "A new version takes a new attempt."
            if decision in ("Promote", "Initial")
            else "An edit or a retry begins another, with no evidence carried over."
        )
    )
    failing = [m for m in view.status.get("metrics") or () if m.get("state") == "Fail"]
    for entry in failing:
        found = bars.gauge(entry, view.metric_spec(entry["name"]))
        if found.value is None or found.limit is None:
            continue
        side = "below" if found.below else "above"
        told = (
            f"{entry['name']} would have had to stay {side} {found.text(found.limit)}; it was "
            f"{found.text(found.value)}"
        )
        if found.interval:
            end = (
                f"begins at {found.text(min(found.interval))}"
                if found.below
                else f"ends at {found.text(max(found.interval))}"
            )
            told += f", its 95 % interval {end}"
        yield Text(f"{told}.")


def _running(view: View, judged: Judged, *, ascii_only: bool) -> Iterable[Text]:
    verdict, spec, progress = judged.verdict, judged.spec, judged.progress
    decision = spec.rollout.decision
    if verdict is None:
        yield Text("No interval has been judged yet; nothing can flip before the first.")
        return
    bound = 1.0 / decision.harm_level
    factor = bound / max(verdict.total_e, 1e-9)
    top = verdict.metrics[0] if verdict.metrics else None
    most = f", most of it from {top.name}" if top is not None and top.weighted_e > 0.5 else ""
    yield Text(
        f"To roll back: {_evidence(factor)} times the present evidence of harm "
        f"({_evidence(verdict.total_e)} of {bound:,.0f}{most}).",
        "",
    )
    last = progress.last_step
    from modelhandoff.rollout.shares import on_probation

    probation = on_probation(spec, judged.state)
    weight = 100 if last else spec.rollout.steps[judged.state.step + 1].weight
    yield Text("To be promoted, all of:" if probation else f"To go to {weight} %, all of:")
    elapsed, least = progress.step_elapsed_seconds, progress.step_min_seconds
    wants = [
        (
            progress.step_looks >= decision.min_looks,
            f"{decision.min_looks} looks in this step: {progress.step_looks}",
        ),
        (elapsed >= least, f"{span(least)} in this step: {span(elapsed)}"),
        (
            verdict.total_e < RISE_BELOW,
            f"evidence of harm below {RISE_BELOW:g}: {_evidence(verdict.total_e)}",
        ),
        (
            not any(m.state == "Unknown" for m in verdict.metrics),
            "every metric known: "
            + (", ".join(m.name for m in verdict.metrics if m.state == "Unknown") or "yes"),
        ),
    ]
    if judged.state.unknown_since is not None:
        silent = span((judged.at - judged.state.unknown_since).total_seconds())
        wants.append((False, f"usable metrics: none for {silent}"))
    if judged.state.paused_at is not None:
        wants.append((False, "no pause: kubectl handoff resume"))
    if progress.step_min_samples:
        wants.append(
            (
                progress.step_requests >= progress.step_min_samples,
                f"{progress.step_min_samples:,.0f} requests in this step: "
                f"{progress.step_requests:,.0f}",
            )
        )
    if last and not probation:
        for metric in verdict.metrics:
            if metric.log_e_safe is not None:
                done = metric.state == "Pass"
                more = f", needs {metric.needs}" if metric.needs else ""
                wants.append((done, f"{metric.name} proven safe: {metric.state}{more}"))
        if decision.promotion == "Manual":
            wants.append((False, "a person: kubectl handoff promote"))
    for done, told in wants:
        yield _want(done, told, ascii_only=ascii_only)
    if progress.max_duration_seconds is not None:
        left = progress.max_duration_seconds - progress.elapsed_seconds
        yield Text(f"Without a verdict in {span(left)}: {decision.on_inconclusive}.", "dim")


def _want(done: bool, told: str, *, ascii_only: bool) -> Text:
    mark = ("ok" if done else "..") if ascii_only else ("✓" if done else "○")
    return Text.assemble((f"  {mark} ", "green" if done else "yellow"), told)


def _evidence(value: float) -> str:
    from modelhandoff.analysis.wording import evidence

    return evidence(value)
