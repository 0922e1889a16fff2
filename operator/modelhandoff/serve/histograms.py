"""A histogram family whose members have edges of their own.

``prometheus_client.Histogram`` gives all members of a family the same buckets; a feature in
euros and one in years need different ones.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate

from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector, CollectorRegistry
from prometheus_client.utils import floatToGoString


class BinnedCounts:
    """Counts of one series' values between fixed edges, upper edge inclusive.

    Not locked: every observation is made on the event loop's thread.
    """

    __slots__ = ("_borders", "counts", "total")

    def __init__(self, edges: Sequence[float]) -> None:
        self._borders = tuple(edges)
        self.counts = [0] * (len(edges) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a finite value."""
        self.counts[bisect_left(self._borders, value)] += 1
        self.total += value

    def cumulative(self) -> list[tuple[str, float]]:
        """Pairs of ``le`` and the count at or below it, ending with +Inf."""
        labels = [*(_le(edge) for edge in self._borders), "+Inf"]
        return [
            (label, float(count))
            for label, count in zip(labels, accumulate(self.counts), strict=True)
        ]


class BinnedFamily(Collector):
    """A Prometheus histogram family with one label.

    Args:
        name: the family's name.
        documentation: its help text.
        label: the label that tells members apart.
        registry: where to register.
    """

    def __init__(
        self, name: str, documentation: str, label: str, registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._documentation = documentation
        self._label = label
        self._members: dict[str, BinnedCounts] = {}
        registry.register(self)

    def add(self, value: str, edges: Sequence[float]) -> BinnedCounts:
        """Create the member with this label value, all bins at 0."""
        member = self._members[value] = BinnedCounts(edges)
        return member

    def describe(self) -> Iterator[HistogramMetricFamily]:
        """The family without members, which the registry asks for to find name clashes."""
        yield HistogramMetricFamily(self._name, self._documentation, labels=[self._label])

    def collect(self) -> Iterator[HistogramMetricFamily]:
        """The family with its current counts."""
        family = HistogramMetricFamily(self._name, self._documentation, labels=[self._label])
        for value, member in self._members.items():
            family.add_metric([value], buckets=member.cumulative(), sum_value=member.total)
        yield family


def _le(edge: float) -> str:
    """The ``le`` label, spelled as ``prometheus_client`` spells it for its own histograms."""
    label: str = floatToGoString(edge)  # type: ignore[no-untyped-call]
    return label
