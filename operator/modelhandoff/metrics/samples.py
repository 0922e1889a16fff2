"""Raw samples as Prometheus returns them, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

__all__ = ["NAME", "STARTED", "UP", "Labels", "Series"]

NAME: Final = "__name__"
UP: Final = "up"
STARTED: Final = "process_start_time_seconds"


@dataclass(frozen=True, slots=True)
class Labels:
    """How a scrape configuration names things; the usual Kubernetes ones by default."""

    namespace: str = "namespace"
    pod: str = "pod"
    job: str = "job"
    instance: str = "instance"


@dataclass(frozen=True, slots=True)
class Series:
    """One series: its labels without the metric's name, and its raw samples in order of time.

    ``times`` are Unix milliseconds, as Prometheus stores them; ``values`` are as long.
    """

    name: str
    labels: Mapping[str, str]
    times: tuple[int, ...]
    values: tuple[float, ...]

    def __str__(self) -> str:
        inside = ",".join(f'{label}="{value}"' for label, value in sorted(self.labels.items()))
        return f"{self.name}{{{inside}}}"
