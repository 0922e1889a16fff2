"""The rate cells of the calibration: noise, delays, proofs, the points that were left open."""

from __future__ import annotations

from collections.abc import Iterable

from modelhandoff.analysis.synthetic import Noise
from tests.calibration.crossings import RateCell
from tests.calibration.world import BIG, SMALL, Size

MIDDLE, HUGE, TENTH = Size(2000, 18000), Size(6000, 54000), Size(200, 1800)
EVEN = Size(3000, 3000)
INCIDENTS = ((60, 70, 0.03), (150, 160, 0.03))
RAMP = (5, 10, 25, 50)


def relative() -> list[tuple[str, Size, dict[str, object]]]:
    """(noise, traffic, changes of the cell): healthy candidates against the baseline."""
    out: list[tuple[str, Size, dict[str, object]]] = [
        ("none", BIG, {}),
        ("daily swing x3", BIG, {"noise": Noise(swing=3.0)}),
        ("ramp 5-10-25-50, two shared incidents 0.3 -> 3 %", BIG,
         {"noise": Noise(incidents=INCIDENTS), "ramp": RAMP,
          "candidate": 0.003, "baseline": 0.003}),
    ]  # fmt: skip
    out += [
        (f"bursts of mean {burst:g}", size, {"noise": Noise(burst=burst)})
        for burst in (2.0, 5.0)
        for size in (TENTH, BIG)
    ]
    for rho in (0.5, 0.9):
        for size in (BIG, MIDDLE, HUGE):
            noise = Noise(arm_sd=0.3, rho=rho)
            out.append((f"AR(1) per arm, sd 0.3, rho {rho:g}", size, {"noise": noise}))
    for size, pods in ((BIG, (3, 27)), (EVEN, (6, 6))):
        noise = Noise(pods=pods, pod_sd=0.2)
        out.append((f"fixed pod effects sd 0.2, {pods[0]}/{pods[1]} pods", size, {"noise": noise}))
    return out


def absolute() -> list[tuple[str, Size, dict[str, object]]]:
    """Healthy candidates against an absolute limit of 1 %."""
    cases = [
        ("bursts of mean 5, mean 0.5 %", 0.005, Noise(burst=5.0)),
        ("AR(1) per arm, sd 0.3, rho 0.5, mean 0.5 %", 0.005, Noise(arm_sd=0.3)),
        ("pods sd 0.2, 3/27, mean 0.5 %", 0.005, Noise(pods=(3, 27), pod_sd=0.2)),
        ("daily swing x3, mean 0.5 %", 0.005, Noise(swing=3.0)),
        ("bursts of mean 5, mean 0.8 %", 0.008, Noise(burst=5.0)),
        ("AR(1) per arm, sd 0.3, rho 0.5, mean 0.7 %", 0.007, Noise(arm_sd=0.3)),
        ("AR(1) per arm, sd 0.3, rho 0.9, mean 0.7 %", 0.007, Noise(arm_sd=0.3, rho=0.9)),
    ]
    return [
        (name, BIG, {"noise": noise, "limit": 0.01, "candidate": rate, "baseline": rate})
        for name, rate, noise in cases
    ]


def false_rollbacks() -> list[RateCell]:
    """Every noise, with and without history, at both thresholds."""
    return [
        _cell(f"false/{name}/{size}/{threshold:g}/{'A' if history else 'B'}", size, changes,
              history=history, threshold=threshold)
        for name, size, changes in (*relative(), *absolute())
        for threshold in (500.0, 20.0)
        for history in (True, False)
    ]  # fmt: skip


def delays() -> list[RateCell]:
    """Looks from the onset after 100 healthy looks to the rollback."""
    return [
        RateCell(f"delay/{to:g}/{'A' if history else 'B'}", BIG, candidate=to, onset=100,
                 history=history)
        for to in (0.01, 0.02)
        for history in (True, False)
    ]  # fmt: skip


def planned() -> list[RateCell]:
    """Regressions from the first look, for the planner's forecast."""
    return [
        RateCell(f"planned/{size}/{to:g}/{'A' if history else 'B'}", size, candidate=to,
                 history=history, looks=400)
        for size in (BIG, SMALL)
        for to in (0.01, 0.015, 0.02, 0.05)
        for history in (True, False)
    ]  # fmt: skip


def proofs() -> list[RateCell]:
    """Looks to prove "below 1.5 x + 0.0005" when nothing is wrong."""
    return [
        RateCell(f"proof/{size}/{rate:g}", size, candidate=rate, baseline=rate, history=True,
                 looks=500)
        for size in (BIG, SMALL)
        for rate in (0.0, 0.0001, 0.001, 0.005)
    ]  # fmt: skip


def false_proofs() -> list[RateCell]:
    """Candidates exactly at the border of what is tolerated, for 500 looks."""
    out = [
        RateCell(f"falseproof/1.5/{size}/{rate:g}/{'A' if history else 'B'}", size,
                 candidate=1.5 * rate + 0.0005, baseline=rate, history=history, looks=500,
                 threshold=1e6, harm_margin=1.25)
        for size in (BIG, SMALL)
        for rate in (0.001, 0.005)
        for history in (True, False)
        if history or size.candidate * rate < 5
    ]  # fmt: skip
    out.append(
        RateCell("falseproof/1.75/6000/54000/0.005/B", HUGE, candidate=1.75 * 0.005 + 0.0005,
                 looks=500, threshold=1e6)
    )  # fmt: skip
    return out


def open_points() -> list[RateCell]:
    """What the design left open, as far as rates alone can answer it."""
    wild = Noise(arm_sd=0.45, rho=0.9)
    slow = Noise(arm_sd=0.3, rho=0.9)
    bursts = Noise(burst=5.0)
    crowd = Noise(burst=5.0, pods=(3, 27))
    out = []
    for threshold in (500.0, 20.0):
        for history in (True, False):
            mark = f"{threshold:g}/{'A' if history else 'B'}"
            out += [
                RateCell(f"open/AR sd 0.45 rho 0.9/{size}/{mark}", size, noise=wild,
                         history=history, threshold=threshold)
                for size in (BIG, HUGE)
            ]  # fmt: skip
            out.append(
                RateCell(f"open/AR sd 0.3 rho 0.9 shared by both/{BIG}/{mark}", BIG,
                         noise=Noise(shared_sd=0.3, rho=0.9), history=history,
                         threshold=threshold)
            )  # fmt: skip
        out += [
            RateCell(f"open/history at a tenth of the traffic, bursts 5/{BIG}/{threshold:g}/A",
                     BIG, noise=bursts, history=True, history_size=SMALL, threshold=threshold),
            RateCell(f"open/quiet history, then bursts 5/{BIG}/{threshold:g}/A", BIG,
                     noise=bursts, history=True, history_noise=Noise(), threshold=threshold),
            RateCell(f"open/median of 10 splits by pod, bursts 5/{BIG}/{threshold:g}/A", BIG,
                     noise=crowd, history=True, splits=10, threshold=threshold),
            RateCell(f"open/split halves of the baseline, bursts 5/{BIG}/{threshold:g}/B", BIG,
                     noise=bursts, halves=True, threshold=threshold),
            RateCell(f"open/split halves of the baseline, AR rho 0.9/{BIG}/{threshold:g}/B", BIG,
                     noise=slow, halves=True, threshold=threshold),
        ]  # fmt: skip
    swing = Noise(swing=5.0, period=720)
    for periodic in (True, False):
        told = "blocks up to 8" if periodic else "all blocks"
        base = {"noise": swing, "history": True, "periodic": periodic, "limit": 0.01,
                "baseline": 0.003}  # fmt: skip
        late = {"candidate": 0.02, "onset": 40, "twin": "swing bad"}
        for name, more in (
            ("healthy", {"candidate": 0.003, "twin": "swing healthy"}),
            ("2 % from look 41", late),
        ):
            key = f"open/daily swing x5, SLO, {told}, {name}/{BIG}/500/A"
            out.append(_cell(key, BIG, {**base, **more}))
    return out


EARLIER: tuple[tuple[str, tuple[int, ...]], ...] = (
    ("none", ()), ("one of 240", (240,)), ("two of 240", (240, 240)), ("six of 40", (40,) * 6),
)  # fmt: skip


def inherited() -> list[RateCell]:
    """What history from earlier rollouts changes, by how much of it there is."""
    quiet = Noise()
    slow, wild, bursts = Noise(arm_sd=0.3, rho=0.9), Noise(arm_sd=0.45, rho=0.9), Noise(burst=5.0)
    cases: list[tuple[str, dict[str, object]]] = [
        ("AR sd 0.3 rho 0.9", {"noise": slow}),
        ("AR sd 0.45 rho 0.9", {"noise": wild}),
        ("bursts 5", {"noise": bursts}),
        ("quiet rollouts, then AR sd 0.3 rho 0.9", {"noise": slow, "history_noise": quiet}),
        ("quiet rollouts, then bursts 5", {"noise": bursts, "history_noise": quiet}),
    ]
    out = [
        _cell(f"inherited/{name}/{size}/{told}", size, changes, threshold=20.0, earlier=earlier)
        for name, changes in cases
        for size in (BIG, HUGE)
        for told, earlier in EARLIER
        if earlier or "history_noise" not in changes
    ]
    for name, candidate, onset in (("1 % from the start", 0.01, 0), ("1 % after 100", 0.01, 100)):
        out += [
            _cell(f"inherited/{name}/{size}/{told}", size, {}, candidate=candidate, onset=onset,
                  earlier=earlier)
            for size in (BIG, HUGE)
            for told, earlier in EARLIER[:3]
        ]  # fmt: skip
    return out


def _cell(name: str, size: Size, changes: dict[str, object], **more: object) -> RateCell:
    return RateCell(name, size, **changes, **more)  # type: ignore[arg-type]


def everything() -> Iterable[RateCell]:
    """All rate cells."""
    return (
        *false_rollbacks(), *delays(), *planned(), *proofs(), *false_proofs(), *open_points(),
        *inherited(),
    )  # fmt: skip
