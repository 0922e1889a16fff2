"""All running numbers of an attempt in one flat vector, cut into named views.

One vector makes a look a pure function (copy, then write into the copy) and the checkpoint one
compact blob; the cut is computed from the plan alone.
"""

import base64
import binascii
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from modelhandoff.analysis.wire import WireError

__all__ = ["Layout", "Views"]

Array = NDArray[np.float64]
Views = dict[str, Array]


class Layout:
    """Named blocks of one float64 vector; filled with :meth:`add`, then frozen by use."""

    def __init__(self) -> None:
        self._blocks: list[tuple[str, tuple[int, ...], int, int]] = []
        self._fill: list[float] = []
        self._pieces: list[tuple[int, int]] = []
        self._cuts: tuple[NDArray[np.intp], NDArray[np.bool_]] | None = None
        self.size = 0

    def add(self, name: str, shape: tuple[int, ...], fill: float = 0.0, *, parts: int = 1) -> None:
        """Reserve a block; ``parts`` equal pieces of it are packed with a number type each."""
        length = int(np.prod(shape, dtype=np.int64))
        self._blocks.append((name, shape, self.size, self.size + length))
        piece = length // parts
        self._pieces += [(self.size + i * piece, self.size + (i + 1) * piece) for i in range(parts)]
        self._fill.append(fill)
        self.size += length

    def fresh(self) -> Array:
        """A vector with every block at its first value."""
        out = np.empty(self.size)
        for (_, _, start, stop), fill in zip(self._blocks, self._fill, strict=True):
            out[start:stop] = fill
        return out

    def views(self, vector: Array) -> Views:
        """The blocks of a vector by name; writing into a view writes into the vector."""
        return {
            name: vector[a:b] if len(shape) == 1 else vector[a:b].reshape(shape)
            for name, shape, a, b in self._blocks
        }

    def pack(self, vector: Array) -> str:
        """The vector as text: per block the narrowest exact number type, deflated, base64."""
        kinds = self._kinds(vector)
        parts = [
            _narrow(vector[a:b], kind) for (a, b), kind in zip(self._pieces, kinds, strict=True)
        ]
        return base64.b64encode(zlib.compress(b"".join(parts), LEVEL)).decode()

    def _kinds(self, vector: Array) -> list[int]:
        """Per piece the narrowest of :data:`_KINDS` that holds its values exactly."""
        if self._cuts is None:
            starts = [a for a, b in self._pieces if b > a]
            filled = np.array([b > a for a, b in self._pieces], dtype=bool)
            self._cuts = np.array(starts, dtype=np.intp), filled
        starts_, filled = self._cuts
        whole = (vector == np.floor(vector)) & (vector < 2.0**32) & ~np.signbit(vector)
        out = np.zeros(len(filled), dtype=np.intp)
        if len(starts_):
            top = np.maximum.reduceat(vector, starts_)
            narrow = np.searchsorted((2.0**8, 2.0**16), top, side="right")
            out[filled] = np.where(np.logical_and.reduceat(whole, starts_), narrow, WIDE)
        return out.tolist()

    def unpack(self, text: Any, path: str) -> Array:
        """Read what :meth:`pack` wrote; anything else is refused."""
        if not isinstance(text, str):
            raise WireError(path, "the packed state (a text)", text)
        out = np.empty(self.size)
        try:
            raw = zlib.decompress(base64.b64decode(text, validate=True))
            at = 0
            for a, b in self._pieces:
                at = _widen(raw, at, out[a:b])
            complete = at == len(raw)
        except (binascii.Error, zlib.error, ValueError, IndexError):
            complete = False
        if not complete or np.isnan(out).any():
            raise WireError(path, f"{self.size} packed numbers of this plan", text)
        return out


_KINDS = ("<u1", "<u2", "<u4", "<f8")
WIDE: Final = 3
LEVEL: Final = 4
"""Of deflation: 9 takes ten times as long and saves 2 %."""


def _narrow(values: Array, kind: int) -> bytes:
    """One tag byte, then the bytes of all values, grouped by significance."""
    cast = values.astype(_KINDS[kind])
    planes = cast.view(np.uint8).reshape(len(cast), cast.itemsize).T
    return bytes([kind]) + planes.tobytes()


def _widen(raw: bytes, at: int, into: Array) -> int:
    kind = np.dtype(_KINDS[raw[at]])
    stop = at + 1 + kind.itemsize * len(into)
    planes = np.frombuffer(raw[at + 1 : stop], dtype=np.uint8).reshape(kind.itemsize, len(into))
    into[:] = np.ascontiguousarray(planes.T).reshape(-1).view(kind)
    return stop
