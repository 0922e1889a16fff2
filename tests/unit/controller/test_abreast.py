"""Looks of one turn of the event loop are taken in together, and nobody pays for another's."""

from __future__ import annotations

import asyncio

import numpy as np

from modelhandoff.analysis import Evidence, Plan, RatePlan, observe
from modelhandoff.analysis.synthetic import RateTruth, Scenario, Traffic
from modelhandoff.controller import abreast
from modelhandoff.controller.abreast import MOST, Abreast
from modelhandoff.rollout.judging import Memory

PLAN = Plan(metrics=(RatePlan("errors"),))
ONE = Traffic(Scenario(600.0, {"errors": RateTruth(0.01, 0.01)}), np.random.default_rng(1), 3)
INTERVAL = ONE.interval(1, 0, 10)


def remembered(count):
    return [Memory(plan=PLAN, found=Evidence.start(PLAN)) for _ in range(count)]


async def taken(memories):
    together = Abreast()
    await asyncio.gather(*(together.take(m, [INTERVAL]) for m in memories))


def test_looks_of_one_turn_share_their_calls_and_are_as_if_alone(monkeypatch):
    sizes, real = [], abreast.observe_all
    monkeypatch.setattr(abreast, "observe_all", lambda one: sizes.append(len(one)) or real(one))
    memories = remembered(MOST + 3)
    asyncio.run(taken(memories))
    assert sizes == [MOST, 3]
    for memory in memories:
        before = memory.found
        made = memory.after(PLAN, before, INTERVAL)
        assert made is memory.ahead[2]
        assert made.to_json() == observe(PLAN, before, INTERVAL).to_json()


def test_what_was_prepared_for_other_evidence_is_not_used():
    (memory,) = remembered(1)
    asyncio.run(taken([memory]))
    other = Evidence.start(PLAN)
    assert memory.after(PLAN, other, INTERVAL) is not memory.ahead[2]


def test_when_one_look_cannot_be_taken_in_each_is_left_to_its_own_turn(monkeypatch):
    def broken(looks):
        raise ValueError("a state that does not fit")

    monkeypatch.setattr(abreast, "observe_all", broken)
    memories = remembered(2)
    asyncio.run(taken(memories))
    assert all(memory.ahead is None for memory in memories)


def test_an_attempt_nobody_remembers_waits_for_nobody():
    memory = Memory()
    asyncio.run(taken([memory]))
    assert memory.ahead is None
