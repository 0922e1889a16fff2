"""The test set: rows of named columns, as CSV with a header or as one JSON object per line.

Nothing is kept of a row but what is asked of it, so the file may be larger than the memory.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from modelhandoff.errors import cut
from modelhandoff.verify.bundle import opened, read_lines
from modelhandoff.verify.findings import Failed

MAX_ROWS: Final = 500_000
MAX_COLUMNS: Final = 2_000
_WORDS: Final = {"true": 1.0, "false": 0.0}


@dataclass(frozen=True, slots=True)
class Row:
    """One row: file and line, and its values by column. Those of a CSV file are all text."""

    where: str
    values: Mapping[str, Any]

    def number(self, column: str) -> float:
        """The value of a column as a finite number; true and false are 1 and 0.

        Raises:
            Failed: there is no such column, or no such number in it.
        """
        value = self._value(column)
        found = _number(value)
        if found is None or not math.isfinite(found):
            raise Failed(f"{self.where}: {column}: no number; got {cut(value, 40)!r}")
        return found

    def word(self, column: str) -> str:
        """The value of a column as text; "" where nothing is.

        Raises:
            Failed: there is no such column.
        """
        value = self._value(column)
        if isinstance(value, bool):
            return str(value).lower()
        return "" if value is None else cut(value, 100)

    def _value(self, column: str) -> Any:
        if column not in self.values:
            raise Failed(
                f"{self.where}: no such column; got {cut(', '.join(self.values), 160)}; "
                f"allowed also {column}"
            )
        return self.values[column]

    def typed(self, column: str, datatype: str) -> Any:
        """The value of a column as JSON would hold it for a tensor of this datatype.

        Raises:
            Failed: there is no such column, or text that is no such value.
        """
        value = self._value(column)
        if not isinstance(value, str) or datatype == "BYTES":
            return value
        text = value.strip()
        try:
            if datatype == "BOOL":
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            if "INT" in datatype:
                return int(text)
            return float(text) if text else None
        except (KeyError, ValueError):
            raise Failed(f"{self.where}: {column}: no {datatype}; got {cut(text, 40)!r}") from None


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        text = value.strip().lower()
        try:
            return _WORDS[text] if text in _WORDS else float(text)
        except ValueError:
            return None
    try:
        return float(value) if isinstance(value, int | float) else None
    except OverflowError:
        return None


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a test set, in order.

    Raises:
        Failed: neither CSV nor JSON lines, no row, too many rows, or a row that does not fit.
    """
    with opened(path) as file:
        first = file.read(4096).lstrip(b"\xef\xbb\xbf \t\r\n")[:1]
    if first == b"{":
        for where, value in read_lines(path, MAX_ROWS):
            if not isinstance(value, dict):
                raise Failed(f"{where}: no row; got {cut(value, 60)}; allowed an object")
            yield Row(where, value)
        return
    with (
        opened(path) as file,
        io.TextIOWrapper(file, encoding="utf-8-sig", newline="") as text,
    ):
        yield from _csv_rows(path.name, text)


def _csv_rows(name: str, text: TextIO) -> Iterator[Row]:
    found = 0
    reader = csv.reader(text, strict=True)
    try:
        header = [column.strip() for column in next(reader, [])]
        _check_header(name, header)
        for fields in reader:
            if not fields:
                continue
            found += 1
            where = f"{name}:{reader.line_num}"
            if found > MAX_ROWS:
                raise Failed(f"{name}: too many rows; allowed at most {MAX_ROWS}")
            if len(fields) != len(header):
                raise Failed(
                    f"{where}: does not fit the header; got {len(fields)} values; "
                    f"allowed {len(header)}"
                )
            yield Row(where, dict(zip(header, fields, strict=True)))
    except (csv.Error, UnicodeDecodeError) as error:
        line = reader.line_num + 1
        raise Failed(
            f"{name}:{line}: cannot be read; got {cut(error, 80)}; allowed CSV in UTF-8, "
            "or one JSON object per line"
        ) from None
    if not found:
        raise Failed(f"{name}: holds no row; allowed a header and at least one row")


def _check_header(name: str, header: list[str]) -> None:
    if not any(header):
        raise Failed(f"{name}: is empty; allowed CSV with a header, or one JSON object per line")
    if len(header) > MAX_COLUMNS:
        raise Failed(
            f"{name}:1: too many columns; got {len(header)}; allowed at most {MAX_COLUMNS}"
        )
    twice = next((column for column in header if header.count(column) > 1), None)
    if twice is not None:
        raise Failed(f"{name}:1: a column is there twice; got {cut(twice, 60)!r}")
