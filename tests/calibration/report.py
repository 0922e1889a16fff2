"""docs/calibration.md from the raw results: tables with standard errors, deviations named."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from modelhandoff.analysis.planner import Needs, Traffic, relative_harm
from modelhandoff.analysis.synthetic import Noise
from tests.calibration import endings, expected, noises, rivals, shapes, world
from tests.calibration.crossings import RateCell
from tests.calibration.mutants import MUTANTS
from tests.calibration.world import BASELINE, BIG, SMALL, Size

Cells = Mapping[str, list[Any]]

HEAD = """# Calibration of the judgement engine

Written by `make calibrate` (`python -m tests.calibration`); do not edit by hand.

Every figure below is counted over seeded runs of the engine that the operator runs
(`modelhandoff.analysis`: `observe` and `judge`); the traffic is made up
(`modelhandoff.analysis.synthetic`). The same seed gives the same figures on every machine.
"A" = with six hours of A/A history of the baseline, "B" = first use, without. **The operator takes
its history from earlier rollouts and uses it more carefully than "A"** (section "History from
earlier rollouts"); without it judges as in B. Sizes are requests per look of
candidate / baseline; a look is an interval of 30 s. "±" is the standard error, sqrt(p(1-p)/runs);
0 and 100 % of n runs mean "within 3/n at 95 %". Figures in brackets are what the design expected.
"""


def write(head: Mapping[str, Any], cells: Cells, output: Path) -> None:
    """The whole page."""
    problems: list[str] = []
    parts = [
        HEAD,
        f"Command `make calibrate`, {head['date']}, seed {head['seed']}, "
        f"{sum(len(one) for one in cells.values()):,} runs.\n",
        *_endings(cells, problems),
        *_false_rollbacks(cells, problems),
        *_delays(cells, problems),
        *_proofs(cells, problems),
        *_shapes(cells),
        *_planner(cells),
        *_open(cells),
        *_inherited(cells),
        *_rivals(cells),
        *_mutants(),
    ]
    parts[2:2] = _deviations(problems, cells)
    output.write_text("\n".join(parts).rstrip() + "\n")


# --- numbers ------------------------------------------------------------------------------------


def rate(hits: int, runs: int) -> str:
    """ "12 ± 2 %"; certain ones without an error."""
    p = hits / runs
    error = 100.0 * math.sqrt(p * (1.0 - p) / runs)
    shown = f"{error:.0f}" if error >= 1.0 else f"{error:.1g}"
    return f"{100.0 * p:.3g} %" if hits in (0, runs) else f"{100.0 * p:.3g} ± {shown} %"


def quantile(values: Sequence[float | None], q: float) -> float:
    """Empirical quantile; a run that never crossed counts as infinity."""
    ordered = sorted(math.inf if one is None else one for one in values)
    return ordered[min(len(ordered) - 1, math.ceil(q * len(ordered)) - 1)]


def look(value: float) -> str:
    return "never" if math.isinf(value) else f"{value:.0f}"


def _far(hits: int, runs: int, promised: float, errors: float = 3.0) -> bool:
    """More than ``errors`` standard errors (of both simulations) from a promised percentage."""
    p, q = hits / runs, promised / 100.0
    floor = 0.5 / runs
    error = math.sqrt(max(p * (1 - p), floor) / runs + max(q * (1 - q), floor) / 200.0)
    return abs(p - q) > errors * error


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    out = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return [*out, *("| " + " | ".join(row) + " |" for row in rows), ""]


def _runs(cells: Cells, kind: str) -> str:
    """ "200", or "100 to 200", runs per cell."""
    numbers = sorted(len(found) for key, found in cells.items() if key.startswith(kind) and found)
    if not numbers:
        return "0"
    low, high = numbers[0], numbers[-1]
    return str(high) if low == high else f"{low} to {high}"


# --- sections -----------------------------------------------------------------------------------


def _endings(cells: Cells, problems: list[str]) -> list[str]:
    columns = [f"{size}: {mark}" for size in ("600/5400", "60/540") for mark in "AB"]
    rows = []
    for truth in endings.TRUTHS:
        row = [truth]
        for column in columns:
            size, mark = column.split(": ")
            key = f"{truth}/{size}/{mark}"
            found = cells.get(f"ending/{key}")
            row.append(_ending(key, found, problems) if found else "-")
        rows.append(row)
    runs = _runs(cells, "ending/")
    return [
        "## How rollouts end: the full engine",
        "",
        "Five metrics of equal weight: errors against the baseline (0.5 %), errors against an SLO "
        "of 1 %, p95 against a budget of 30 ms and against the baseline (27 ms), drift of a "
        "distribution with 10 bins (margin 0.1, 100 or 10 observations per look), a score (margin "
        "5 %, sd 35 % of the mean). Harm level 1 %, safe level 5 %, margins 1.25 and 1.5 + 0.05 "
        f"points, at least 30 looks, at most 240; {runs} runs per cell. Looks: median / 90 % "
        "point of the more frequent ending.",
        "",
        *_table(["truth", *columns], rows),
    ]


def _ending(key: str, found: list[Any], problems: list[str]) -> str:
    runs = len(found)
    by = {name: sorted(one[1] for one in found if one[0] == name) for name in
          ("Promote", "Rollback", "Inconclusive")}  # fmt: skip
    promoted, rolled = len(by["Promote"]), len(by["Rollback"])
    told = []
    for name, word in (("Promote", "promoted"), ("Rollback", "rolled back"),
                       ("Inconclusive", "open")):  # fmt: skip
        if by[name]:
            told.append(f"{word} {rate(len(by[name]), runs)}")
    main = by["Promote"] if promoted >= rolled else by["Rollback"]
    middle, late = (quantile(main, q) for q in (0.5, 0.9)) if main else (math.inf, math.inf)
    looks = f"; {look(middle)} / {look(late)}" if main else ""
    hoped = expected.ENDINGS.get(key)
    if hoped is None:
        return ", ".join(told) + looks
    wanted = []
    for word, hits, promise in (("promoted", promoted, hoped[0]),
                                ("rolled back", rolled, hoped[1])):  # fmt: skip
        if promise:
            wanted.append(f"{word} {promise:g} %")
        if promise is not None and _far(hits, runs, promise):
            problems.append(f"{key}: {word} {rate(hits, runs)}, expected {promise:g} %")
    if hoped[2] is not None:
        wanted.append(f"{hoped[2]} / {hoped[3]}")
        for at, (mine, promise) in enumerate(((middle, hoped[2]), (late, hoped[3]))):
            if promise is not None and abs(mine - promise) > max(3.0, 0.25 * promise):
                which = "90 % point" if at else "median"
                problems.append(f"{key}: {which} at look {look(mine)}, expected {promise}")
    return ", ".join(told) + looks + f" ({', '.join(wanted)})"


def _false_rollbacks(cells: Cells, problems: list[str]) -> list[str]:
    out = [
        "## False rollbacks of healthy candidates",
        "",
        "One error metric alone, 240 looks, r0 1.25. First figure: evidence ever at 500 (a fifth "
        "of 1 %, the weight of one of five metrics); second: ever at 20 (weight 1, 5 %).",
        "",
    ]
    for title, group in (
        ("against the baseline", noises.relative()),
        ("absolute limit of 1 %", noises.absolute()),
    ):
        rows = []
        for name, size, _ in group:
            row = [name, str(size)]
            hoped = expected.false_rollback(name, str(size))
            for at, mark in enumerate("AB"):
                shown = []
                for second, threshold in enumerate(("500", "20")):
                    key = f"false/{name}/{size}/{threshold}/{mark}"
                    found = cells.get(key)
                    if not found:
                        shown.append("-")
                        continue
                    hits = sum(one[0] is not None for one in found)
                    promise = hoped[2 * at + second]
                    shown.append(rate(hits, len(found)))
                    if hits / len(found) * 100 > promise and _far(hits, len(found), promise, 2.0):
                        problems.append(
                            f"{key[6:]}: false rollback {rate(hits, len(found))}, expected "
                            f"at most {promise:g} %"
                        )
                row.append(f"{shown[0]}; {shown[1]} ({hoped[2 * at]:g}; {hoped[2 * at + 1]:g})")
            rows.append(row)
        runs = _runs(cells, "false/")
        out += _table([f"noise, {title} ({runs} runs)", "size", "A", "B"], rows)
    return out


def _delays(cells: Cells, problems: list[str]) -> list[str]:
    rows = []
    for cell in noises.delays():
        found = cells.get(cell.name)
        if not found:
            continue
        key = cell.name.removeprefix("delay/")
        late = [None if one[0] is None else one[0] - 100 for one in found]
        early = sum(one is not None and one <= 0 for one in late)
        late = [one for one in late if one is None or one > 0]
        middle = quantile(late, 0.5)
        rows.append([
            f"0.5 -> {100 * cell.candidate:g} %", key[-1],
            f"{look(middle)} / {look(quantile(late, 0.9))} ({expected.DELAYS[key]})",
            rate(early, len(found)),
        ])  # fmt: skip
        if abs(middle - expected.DELAYS[key]) > max(3.0, 0.25 * expected.DELAYS[key]):
            problems.append(f"delay {key}: {look(middle)} looks, expected {expected.DELAYS[key]}")
    return [
        "## Delay of a regression that begins after 100 healthy looks",
        "",
        "Errors alone, 600/5400, evidence at 500; looks from the onset, median / 90 % point.",
        "",
        *_table(["errors", "history", "looks", "rolled back before the onset"], rows),
    ]


def _proofs(cells: Cells, problems: list[str]) -> list[str]:
    rows = []
    for cell in noises.proofs():
        found = cells.get(cell.name)
        if not found:
            continue
        key = cell.name.removeprefix("proof/")
        middle, late = (quantile([one[1] for one in found], q) for q in (0.5, 0.9))
        hoped = expected.PROOFS[key]
        rows.append([
            str(cell.size), f"{100 * cell.candidate:g} %",
            f"{look(middle)} / {look(late)} ({hoped[0]} / {hoped[1]})",
        ])  # fmt: skip
        if abs(middle - hoped[0]) > max(3.0, 0.25 * hoped[0]):
            problems.append(f"proof {key}: median look {look(middle)}, expected {hoped[0]}")
    out = [
        "## Proofs of safety",
        "",
        'Looks until "below 1.5 x baseline + 0.05 points" is proven (E >= 20) when both versions '
        "are alike, with history; median / 90 % point, at most 500 looks.",
        "",
        *_table(["size", "error rate of both", "looks"], rows),
        "Wrong proofs: the candidate lies exactly at the border (r_s x baseline + 0.05 points) for "
        "500 looks; nominal at most 5 %.",
        "",
    ]
    rows = []
    for cell in noises.false_proofs():
        found = cells.get(cell.name)
        if found:
            hits = sum(one[1] is not None for one in found)
            rows.append([
                cell.name.split("/")[1], str(cell.size), f"{100 * cell.baseline:g} %",
                cell.name[-1], rate(hits, len(found)),
            ])  # fmt: skip
            if hits / len(found) > 0.05 + 3 * math.sqrt(0.05 * 0.95 / len(found)):
                problems.append(f"{cell.name}: wrong proofs {rate(hits, len(found))}, nominal 5 %")
    return out + _table(["r_s", "size", "baseline", "history", "ever proven"], rows)


def _shapes(cells: Cells) -> list[str]:
    rows = []
    for cell in shapes.everything():
        found = cells.get(cell.name)
        if not found:
            continue
        harm, safe = [one[0] for one in found], [one[1] for one in found]
        hits = sum(one is not None for one in harm)
        middle = ""
        if hits > len(found) / 2:
            since = getattr(cell, "onset", 0)
            when = quantile([None if h is None else h - since for h in harm], 0.5)
            middle = f", median {look(when)}" + (" after the onset" if since else "")
        proven = rate(sum(one is not None for one in safe), len(found))
        rows.append([
            cell.name.removeprefix("shape/"), rate(hits, len(found)) + middle,
            "-" if isinstance(cell, shapes.SustainedCell) else proven, str(len(found)),
        ])  # fmt: skip
    return [
        "## Drift, sustained drift, means",
        "",
        'At the margin both "harm" and "proven safe" are errors; nominal 5 % each (E >= 20, '
        "360 looks of 100 observations for drift, 120 looks for means). Dispersion and variances "
        "are estimated, as in production. Sustained: a week of windows of n = 20 K after the first "
        "day, limit 0.2; the median is a window.",
        "",
        *_table(["case", "harm or alarm", "proven safe", "runs"], rows),
    ]


@cache
def _phi(size: Size, errors: float = BASELINE) -> float:
    """Median phi_hist of clean six-hour histories at this size."""
    found = [
        world.error_history(size, np.random.default_rng(seed), Noise(), errors).relative.phi
        for seed in range(25)
    ]
    return float(np.median(found))


def _forecast(cell: RateCell, power: float) -> Needs:
    traffic = Traffic(cell.size.candidate, cell.size.baseline)
    return relative_harm(
        traffic, cell.candidate, BASELINE, level=1.0 / cell.threshold, power=power,
        phi=_phi(cell.size) if cell.history else None,
    )  # fmt: skip


def _planner(cells: Cells) -> list[str]:
    rows = []
    for cell in noises.planned():
        found = cells.get(cell.name)
        if not found:
            continue
        row = [str(cell.size), f"0.5 -> {100 * cell.candidate:g} %", "A" if cell.history else "B"]
        for power in (0.5, 0.8):
            real = quantile([one[0] for one in found], power)
            plan = _forecast(cell, power).looks
            off = (
                ""
                if math.isinf(real) or math.isinf(plan)
                else f" ({100 * (plan / real - 1):+.0f} %)"
            )
            row.append(f"{look(plan)} / {look(real)}{off}")
        rows.append(row)
    return [
        "## The planner against the engine",
        "",
        "Looks until harm is found, forecast / simulated, for a regression from the first look "
        "(errors alone, evidence at 500, at most 400 looks). With history the planner gets the "
        f"median phi_hist of clean histories: {_phi(BIG):.2f} at {BIG}, {_phi(SMALL):.2f} at "
        f"{SMALL}.",
        "",
        *_table(["size", "errors", "history", "50 % power", "80 % power"], rows),
    ]


def _open(cells: Cells) -> list[str]:
    rows = []
    for cell in noises.open_points():
        found = cells.get(cell.name)
        if not found:
            continue
        hits = [one[0] for one in found if one[0] is not None]
        middle = ""
        if len(hits) > len(found) / 2:
            late = [None if one[0] is None else one[0] - cell.onset for one in found]
            middle = f", median {look(quantile(late, 0.5))} looks after the onset"
        _, name, *_ = cell.name.split("/")
        proven = sum(one[1] is not None for one in found)
        rows.append([
            name, str(cell.size), cell.name[-1], f"{cell.threshold:g}",
            rate(len(hits), len(found)) + middle, rate(proven, len(found)),
        ])  # fmt: skip
    return [
        "## Points the design left open",
        "",
        'Healthy candidates unless the name says otherwise; "proven safe" is the share that is '
        "ever proven within 240 looks (0 means that the noise estimate eats every proof).",
        "",
        *_table(["case", "size", "history", "threshold", "rolled back", "proven safe"], rows),
        *_answers(cells),
        "",
    ]


def _answers(cells: Cells) -> list[str]:
    """One paragraph per open point, with its figures."""

    def harm(key: str) -> str:
        found = cells.get(key) or []
        return rate(sum(one[0] is not None for one in found), len(found)) if found else "-"

    def proven(key: str) -> str:
        found = cells.get(key) or []
        return rate(sum(one[1] is not None for one in found), len(found)) if found else "-"

    def ended(key: str, decision: str) -> str:
        found = cells.get(f"ending/{key}") or []
        return rate(sum(one[0] == decision for one in found), len(found)) if found else "-"

    slow, wild = "AR(1) per arm, sd 0.3, rho 0.9", "open/AR sd 0.45 rho 0.9"
    alike, worse = "identical/60/540", "errors 1 %/60/540"
    tenth = "open/history at a tenth of the traffic, bursts 5/600/5400/500/A"
    bursts = "false/bursts of mean 5/600/5400/500/A"
    splits = "open/median of 10 splits by pod, bursts 5/600/5400/500/A"
    quiet = "open/quiet history, then bursts 5/600/5400/500/A"
    halves = "open/split halves of the baseline, bursts 5/600/5400/500/B"
    slowly = "open/split halves of the baseline, AR rho 0.9/600/5400"
    border = "falseproof/1.75/6000/54000/0.005/B"
    return [
        f"- **Slow noise on first use.** sd 0.3, rho 0.9 at 600/5400: "
        f"{harm(f'false/{slow}/600/5400/500/B')} rolled back at evidence 500, "
        f"{harm(f'false/{slow}/600/5400/20/B')} at 20. At sd 0.45 the bound does not hold: "
        f"{harm(f'{wild}/600/5400/500/B')} at 500 and {harm(f'{wild}/600/5400/20/B')} at 20; with "
        f"history {harm(f'{wild}/600/5400/500/A')} and {harm(f'{wild}/600/5400/20/A')}. Noise that "
        "both arms share costs nothing.",
        f"- **60 candidate requests a look.** {ended(f'{alike}/A', 'Promote')} (A) and "
        f"{ended(f'{alike}/B', 'Promote')} (B) of healthy candidates are promoted within 240 "
        f"looks; 1 % errors are stopped in {ended(f'{worse}/A', 'Rollback')} and "
        f"{ended(f'{worse}/B', 'Rollback')}, the rest stays open. `modelhandoff plan` says so "
        "before anyone starts.",
        "- **0.7 % against 0.5 % and a limit of 1 %.** Promoted in "
        f"{ended('errors 0.7 %/600/5400/A', 'Promote')} and "
        f"{ended('errors 0.7 %/600/5400/B', 'Promote')}: 1.5 x + 0.05 points tolerates 0.8 %, and "
        "each metric's note says what is tolerated.",
        "- **Estimated dispersion and variances of drift and score** are in force in every table "
        "of this page; nothing runs with a known variance.",
        f"- **Median of several splits.** Ten splits by pod: {harm(splits)} rolled back, "
        f"{proven(splits)} ever proven; one split of whole arms: {harm(bursts)} and "
        f"{proven(bursts)}.",
        "- **phi scaled with traffic.** History at a tenth of the traffic, bursts of 5: "
        f"{harm(tenth)} rolled back, and {proven(tenth)} ever proven. The factor is right for "
        "noise of the rate and ten times too large for bursts, whose phi does not grow with "
        "traffic. Take history at the traffic of the run.",
        f"- **A quiet history before a noisy run.** {harm(quiet)} rolled back: phi_pair of the run "
        "takes over.",
        f"- **Split halves on first use.** Bursts: {harm(halves)} rolled back, {proven(halves)} "
        f"proven; slow noise of whole arms at evidence 20: {harm(f'{slowly}/20/B')} (without them "
        f"{harm(f'false/{slow}/600/5400/20/B')}).",
        f"- **r_s 1.75 at the border.** {proven(border)} wrong proofs.",
    ]


def _inherited(cells: Cells) -> list[str]:
    rows = []
    for cell in noises.inherited():
        found = cells.get(cell.name)
        if not found:
            continue
        _, name, *_, earlier = cell.name.split("/")
        hits = [one[0] for one in found if one[0] is not None]
        late = [None if one[0] is None else one[0] - cell.onset for one in found]
        told = rate(len(hits), len(found))
        if cell.candidate > cell.baseline:
            told += f", median {look(quantile(late, 0.5))} looks after the onset"
        proven = sum(one[1] is not None for one in found)
        rows.append([name, str(cell.size), earlier, f"{cell.threshold:g}", told,
                     rate(proven, len(found))])  # fmt: skip
    return [
        "## History from earlier rollouts",
        "",
        "One error metric alone, 240 looks; the history is what the operator would have from "
        "earlier healthy rollouts of so many looks under the same noise, unless the case says "
        "otherwise. It is used from 240 intervals on. What it adds: the dispersion it has seen, "
        "and the ordinary margins at high traffic. What it does not take away: low caps and the "
        "growth of the run's own dispersion, because noise may have changed since.",
        "",
        *_table(["case", "size", "earlier rollouts", "threshold", "rolled back", "proven safe"],
                rows),
        "",
    ]  # fmt: skip


def _rivals(cells: Cells) -> list[str]:
    out = [
        "## Side by side with threshold rules and a Mann-Whitney judge",
        "",
        "One error metric, limit 1 %, baseline 0.5 %, one hour of 30-second looks at 10 % of the "
        "traffic; every rule sees the same counts. The other rules are our own implementations of "
        "what their documentation says (`tests/calibration/rivals.py`): Argo Rollouts fails a run "
        "when more than `failureLimit` measurements miss the condition; Flagger when `threshold` "
        "checks have failed; the Mann-Whitney judge (as in Kayenta) compares the two series of "
        "error rates every 10 looks at 98 % confidence with its tolerance of a quarter of the "
        'effect, and one "High" ends the canary. Ours judges without history. Cells: rolled '
        'back, median look of the rollback; the rest was promoted unless "open" is named.',
        "",
    ]
    for size in ("60/540", "600/5400"):
        rows = []
        for cell in rivals.everything():
            found = cells.get(cell.name)
            if found and str(cell.size) == size:
                rows.append([
                    cell.name.split("/")[1], *(_rival([one[rule] for one in found])
                                               for rule in rivals.RULES)
                ])  # fmt: skip
        runs = _runs(cells, "rival/")
        out += _table([f"{size}, {runs} runs", *rivals.RULES], rows)
    return out


def _rival(found: list[list[Any]]) -> str:
    rolled = [one[1] for one in found if one[0] == "rolled back"]
    still = sum(one[0] == "open" for one in found)
    told = rate(len(rolled), len(found))
    if rolled:
        told += f", {look(quantile(rolled, 0.5))}"
    return told + (f"; open {rate(still, len(found))}" if still else "")


def _mutants() -> list[str]:
    rows = []
    for name, (mutant, check) in MUTANTS.items():
        told = (mutant.__doc__ or "").strip()
        rows.append([name, told, f"`{check}`"])
    return [
        "## Broken engines",
        "",
        "The unit tests run a short version of this page "
        "(`tests/unit/calibration/test_short_calibration.py`) and break the engine on purpose; "
        "each mutant must fail the check that names it.",
        "",
        *_table(["mutant", "what it does", "noticed by"], rows),
    ]


def _deviations(problems: list[str], cells: Cells) -> list[str]:
    said = [f"- {one}." for one in problems] or ["- none."]
    return [
        "## Deviations from what was expected",
        "",
        "Listed by rule: a rate more than three standard errors from the expected one (a false "
        "rollback: more than two above), a median or 90 % look more than a quarter and three looks "
        f"away. {len(problems)} figures in {len(cells)} cells deviate:",
        "",
        *said,
        "",
        "What is known about them:",
        "",
        "- *p95 without history*: the relative edges are chosen from the baseline's first ten "
        "intervals; until then only the budget speaks, with half of the metric's weight. The "
        "design took the edges for known.",
        "- *Proofs at few events with history*: phi_hist is a maximum over six block lengths and "
        "rests on few events, so it is large by chance (at 60/540 and 0.01 % errors a median of "
        f"{_phi(SMALL, 0.0001):.1f} without any noise). The design proved with phi 1. It errs on "
        "the safe side: later promotion.",
        "- *Slow noise on first use* (rho 0.9, 2,000 and 6,000 requests a look): above what the "
        "design found, at 2,000 also above the nominal 5 % of a metric judged alone. A real limit: "
        "see the open points and docs/statistics.md. With history the bound holds.",
        "- *Late drift*: KL 0.3 from look 121 or 241 is found a few looks later than the 9 that "
        "the design found; from the start a little earlier than its 8.",
        "- *Score*: margin and spread of the design's score are not stated; ours are. A score that "
        "is proven sooner or later also moves promotion of small traffic.",
        "",
    ]
