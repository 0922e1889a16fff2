"""The recent past without a ring: three sums started half a window apart.

The oldest of them always covers between one and one and a half windows; when it reaches one and a
half it starts again. Storage does not depend on the length of the window.
"""

import math

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_WINDOW", "advance", "length", "newest"]

Array = NDArray[np.float64]

MIN_WINDOW = 15.0
WINDOWS = 3


def length(looks: float) -> float:
    """W = max(15 looks, 20 % of the run so far)."""
    return max(MIN_WINDOW, float(math.ceil(0.2 * looks)))


def advance(windows: Array, increment: Array | None, looks: float) -> None:
    """Count one look; ``windows`` has shape (3, 2 + width), age and looks with data first.

    ``increment`` (width,) is added to every open sum; None = this look had no data.
    """
    span = length(looks)
    ages = windows[:, 0].tolist()
    oldest, second, _ = sorted(range(WINDOWS), key=lambda i: (-ages[i], i))
    if ages[oldest] >= math.ceil(1.5 * span) and ages[second] >= span:
        windows[oldest] = 0.0
        ages[oldest] = 0.0
    opened = [age > 0.0 for age in ages]
    if not all(opened):
        youngest = min((age for age in ages if age > 0.0), default=math.inf)
        if not any(opened) or youngest >= math.ceil(0.5 * span):
            opened[opened.index(False)] = True
    for i in range(WINDOWS):
        if opened[i]:
            windows[i, 0] += 1.0
            if increment is not None:
                windows[i, 1] += 1.0
                windows[i, 2:] += increment


def newest(windows: Array) -> Array:
    """The oldest open sum, (2 + width,): age, looks with data, sums."""
    ages = windows[:, 0].tolist()
    return np.asarray(windows[ages.index(max(ages))])
