"""Whether an answer is right enough: tensors by name and position, or any JSON value."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from modelhandoff.api.acceptance import Smoke
from modelhandoff.errors import cut


class Judge:
    """Compares answers with a tolerance, and remembers the worst of them.

    Attributes:
        values: how many were compared.
        worst: largest difference, as a share of what is allowed.
    """

    def __init__(self, smoke: Smoke) -> None:
        self._smoke = smoke
        self.values = 0
        self.worst = 0.0

    @property
    def said(self) -> str:
        """The largest difference in words."""
        return f"the largest difference is {100 * self.worst:.3g} % of what is allowed"

    def wrong(
        self, name: str, shape: Sequence[int], got: Sequence[Any], expected: dict[str, Any]
    ) -> str:
        """What is wrong with one output, as the rest of a line; "" when nothing is.

        Args:
            name: of the output.
            shape: of the output, as it was answered.
            got: its values, row by row.
            expected: ``{"data": ..., "shape": optional}``.
        """
        wanted_shape = expected.get("shape")
        if wanted_shape is not None and list(shape) != wanted_shape:
            return (
                f"output {name} has another shape; got {list(shape)}; allowed {cut(wanted_shape)}"
            )
        wanted = flat(expected.get("data"))
        if wanted is None or len(wanted) != len(got):
            count = "no list" if wanted is None else f"{len(wanted)} values"
            return f"output {name} does not fit its answer; got {len(got)} values; allowed {count}"
        self.values += len(got)
        width = int(shape[-1]) if len(shape) > 1 else 1
        if self._smoke.top_k is not None and width > 1:
            return self._ranked(name, got, wanted, width)
        for index, (value, right) in enumerate(zip(got, wanted, strict=True)):
            problem = self._differs(value, right)
            if problem:
                return f"output {name}[{index}] is wrong; got {cut(value)}; allowed {problem}"
        return ""

    def other(self, path: str, got: Any, expected: Any) -> str:
        """What is wrong with a JSON value, as the rest of a line; "" when nothing is.

        An object may have more members than are expected: they promise nothing.
        """
        if isinstance(expected, dict):
            if not isinstance(got, dict):
                return f"{path or 'the answer'} is no object; got {cut(got)}"
            for key, right in expected.items():
                below = f"{path}.{key}" if path else str(key)
                if key not in got:
                    return f"{below} is missing; allowed {cut(right)}"
                problem = self.other(below, got[key], right)
                if problem:
                    return problem
            return ""
        if isinstance(expected, list):
            if not isinstance(got, list) or len(got) != len(expected):
                allowed = f"a list of {len(expected)}"
                return f"{path or 'the answer'} has another length; got {cut(got)}; {allowed}"
            problems = (
                self.other(f"{path}[{index}]", value, right)
                for index, (value, right) in enumerate(zip(got, expected, strict=True))
            )
            return next((problem for problem in problems if problem), "")
        self.values += 1
        problem = self._differs(got, expected)
        where = path or "the answer"
        return f"{where} is wrong; got {cut(got)}; allowed {problem}" if problem else ""

    def _differs(self, value: Any, right: Any) -> str:
        """What would be allowed instead; "" when the value is right enough."""
        if number(right) and number(value):
            allowed = self._allowed(float(right))
            difference = abs(float(value) - float(right))
            if allowed > 0.0 and math.isfinite(difference):
                self.worst = max(self.worst, difference / allowed)
            # Not <=: a difference that is no number is none that is allowed.
            return "" if difference <= allowed else f"{right:g} +- {allowed:.3g}"
        # NaN has no JSON; what was served as null is null.
        absent = right is None and (value is None or _is_nan(value))
        return "" if absent or (type(value) is type(right) and value == right) else cut(right)

    def _allowed(self, right: float) -> float:
        return self._smoke.abs_tolerance + self._smoke.rel_tolerance * abs(right)

    def _ranked(self, name: str, got: Sequence[Any], wanted: list[Any], width: int) -> str:
        k = min(self._smoke.top_k or 1, width)
        if not all(number(value) for value in (*wanted, *got)):
            return f"output {name} has no order; got {_first_other(got)}; allowed numbers"
        if not all(math.isfinite(value) for value in got):
            return f"output {name} has no order; got a value that is not finite"
        for row in range(len(wanted) // width):
            answer = [float(v) for v in wanted[row * width : (row + 1) * width]]
            ours = _largest([float(v) for v in got[row * width : (row + 1) * width]], k)
            for rank, (mine, best) in enumerate(zip(ours, _largest(answer, k), strict=True)):
                # Positions whose right numbers are equal within the tolerance may change places.
                gap = abs(answer[mine] - answer[best])
                if mine != best and gap > self._allowed(answer[best]):
                    return (
                        f"output {name} row {row} ranks another position {rank + 1}; "
                        f"got {mine}; allowed {best}"
                    )
        return ""


def number(value: Any) -> bool:
    """Whether a value is a number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def flat(data: Any) -> list[Any] | None:
    """Values of flat or nested data, in order; ``None`` when it is no list."""
    if not isinstance(data, list):
        return None
    found: list[Any] = data
    while found and all(isinstance(item, list) for item in found):
        found = [value for item in found for value in item]
    return found


def _largest(values: list[float], k: int) -> list[int]:
    """Positions of the k largest values, the first of equal ones first."""
    return sorted(range(len(values)), key=lambda at: -values[at])[:k]


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _first_other(values: Sequence[Any]) -> str:
    return cut(next((value for value in values if not number(value)), "no numbers"))
