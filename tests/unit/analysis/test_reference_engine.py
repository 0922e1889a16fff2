"""The vectorised engine against a plain re-reading of the specification, loop by loop."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelhandoff.analysis import (
    Dispersion,
    Evidence,
    Interval,
    Plan,
    Rate,
    RateHistory,
    RatePlan,
    observe,
)
from modelhandoff.analysis.evidence import readout

HARM = [1.25 * (10 / 1.25) ** (i / 5) for i in range(6)]
SAFE = [1 / (1.1 * (8 / 1.1) ** (i / 5)) for i in range(6)]
ABS_HARM = [1.15 * (6 / 1.15) ** (i / 5) for i in range(6)]
ABS_SAFE = [1 / (1.1 * (6 / 1.1) ** (i / 5)) for i in range(6)]
LENGTHS = (1, 2, 4, 8, 16, 32)


def phi_pair(pair_sums, count):
    best = 1.0
    for length, (u2, vu) in zip(LENGTHS, pair_sums, strict=True):
        k = count // length - 1
        if k < 7:
            continue
        f = u2 / vu if vu > 0 else 0.0
        best = max(best, (20 / length + k * f) / (20 / length + k))
    return best


def two_arm_sums(rows):
    """Recompute all block pairs from the whole list of intervals."""
    out = []
    for length in LENGTHS:
        blocks = [rows[i : i + length] for i in range(0, len(rows) - length + 1, length)]
        u2 = vu = 0.0
        for one, two in pairwise(blocks):
            a = sum(xc * nb / (nc + nb) for xc, nc, xb, nb in one + two)
            b = sum(xb * nc / (nc + nb) for xc, nc, xb, nb in one + two)
            r = (a + 0.5) / (b + 0.5)
            e, v = [], []
            for block in (one, two):
                es = vs = 0.0
                for xc, nc, xb, nb in block:
                    w = nc / nb
                    pi = r * w / (1 + r * w)
                    es += xc - (xc + xb) * pi
                    vs += (xc + xb) * pi * (1 - pi)
                e.append(es)
                v.append(vs)
            if v[0] + v[1] > 0:
                u2 += ((e[0] * v[1] - e[1] * v[0]) / (v[0] + v[1])) ** 2
                vu += v[0] * v[1] / (v[0] + v[1])
        out.append((u2, vu))
    return out


def one_arm_sums(rows):
    out = []
    for length in LENGTHS:
        blocks = [
            (sum(x for x, _ in rows[i : i + length]), sum(n for _, n in rows[i : i + length]))
            for i in range(0, len(rows) - length + 1, length)
        ]
        u2 = vu = 0.0
        for (xa, na), (xb, nb) in pairwise(blocks):
            p = (xa + xb) / (na + nb)
            u2 += ((xb * na - xa * nb) / (na + nb)) ** 2
            vu += p * (1 - p) * na * nb / (na + nb)
        out.append((u2, vu))
    return out


def grown(phi, count):
    return 1 + (1 + 2 * min(1, 60 / max(count, 1))) * (phi - 1)


def start(j, horizon):
    return 0.5 if j == 1 else 0.5 / (horizon - 1) if j <= horizon else 0.0


def restarts(increments, horizon):
    """E2 as the explicit sum over starts; increments is a list of six logs per look."""
    looks = len(increments)
    total = 0.0
    for b in range(6):
        for j in range(1, looks + 1):
            total += start(j, horizon) * math.exp(sum(one[b] for one in increments[j - 1 :]))
    return total / 6 + 1 - sum(start(j, horizon) for j in range(1, looks + 1))


def reference(rows, *, limit, share, horizon, history):
    """(E two-arm harm, E two-arm safe, E absolute harm, E absolute safe) after all rows."""
    c = math.log(1 / (share * 0.01)) + math.log(2) + math.log(6)
    seen, harm, safe, absolute, proof = [], [], [], [], []
    for xc, nc, xb, nb in rows:
        phi = phi_pair(two_arm_sums(seen), len(seen))
        phi = max(phi, history.relative.phi) if history else grown(phi, len(seen))
        past = sum(r[2] for r in seen) / max(sum(r[3] for r in seen), 1)
        low = min(1, max(0.5, 5 / max(nc * past, 1e-9)))
        h, s = [], []
        for theta in HARM:
            w = 1.25 * nc / nb
            b = (1 + w) / (1 + theta * w)
            cap = c / 3 if history or theta >= 4 else low
            h.append(min((xc * math.log(theta * b) + xb * math.log(b)) / phi, cap))
        slack = limit / 20
        for theta in SAFE:
            w = 1.5 * nc / nb
            b = (1 + w) / (1 + theta * w)
            log = xc * math.log(theta * b) + xb * math.log(b) - nc * slack * (theta * b - 1)
            s.append(min(log / phi, 1.0))
        harm.append(h)
        safe.append(s)
        phi = phi_pair(one_arm_sums([(r[0], r[1]) for r in seen]), len(seen))
        phi = max(phi, history.absolute.phi) if history else grown(phi, len(seen))
        recent = [*seen, (xc, nc, xb, nb)][-15:]
        over = xb > limit * nb or sum(r[2] for r in recent) > limit * sum(r[3] for r in recent)
        low = min(1, max(0.5, 5 / (nc * limit)))
        h, s = [], []
        for theta in ABS_HARM + ABS_SAFE:
            p1 = theta * limit / (1 - limit + theta * limit)
            log = xc * math.log(p1 / limit) + (nc - xc) * math.log((1 - p1) / (1 - limit))
            if theta > 1:
                cap = c / 3 if history or theta >= 3 else low
                h.append(0.0 if over else min(log / phi, cap))
            else:
                s.append(min(log / phi, 1.0))
        absolute.append(h)
        proof.append(s)
        seen.append((xc, nc, xb, nb))

    def product(steps):
        return sum(math.exp(sum(one[b] for one in steps)) for b in range(6)) / 6

    return restarts(harm, horizon), product(safe), restarts(absolute, horizon), product(proof)


def engine(rows, *, limit, horizon, history):
    plan = Plan(
        metrics=(
            RatePlan("errors", limit=limit, safe_margin=1.5, delta=0.0, catastrophe=False,
                     baseline_rate=0.005, history=history),
        ),
        planned_looks=horizon, min_looks=2, requests_per_interval=100.0,
    )  # fmt: skip
    evidence = Evidence.start(plan)
    for i, (xc, nc, xb, nb) in enumerate(rows):
        one = Interval(i, 30.0 * i, 30.0 * i + 30.0, 0, 10, (nc, nb),
                       {"errors": Rate((xc, nc), (xb, nb))})  # fmt: skip
        evidence = observe(plan, evidence, one)
    r = readout(plan, evidence)
    return tuple(
        math.exp(log) for log in (r.two_harm[0], r.two_safe[0], r.one_harm[0], r.one_safe[0])
    )


def traffic(seed, looks, *, noisy):
    """Ramping, swinging, bursty counts with every kind of ratio."""
    rng = np.random.default_rng(seed)
    rows = []
    for t in range(looks):
        nc = float(rng.integers(50, 700))
        nb = float(rng.integers(500, 6000))
        swing = 0.006 * (1 + 0.8 * math.sin(t / 9))
        burst = rng.gamma(0.5, 2.0, size=2) if noisy else (1.0, 1.0)
        rows.append((float(rng.binomial(int(nc), min(swing * burst[0], 1))), nc,
                     float(rng.binomial(int(nb), min(swing * burst[1], 1))), nb))  # fmt: skip
    return rows


@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize(
    "history",
    [None, RateHistory(0.005), RateHistory(0.005, Dispersion(2.5), Dispersion(1.7))],
    ids=["none", "clean", "bursty"],
)
@pytest.mark.parametrize("looks", [1, 9, 70])
def test_engine_and_specification_agree(noisy, history, looks):
    rows = traffic(looks, looks, noisy=noisy)
    want = reference(rows, limit=0.01, share=1.0, horizon=60, history=history)
    got = engine(rows, limit=0.01, horizon=60, history=history)
    assert got == pytest.approx(want, rel=1e-9)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), looks=st.integers(1, 24))
def test_engine_and_specification_agree_on_any_traffic(seed, looks):
    rows = traffic(seed, looks, noisy=bool(seed % 2))
    want = reference(rows, limit=0.008, share=1.0, horizon=20, history=None)
    assert engine(rows, limit=0.008, horizon=20, history=None) == pytest.approx(want, rel=1e-9)
