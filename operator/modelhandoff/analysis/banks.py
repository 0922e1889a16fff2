"""The tests on counts as arrays, one row per test: of one plan, or of many plans side by side.

A row knows nothing of its neighbours, so the plans of many handoffs can be laid end to end and
advanced by the same array calls. It is those calls that cost, not the arithmetic: a look at six
rates takes a thirteenth of the time when a hundred handoffs share it
(docs/performance-judgement.md).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.layout import Views

__all__ = ["Banks", "gathered", "joined", "scattered"]

Array = NDArray[np.float64]
Index = NDArray[np.intp]
Mask = NDArray[np.bool_]

_AXES: Final = {
    "ring": 1, "count": 0, "u2": 0, "vu": 0, "total": 0, "information": 0,
    "two_count": 0, "two_harm": 0, "two_safe": 0, "two_margin": 0,
    "one_count": 0, "one_harm": 0, "one_safe": 0, "one_block": 0, "one_u2": 0, "one_vu": 0,
    "one_information": 0, "one_excused": 0,
}  # fmt: skip
"""Blocks of the state that have a row per source or test, and which axis the rows are."""


@dataclass(frozen=True, eq=False, slots=True)
class Banks:
    """Constants of all sources (S rows), two-arm tests (T rows) and absolute tests (A rows).

    Attributes:
        initial: (S,) no baseline serves.
        phi, information, aged: (S,) history of each source; phi 0 = none.
        half: (S,) row of the source's half series, -1 = none.
        two_source, one_source: source row of each test.
        two_horizon, one_horizon: planned looks, per test.
        two, one: further arrays of the tests, by name (see :class:`~.compiled.Compiled`).
        excusable: (A,) a harm test with a baseline that may be in trouble too.
    """

    initial: Mask
    phi: Array
    information: Array
    aged: Mask
    half: Index
    two_source: Index
    two_horizon: Array
    two: dict[str, NDArray[Any]]
    one_source: Index
    one_horizon: Array
    one: dict[str, NDArray[Any]]
    excusable: Mask

    @property
    def size(self) -> int:
        """Number of sources."""
        return len(self.phi)


def joined(parts: Sequence[Banks]) -> Banks:
    """Many plans side by side; rows keep their order."""
    if len(parts) == 1:
        return parts[0]
    first = np.cumsum([0, *(p.size for p in parts)])[:-1].tolist()

    def rows(of: Callable[[Banks], NDArray[Any]]) -> NDArray[Any]:
        return np.concatenate([of(p) for p in parts])

    def moved(of: Callable[[Banks], Index]) -> Index:
        return np.concatenate([of(p) + at for p, at in zip(parts, first, strict=True)])

    return Banks(
        initial=rows(lambda p: p.initial),
        phi=rows(lambda p: p.phi),
        information=rows(lambda p: p.information),
        aged=rows(lambda p: p.aged),
        half=np.concatenate([
            np.where(p.half >= 0, p.half + at, -1) for p, at in zip(parts, first, strict=True)
        ]),
        two_source=moved(lambda p: p.two_source),
        two_horizon=rows(lambda p: p.two_horizon),
        two={name: np.concatenate([p.two[name] for p in parts]) for name in parts[0].two},
        one_source=moved(lambda p: p.one_source),
        one_horizon=rows(lambda p: p.one_horizon),
        one={name: np.concatenate([p.one[name] for p in parts]) for name in parts[0].one},
        excusable=rows(lambda p: p.excusable),
    )  # fmt: skip


def gathered(parts: Sequence[Views], *, ring: bool = True) -> Views:
    """The rows of many states side by side, ``ring`` if wanted; of a single state its own views."""
    if len(parts) == 1:
        return parts[0]
    return {
        name: np.concatenate([v[name] for v in parts], axis=axis)
        for name, axis in _AXES.items()
        if ring or name != "ring"
    }


def scattered(whole: Views, parts: Sequence[Views]) -> None:
    """Write the rows of :func:`gathered` back to the states they came from."""
    if len(parts) == 1:
        return
    for name, axis in _AXES.items():
        values, at = whole[name], 0
        for v in parts:
            into = v[name]
            stop = at + into.shape[axis]
            into[...] = values[at:stop] if axis == 0 else values[:, at:stop]
            at = stop
