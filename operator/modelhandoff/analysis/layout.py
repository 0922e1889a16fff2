"""All running numbers of an attempt in one flat vector, cut into named views.

One vector makes a look a pure function (copy, then write into the copy) and the checkpoint one
compact blob; the cut is computed from the plan alone.
"""

import base64
import binascii
import zlib
from typing import Any

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
        parts = [_narrow(vector[a:b]) for a, b in self._pieces]
        return base64.b64encode(zlib.compress(b"".join(parts), 9)).decode()

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


def _narrow(values: Array) -> bytes:
    """One tag byte, then the bytes of all values, grouped by significance."""
    kind = 3
    finite = bool(np.isfinite(values).all()) and not np.signbit(values).any()
    top = float(values.max()) if values.size and finite else 0.0
    if finite and top < 2**32 and bool((values == np.floor(values)).all()):
        kind = 0 if top < 2**8 else 1 if top < 2**16 else 2
    cast = values.astype(_KINDS[kind])
    planes = cast.view(np.uint8).reshape(len(cast), cast.itemsize).T
    return bytes([kind]) + planes.tobytes()


def _widen(raw: bytes, at: int, into: Array) -> int:
    kind = np.dtype(_KINDS[raw[at]])
    stop = at + 1 + kind.itemsize * len(into)
    planes = np.frombuffer(raw[at + 1 : stop], dtype=np.uint8).reshape(kind.itemsize, len(into))
    into[:] = np.ascontiguousarray(planes.T).reshape(-1).view(kind)
    return stop
