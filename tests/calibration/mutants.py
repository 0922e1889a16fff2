"""Deliberately broken engines: each takes away one rule. The short calibration must notice.

A mutant is a context manager that patches the engine's own functions while it is open.
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np

from modelhandoff.analysis import absolute, checks, evidence, rates, readout, replay, sources
from modelhandoff.analysis.compiled import Compiled

# The package exports the function of the same name.
JUDGE = importlib.import_module("modelhandoff.analysis.judge")

Mutant = Callable[[], AbstractContextManager[None]]


@contextmanager
def dispersion_off() -> Iterator[None]:
    """Counts are taken for binomial: phi is 1 whatever the blocks say."""
    with (
        patch.object(readout, "phi_two_arm", lambda b, v: np.ones(b.size)),
        patch.object(readout, "phi_absolute", lambda b, v: np.ones(len(b.one_source))),
    ):
        yield


@contextmanager
def cap_off() -> Iterator[None]:
    """One interval may say as much as it likes."""
    with (
        patch.object(Compiled, "_cap", lambda self, share: math.inf),
        patch.object(rates, "cap_low", lambda expected: np.full(expected.shape, math.inf)),
        patch.object(absolute, "cap_low", lambda expected: np.full(expected.shape, math.inf)),
    ):
        yield


@contextmanager
def proofs_latched() -> Iterator[None]:
    """A proof once made holds for ever, like a check that "passed" and is not looked at again."""
    original = JUDGE.check_all
    seen: dict[int, tuple[Any, set[int]]] = {}

    def latched(c: Any, v: Any, r: Any, *data: Any) -> list[Any]:
        found = original(c, v, r, *data)
        _, proven = seen.setdefault(id(c), (c, set()))
        proven |= {at for at, check in enumerate(found) if _holds(check)}
        return [
            replace(check, log_safe=math.inf, recent=True, alarming=False)
            if at in proven
            else check
            for at, check in enumerate(found)
        ]

    with (
        patch.object(JUDGE, "check_all", latched),
        # A latched proof must be asked for at every look, also where runs would skip the verdict.
        patch.object(replay.Replay, "undecided", lambda self, now: False),
    ):
        yield


def _holds(check: checks.Check) -> bool:
    return check.log_safe is None or check.log_safe >= check.needed


@contextmanager
def missing_read_as_zero() -> Iterator[None]:
    """A series that is not there counts as "no errors in all requests"."""
    original = sources._counts

    def zeros(source: Any, found: Any, interval: Any, edge: float) -> Any:
        if found is None and source.kind == "rate":
            return (0.0, interval.requests[0], 0.0, interval.requests[1] or 0.0)
        return original(source, found, interval, edge)

    with ExitStack() as stack:
        stack.enter_context(patch.object(sources, "_counts", zeros))
        stack.enter_context(patch.object(evidence, "_has", lambda metric, interval: True))
        yield


MUTANTS: dict[str, tuple[Mutant, str]] = {
    "dispersion off": (dispersion_off, "bursts_do_not_roll_back"),
    "cap off": (cap_off, "no_two_intervals_decide"),
    "proofs latched": (proofs_latched, "a_late_break_is_not_promoted"),
    "missing read as zero": (missing_read_as_zero, "silence_is_not_a_pass"),
}
"""Name -> (mutant, the check that must notice it)."""
