"""The recent past without a ring: three sums started half a window apart.

The oldest of them always covers between one and one and a half windows; when it reaches one and a
half it starts again. Storage does not depend on the length of the window.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["MIN_WINDOW", "advance", "length", "newest"]

Array = NDArray[np.float64]

MIN_WINDOW = 15.0


def length(looks: float) -> float:
    """W = max(15 looks, 20 % of the run so far)."""
    return max(MIN_WINDOW, float(np.ceil(0.2 * looks)))


def advance(windows: Array, increment: Array | None, looks: float) -> None:
    """Count one look; ``windows`` has shape (..., 3, 2 + width) with age and looks with data first.

    ``increment`` (..., width) is added to every open sum; None = this look had no data.
    """
    span = length(looks)
    ages = windows[..., 0]
    flat = ages.reshape(-1, ages.shape[-1])[0] if ages.size else np.zeros(3)
    order = np.argsort(-flat, kind="stable")
    if flat[order[0]] >= np.ceil(1.5 * span) and flat[order[1]] >= span:
        windows[..., order[0], :] = 0.0
        flat = flat.copy()
        flat[order[0]] = 0.0
    youngest = min((a for a in flat if a > 0.0), default=np.inf)
    idle = np.flatnonzero(flat == 0.0)
    opened = flat > 0.0
    if len(idle) and (not opened.any() or youngest >= np.ceil(0.5 * span)):
        opened[idle[0]] = True
    rows = np.flatnonzero(opened)
    windows[..., rows, 0] += 1.0
    if increment is not None:
        windows[..., rows, 1] += 1.0
        windows[..., rows, 2:] += increment[..., None, :]


def newest(windows: Array) -> Array:
    """The oldest open sum, (..., 2 + width): age, looks with data, sums."""
    ages = windows[..., 0]
    flat = ages.reshape(-1, ages.shape[-1])[0]
    return np.asarray(windows[..., int(np.argmax(flat)), :])
