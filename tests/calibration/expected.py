"""What the design promised: the figures that the built engine is held against.

They come from an earlier simulation of the formulas alone (drift and score with known variance),
200 runs per cell. Each entry: share promoted, share rolled back (percent), median and 90 % look of
the usual ending; None = not stated.
"""

from __future__ import annotations

Row = tuple[float | None, float | None, int | None, int | None]

ENDINGS: dict[str, Row] = {
    "identical/600/5400/A": (100, 0, 30, 42),
    "identical/600/5400/B": (100, 0, 30, 46),
    "identical/60/540/A": (74, 0, 129, 215),
    "identical/60/540/B": (71, 0, 134, 214),
    "errors 0.25 %/600/5400/A": (100, 0, 30, 30),
    "errors 0.25 %/600/5400/B": (100, 0, 30, 30),
    "errors 0.25 %/60/540/A": (100, 0, 64, 104),
    "errors 0.25 %/60/540/B": (100, 0, 61, 105),
    "errors 0.55 %/600/5400/A": (100, 0, 32, 67),
    "errors 0.55 %/600/5400/B": (100, 0, 31, 82),
    "errors 0.7 %/600/5400/A": (57, 7, None, None),
    "errors 0.7 %/600/5400/B": (57, 9, None, None),
    "errors 1 %/600/5400/A": (0, 100, 28, 47),
    "errors 1 %/600/5400/B": (0, 100, 32, 49),
    "errors 1 %/60/540/A": (0, 46, None, None),
    "errors 1 %/60/540/B": (0, 38, None, None),
    "errors 2 %/600/5400/A": (0, 100, 4, 6),
    "errors 2 %/600/5400/B": (0, 100, 5, 8),
    "errors 2 %/60/540/A": (0, 100, 26, 48),
    "errors 2 %/60/540/B": (0, 100, 26, 56),
    "errors 5 %/600/5400/A": (0, 100, 3, 3),
    "errors 5 %/600/5400/B": (0, 100, 3, 3),
    "errors 5 %/60/540/A": (0, 100, 5, 8),
    "errors 5 %/60/540/B": (0, 100, 4, 7),
    "p95 36 ms/600/5400/A": (0, 100, 3, 3),
    "p95 36 ms/600/5400/B": (0, 100, 3, 4),
    "p95 36 ms/60/540/A": (0, 100, 5, 7),
    "p95 36 ms/60/540/B": (0, 100, 6, 11),
    "drift KL 0.3/600/5400/A": (0, 100, 7, 8),
    "drift KL 0.3/600/5400/B": (0, 100, 7, 8),
    "drift KL 0.3/60/540/A": (0, 100, 33, 42),
    "drift KL 0.3/60/540/B": (0, 100, 33, 42),
    "score -10 %/600/5400/A": (0, 100, 10, 10),
    "score -10 %/600/5400/B": (0, 100, 10, 10),
    "score -10 %/60/540/A": (0, 100, 15, 23),
    "score -10 %/60/540/B": (0, 100, 15, 23),
    "errors 1 % only from look 21/600/5400/A": (0.5, 99.5, 59, 84),
    "errors 1 % only from look 21/600/5400/B": (0.5, 99.5, 77, 106),
    "errors 1 % only from look 21/60/540/A": (0, 25, None, None),
    "errors 1 % only from look 21/60/540/B": (1, 17, None, None),
    "errors 2 % only from look 21/600/5400/A": (0, 100, 26, 28),
    "errors 2 % only from look 21/600/5400/B": (0, 100, 29, 37),
    "errors 2 % only from look 21/60/540/A": (0, 100, 53, 76),
    "errors 2 % only from look 21/60/540/B": (0, 100, 64, 95),
}

# Largest false-rollback rate (percent) at thresholds 500 and 20, with and without history.
_NOISE: dict[str, tuple[float, float, float, float]] = {
    "none": (0, 0, 0, 0),
    "daily swing x3": (0, 0, 0, 0),
    "ramp 5-10-25-50, two shared incidents 0.3 -> 3 %": (0, 0, 0, 0),
    "bursts of mean 2": (0, 0.2, 0.4, 0.4),
    "bursts of mean 5": (0, 0.2, 0.4, 0.4),
    "AR(1) per arm, sd 0.3, rho 0.5": (0, 0, 0, 0),
    "AR(1) per arm, sd 0.3, rho 0.9/600/5400": (0, 0.8, 1.5, 4.0),
    "AR(1) per arm, sd 0.3, rho 0.9/2000/18000": (0.5, 0.5, 1.5, 4.0),
    "AR(1) per arm, sd 0.3, rho 0.9/6000/54000": (0, 0.8, 0.3, 1.0),
    "fixed pod effects sd 0.2, 3/27 pods": (0.2, 0.2, 0.4, 0.4),
    "fixed pod effects sd 0.2, 6/6 pods": (0.2, 0.2, 0.4, 0.4),
    "bursts of mean 5, mean 0.5 %": (0, 0, 0.4, 0.4),
    "AR(1) per arm, sd 0.3, rho 0.5, mean 0.5 %": (0, 0, 0.4, 0.4),
    "pods sd 0.2, 3/27, mean 0.5 %": (0, 0, 0.4, 0.4),
    "daily swing x3, mean 0.5 %": (0, 0, 0.4, 0.4),
    "bursts of mean 5, mean 0.8 %": (0, 0, 0.4, 0.4),
    "AR(1) per arm, sd 0.3, rho 0.5, mean 0.7 %": (0, 0, 0, 0),
    "AR(1) per arm, sd 0.3, rho 0.9, mean 0.7 %": (0, 0, 0.2, 0.2),
}


def false_rollback(noise: str, size: str) -> tuple[float, float, float, float]:
    """Promised percent: (A at 500, A at 20, B at 500, B at 20)."""
    return _NOISE.get(f"{noise}/{size}") or _NOISE[noise]


DELAYS = {"0.01/A": 46, "0.01/B": 68, "0.02/A": 7, "0.02/B": 11}
PROOFS = {
    "600/5400/0": (15, 15), "600/5400/0.0001": (16, 28), "600/5400/0.001": (20, 45),
    "600/5400/0.005": (16, 35), "60/540/0": (149, 149), "60/540/0.0001": (134, 242),
    "60/540/0.001": (190, 441), "60/540/0.005": (91, 243),
}  # fmt: skip
