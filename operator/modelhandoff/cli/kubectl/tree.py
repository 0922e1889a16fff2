"""The tree of ``status``: what the one sentence rests on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from modelhandoff.api.vocabulary import CHECKLIST
from modelhandoff.cli.kubectl import bars, lookup
from modelhandoff.cli.kubectl.printing import clock, moment, mood, span
from modelhandoff.cli.kubectl.view import View
from modelhandoff.errors import cut

if TYPE_CHECKING:
    from modelhandoff.rollout.snapshot import PodView

TIMELINE = 12
STYLES = {"good": "green", "bad": "red", "busy": "cyan", "held": "yellow"}
STATES = {"Pass": "green", "Fail": "bold red", "Pending": "cyan", "Unknown": "yellow"}
_SHOWN = (
    "CapacityAvailable",
    "CanaryReady",
    "TrafficAligned",
    "MetricsAvailable",
)


def render(view: View, *, plain: bool = False) -> Group:
    """The whole screen."""
    style = STYLES[mood(view.phase)]
    parts: list[Any] = [Text(view.sentence, style=f"bold {style}"), Text()]
    if view.heartbeat.alive is False:
        parts[1:1] = [
            Text(
                f"! The operator is not at work ({view.heartbeat.told}): this may be old. Traffic "
                "stays as the route says.",
                style="bold yellow",
            )
        ]
    root = Tree(_headline(view, plain=plain), guide_style="dim")
    _arms(root, view, plain=plain)
    _traffic(root, view)
    _signatures(root, view, plain=plain)
    _steps(root, view, plain=plain)
    _evidence(root, view, plain=plain)
    _checklist(root, view, plain=plain)
    _conditions(root, view, plain=plain)
    _timeline(root, view)
    parts.append(root)
    if view.missing:
        parts.append(Text(f"Not shown, for lack of rights: {', '.join(view.missing)}.", "dim"))
    action = next_step(view)
    if action:
        parts += [Text(), Text.assemble(("Next: ", "bold"), action)]
    return Group(*parts)


def next_step(view: View) -> str:
    """The next command; with the verb of this tool where the status names an annotation."""
    told = str(view.status.get("nextAction") or "")
    meta = view.handoff["metadata"]
    tail = f"{meta['name']} -n {meta['namespace']}"
    if not told:
        return ""
    verbs = [verb for verb in ("promote", "abort", "retry") if f"modelhandoff.dev/{verb}=" in told]
    if "modelhandoff.dev/pause-" in told:
        verbs.append("resume")
    commands = " or ".join(f"kubectl handoff {verb} {tail}" for verb in verbs)
    if told.startswith("Apply a corrected") and commands:
        return f"apply a corrected candidate, or try the same again: {commands}"
    return commands or told


def _headline(view: View, *, plain: bool) -> Text:
    mark = _mark(mood(view.phase), plain=plain)
    model = ((view.spec.get("candidate") or {}).get("model")) or {}
    told = Text.assemble(
        (view.place, "bold"), "  ", (f"{mark} {view.phase or 'New'}", STYLES[mood(view.phase)])
    )
    reference = view.status.get("attemptRef") or {}
    if reference:
        gone = "" if view.attempt else ", gone"
        told.append(
            f"  {model.get('name', '')} {(view.status.get('candidate') or {}).get('version', '')}"
            f", attempt {reference.get('ordinal')} ({reference.get('name')}{gone})"
        )
    since = moment(view.state.get("phaseSince"))
    if since is not None:
        told.append(
            f", since {clock(view.state['phaseSince'], view.now)} UTC ({_ago(since, view.now)})",
            "dim",
        )
    return told


def _signatures(root: Tree, view: View, *, plain: bool) -> None:
    """Who has signed, and who has to."""
    roles = (view.spec.get("approvals") or {}).get("roles") or ()
    if not roles:
        return
    told = Text.assemble(("Signed    ", "bold"))
    for role in roles:
        by = view.signed.get(role)
        if by:
            told.append(f"{_mark('good', plain=plain)} {role} ({cut(by, 60)})  ", "green")
        else:
            told.append(f"{_mark('held', plain=plain)} {role}  ", "yellow")
    root.add(told)


def _ago(at: datetime, now: datetime) -> str:
    return span((now - at).total_seconds())


def _mark(kind: str, *, plain: bool) -> str:
    found = {"good": "✓", "bad": "✗", "busy": "●", "held": "‖"}[kind]
    return {"✓": "ok", "✗": "X", "●": "*", "‖": "!"}[found] if plain else found


def _arms(root: Tree, view: View, *, plain: bool) -> None:
    since = moment((view.status.get("stable") or {}).get("since"))
    for label, arm in (("Serves", view.stable), ("Candidate", view.candidate)):
        if arm is None:
            continue
        weight = "" if arm.weight is None else f"{arm.weight:>4} %"
        told = Text.assemble((f"{label:<10}", "bold"), f"{arm.version or '?':<10}", weight)
        if arm.name and (arm.desired or arm.pods):
            ready = arm.desired > 0 and arm.ready >= arm.desired
            told.append(
                f"   {arm.ready} of {arm.desired} pods ready",
                "green" if ready else "dim" if not arm.desired else "yellow",
            )
            told.append(f"   {arm.name}", "dim")
        elif arm is view.candidate:
            told.append("   no pods", "dim")
            told.append(f"   {arm.name}", "dim")
        if label == "Serves" and since is not None:
            told.append(f"   stable for {_ago(since, view.now)}", "dim")
        branch = root.add(told)
        for pod in arm.pods or ():
            branch.add(_pod(pod, plain=plain))


def _pod(pod: PodView, *, plain: bool) -> Text:
    mark, style = ("good", "green") if pod.ready else ("busy", "yellow")
    if pod.deleting:
        mark, style = "held", "dim"
    word = "stopping" if pod.deleting else "ready" if pod.ready else "not ready"
    told = Text.assemble((f"{_mark(mark, plain=plain)} {word:<9}", style), f"  {pod.name}")
    told.append(f"  {pod.restarts} restarts", "red" if pod.restarts else "dim")
    told.append(f"  node {pod.node}" if pod.node else "  no node yet", "dim")
    why = (
        pod.unschedulable
        or " ".join(part for part in (pod.waiting_reason, pod.waiting_message) if part)
        or (pod.init_message if pod.init_exit_code else "")
        or (pod.crash_message if not pod.ready else "")
    )
    if why:
        told.append(f"\n{cut(why, 300)}", "yellow")
    return told


def _traffic(root: Tree, view: View) -> None:
    if view.route is None:
        return
    aligned = lookup.conditions_of(view.handoff).get("TrafficAligned") or {}
    weight = view.candidate.weight if view.candidate and view.candidate.weight else 0
    told = Text.assemble(("Traffic   ", "bold"))
    if view.phase == "Promoted" and view.candidate is None:
        told.append("all on the promoted version")
    else:
        told.append(
            f"{weight} % set for the candidate on HTTPRoute {view.route['metadata']['name']}"
        )
    taken = aligned.get("status") == "True"
    told.append(
        ", taken by the gateway" if taken else ", not taken by the gateway yet",
        "green" if taken else "yellow",
    )
    withheld = view.state.get("withheld")
    if withheld:
        told.append(
            f"\nkept at 0 since {clock(withheld['since'], view.now)} UTC: {withheld['message']}",
            "yellow",
        )
    root.add(told)


def _steps(root: Tree, view: View, *, plain: bool) -> None:
    steps = (view.spec.get("rollout") or {}).get("steps") or ()
    if not steps or not view.status.get("attemptRef"):
        return
    kind = (view.attempt or {}).get("spec", {}).get("kind")
    if kind in ("Initial", "Refresh"):
        told = "first version: nothing to compare with" if kind == "Initial" else "no traffic moves"
        root.add(Text.assemble(("Steps     ", "bold"), (told, "dim")))
        return
    branch = root.add(Text("Steps", style="bold"))
    at = int(view.state.get("step", -1))
    for index, step in enumerate(steps):
        branch.add(_step(view, index, step, at, last=len(steps), plain=plain))


def _step(
    view: View, index: int, step: Mapping[str, Any], at: int, *, last: int, plain: bool
) -> Text:
    landed = [s for s in view.state.get("stages") or () if s["step"] == index and s["weight"]]
    head = f"{index + 1}/{last}  {step['weight']:>3} %"
    if not landed:
        return Text.assemble(
            (f"{'.' if plain else '○'} {head}", "dim"),
            (f"   at least {step.get('minDuration', '?')}", "dim"),
        )
    start = float(landed[0]["start"])
    past = index < at or (view.ended and view.phase == "Promoted")
    told = f"   landed {clock(_iso(start), view.now)} UTC"
    if past:
        after = [s for s in view.state.get("stages") or () if s["step"] > index]
        end = float(after[0]["start"]) if after else view.now.timestamp()
        if after:
            told += f", {span(end - start)}"
        return Text.assemble((f"{_mark('good', plain=plain)} {head}", "green"), told)
    if view.ended or view.state.get("verdict"):
        off = moment(view.state.get("offAt"))
        took = f", taken back after {span(off.timestamp() - start)}" if off else ""
        return Text.assemble((f"{_mark('bad', plain=plain)} {head}", "red"), told + took)
    decision = (view.spec.get("rollout") or {}).get("decision") or {}
    told += f", {span(view.now.timestamp() - start)} of {step.get('minDuration', '?')}"
    looks = int(view.state.get("stepLooks", 0))
    told += f", {looks} of {decision.get('minLooks', 30)} looks"
    told += f", {view.state.get('stepRequests', 0):,.0f}"
    told += f" of {step['minSamples']:,} requests" if step.get("minSamples") else " requests"
    return Text.assemble((f"{_mark('busy', plain=plain)} {head}", "cyan"), told)


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()


def _evidence(root: Tree, view: View, *, plain: bool) -> None:
    metrics = view.status.get("metrics") or ()
    if not metrics:
        return
    grid = Table.grid(padding=(0, 2, 0, 0))
    for at in range(5):
        grid.add_column(no_wrap=at < 3, overflow="fold")
    for metric in metrics:
        found = bars.gauge(metric, view.metric_spec(metric["name"]))
        style = STATES.get(metric.get("state", ""), "")
        told = bars.values(metric, found)
        between, bound = bars.bounds(found), bars.limit(found)
        if between:
            told += f" ({between})"
        samples = metric.get("samples")
        needs = str(metric.get("needs") or "")
        tail = ", ".join(
            part
            for part in (
                bound,
                f"{samples:,.0f} requests" if samples is not None else "",
                f"needs {needs}" if needs and not view.ended else "",
            )
            if part
        )
        grid.add_row(
            Text(metric["name"]),
            Text(metric.get("state", "?"), style),
            Text(bars.draw(found, plain=plain), style),
            Text(told),
            Text(tail, "dim"),
        )
    head = Text.assemble(
        ("Evidence", "bold"), ("   safe left of the mark, harm right of it", "dim")
    )
    root.add(head).add(grid)


def _checklist(root: Tree, view: View, *, plain: bool) -> None:
    """The eight points; what is wrong with one in words, what is not declared in ``explain``."""
    counted = view.status.get("checklist") or {}
    exempted = view.status.get("exemptions") or ()
    if exempted:
        rules = ", ".join(f"{one['rule']} ({cut(one.get('reason') or '')})" for one in exempted)
        root.add(Text.assemble(("Exempted  ", "bold"), (f"from {rules}", "yellow")))
    if not counted:
        return
    found = lookup.conditions_of(view.handoff)
    told = Text.assemble(("Checklist ", "bold"), f"{counted.get('label') or ''}  ")
    branch = root.add(told)
    for kind in CHECKLIST:
        point = found.get(kind) or {}
        value = str(point.get("status") or "Unknown")
        if value == "Unknown":
            told.append(f"{'-' if plain else '·'} {kind}  ", "dim")
            continue
        mark, style = ("good", "green") if value == "True" else ("bad", "red")
        told.append(f"{_mark(mark, plain=plain)} {kind}  ", style)
        if value == "False":
            branch.add(_note(kind, point))


def _note(kind: str, condition: Mapping[str, Any]) -> Text:
    said = f"{kind}: {condition.get('reason')} {cut(condition.get('message') or '', 300)}"
    return Text(said, "yellow")


def _conditions(root: Tree, view: View, *, plain: bool) -> None:
    found = lookup.conditions_of(view.handoff)
    told = Text.assemble(("Checks    ", "bold"))
    notes: list[Text] = []
    for name in _SHOWN:
        condition = found.get(name)
        if condition is None:
            continue
        value = str(condition.get("status"))
        moot = view.ended and name in ("CapacityAvailable", "CanaryReady", "MetricsAvailable")
        if value == "Unknown" or (moot and value == "False"):
            told.append(f"{'-' if plain else '·'} {name}  ", "dim")
        elif value == "True":
            told.append(f"{_mark('good', plain=plain)} {name}  ", "green")
        else:
            told.append(f"{_mark('bad', plain=plain)} {name}  ", "red")
            notes.append(_note(name, condition))
    paused = found.get("Paused") or {}
    if paused.get("status") == "True":
        told.append(f"{_mark('held', plain=plain)} {paused.get('reason')}", "yellow")
    if not found:
        return
    branch = root.add(told)
    for note in notes:
        branch.add(note)


def _timeline(root: Tree, view: View) -> None:
    if view.status.get("attemptRef") and view.attempt is None:
        root.add(
            Text.assemble(
                ("Timeline  ", "bold"), ("the attempt is gone: deleted, or pruned by age", "yellow")
            )
        )
        return
    entries = view.state.get("timeline") or ()
    if not entries:
        return
    branch = root.add(Text.assemble(("Timeline", "bold"), ("  UTC", "dim")))
    if len(entries) > TIMELINE:
        branch.add(Text(f"{len(entries) - TIMELINE} earlier ones", "dim"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for entry in entries[-TIMELINE:]:
        grid.add_row(Text(clock(entry["at"], view.now), "dim"), Text(entry["what"]))
    branch.add(grid)
