"""Where a collector stopped: the last closed interval and every counter's last raw value.

The cursor is written together with the evidence that was made up to it, so it is compact: label
sets are listed once, then per pod the time of its last scrape and one value per counter.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from modelhandoff.errors import HandoffError, cut

__all__ = ["Cursor", "CursorError", "Key", "Target"]

VERSION: Final = 1

Key: TypeAlias = tuple[str, ...]
"""Identity of a counter inside its process: metric name, then label, value, label, value, ..."""


class CursorError(HandoffError):
    """A stored cursor cannot be used: damaged, or written by a version this one cannot read."""

    def __init__(self, wrong: str) -> None:
        super().__init__(
            f"metrics cursor: {wrong}; allowed a cursor of version {VERSION}",
            user_action="start a new attempt; evidence restarts at 1, which is always valid",
        )


@dataclass(frozen=True, slots=True)
class Target:
    """One process behind one pod name.

    Attributes:
        pod: name of the pod.
        endpoint: which scrape target was read (two scrapers may watch one process).
        scraped: time of the last scrape that was used, Unix seconds.
        started: ``process_start_time_seconds`` at that scrape, if the process tells.
        readings: raw value of every counter in the last scrape that showed it.
        spacing: usual seconds between two scrapes, 0 while unknown.
        silent: whether a warning about its silence has been given.
    """

    pod: str
    endpoint: str
    scraped: float
    started: float | None
    readings: Mapping[Key, float]
    spacing: float = 0.0
    silent: bool = False


@dataclass(frozen=True, slots=True)
class Cursor:
    """Resume point.

    Attributes:
        interval: length of an interval in seconds; a cursor never moves to another grid.
        first: index of the first interval of the evidence.
        closed: index of the last closed interval, ``first - 1`` before any.
        targets: every process seen lately.
        asked: names of the metrics that were asked for; one asked for the first time has no
            earlier value, however long it has been counting.
        edges: by measurement key, the inner bin edges of the first interval; they never change.
    """

    interval: float
    first: int
    closed: int
    targets: tuple[Target, ...] = ()
    asked: frozenset[str] = field(default_factory=frozenset)
    edges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def to_json(self) -> str:
        """One compact JSON text; :meth:`from_json` gives back an equal cursor."""
        packed = _pack(sorted({key for target in self.targets for key in target.readings}))
        # Packing folds the buckets of a histogram, so values follow the order of the packed keys.
        order = _unpack(packed)
        return json.dumps(
            {
                "v": VERSION,
                "d": _short(self.interval),
                "f": self.first,
                "i": self.closed,
                "n": sorted(self.asked),
                "b": {key: [_short(x) for x in edges] for key, edges in self.edges.items()},
                "k": packed,
                "t": [_target_out(target, order) for target in self.targets],
            },
            separators=(",", ":"),
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Cursor:
        """Read what :meth:`to_json` wrote.

        Raises:
            CursorError: not a cursor, damaged, or of an unknown version; never misread.
        """
        try:
            data = json.loads(text)
        except ValueError:
            raise CursorError(f"not JSON; got {cut(text)}") from None
        if not isinstance(data, dict) or data.get("v") != VERSION:
            version = data.get("v") if isinstance(data, dict) else data
            raise CursorError(f"unknown version; got {cut(version)}")
        try:
            keys = _unpack(data["k"])
            found = cls(
                interval=_number(data["d"]),
                first=_whole(data["f"]),
                closed=_whole(data["i"]),
                targets=tuple(_target_in(one, keys) for one in data["t"]),
                asked=frozenset(str(name) for name in data["n"]),
                edges={
                    str(key): tuple(_number(x) for x in edges) for key, edges in data["b"].items()
                },
            )
        except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
            raise CursorError(f"damaged; got {cut(error)}") from None
        if not found.interval > 0 or found.closed < found.first - 1:
            raise CursorError("damaged; got an interval or index that cannot be")
        return found


def _pack(keys: list[Key]) -> list[list[Any]]:
    """Label sets with the buckets of one histogram folded: [name, labels..., [le, ...]]."""
    groups: dict[tuple[Key, bool], list[str]] = {}
    for key in keys:
        pairs = list(zip(key[1::2], key[2::2], strict=True))
        rest = [part for pair in pairs if pair[0] != "le" for part in pair]
        here = [value for label, value in pairs if label == "le"]
        groups.setdefault(((key[0], *rest), bool(here)), []).extend(here)
    return [[*group, edges] if folded else [*group] for (group, folded), edges in groups.items()]


def _unpack(packed: list[list[Any]]) -> list[Key]:
    keys: list[Key] = []
    for one in packed:
        if isinstance(one[-1], list):
            keys.extend(_with_edge([str(x) for x in one[:-1]], str(edge)) for edge in one[-1])
        else:
            keys.append(tuple(str(x) for x in one))
    if any(len(key) % 2 == 0 for key in keys):
        raise ValueError("a label without a value")
    return keys


def _with_edge(parts: list[str], edge: str) -> Key:
    pairs = [*zip(parts[1::2], parts[2::2], strict=True), ("le", edge)]
    return (parts[0], *(text for pair in sorted(pairs) for text in pair))


def _target_out(target: Target, keys: list[Key]) -> list[Any]:
    values = [
        None if (value := target.readings.get(key)) is None else _short(value) for key in keys
    ]
    started = None if target.started is None else _short(target.started)
    return [
        target.pod, target.endpoint, _short(target.scraped), started,
        _short(target.spacing), int(target.silent), values,
    ]  # fmt: skip


def _target_in(one: list[Any], keys: list[Key]) -> Target:
    pod, endpoint, scraped, started, spacing, silent, values = one
    if len(values) != len(keys):
        raise ValueError(f"{len(values)} values for {len(keys)} counters")
    return Target(
        pod=str(pod),
        endpoint=str(endpoint),
        scraped=_number(scraped),
        started=None if started is None else _number(started),
        readings={
            key: _number(value)
            for key, value in zip(keys, values, strict=True)
            if value is not None
        },
        spacing=_number(spacing),
        silent=bool(silent),
    )


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"not a number: {value!r}")
    return float(value)


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"not a whole number: {value!r}")
    return value
