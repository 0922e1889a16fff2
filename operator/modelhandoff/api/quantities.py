"""Values with a unit or a shape: durations, digests, ratios, times, Kubernetes quantities, text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from modelhandoff.api.cel import Violation, violated

HINT = "x-hint"
"""Key in our own JSON schema with the allowed values in words; the CRD never carries it."""

DURATION_PATTERN = r"^([0-9]{1,6}h)?([0-9]{1,6}m)?([0-9]{1,7}s)?([0-9]{1,9}ms)?$"
_DURATION = re.compile(r"(?:(\d{1,6})h)?(?:(\d{1,6})m)?(?:(\d{1,7})s)?(?:(\d{1,9})ms)?", re.ASCII)
_UNITS = ("hours", "minutes", "seconds", "milliseconds")
DURATION_HINT = "a duration such as 500ms, 30s, 10m, 72h or 1h30m"


def parse_duration(text: str) -> timedelta:
    """``1h30m`` and the like as a timedelta; units h, m, s, ms, each at most once, in this order.

    Raises:
        ValueError: the text is no such duration.
    """
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise ValueError(f"not {DURATION_HINT}: {text!r}")
    parts = {
        unit: int(number) for unit, number in zip(_UNITS, found.groups(), strict=True) if number
    }
    return timedelta(**parts)


def format_duration(value: timedelta) -> str:
    """The shortest spelling that ``parse_duration`` reads back to the same value.

    Raises:
        ValueError: negative, or finer than a millisecond.
    """
    milliseconds, rest = divmod(value, timedelta(milliseconds=1))
    if rest or milliseconds < 0:
        raise ValueError(f"a duration has whole, non-negative milliseconds, got {value!r}")
    seconds, milliseconds = divmod(milliseconds, 1000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    parts = ((hours, "h"), (minutes, "m"), (seconds, "s"), (milliseconds, "ms"))
    return "".join(f"{number}{unit}" for number, unit in parts if number) or "0s"


def _read_duration(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError:
            raise PydanticCustomError("duration", "not a duration") from None
    if isinstance(value, timedelta):
        return value
    raise PydanticCustomError("string_type", "Input should be a valid string")


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": DURATION_PATTERN,
            "minLength": 2,
            "maxLength": 20,
            HINT: DURATION_HINT,
        }
    ),
]
"""A span of time, ``30s``, ``10m``, ``72h``, ``1h30m``, ``250ms``; a timedelta in Python."""


def _read_time(value: Any) -> Any:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise PydanticCustomError("time", "not an RFC 3339 time") from None
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise PydanticCustomError("time", "not an RFC 3339 time with a zone")
    return value.astimezone(UTC)


def format_time(value: datetime) -> str:
    """RFC 3339 in UTC, ``2026-01-31T12:00:00Z``; microseconds only when there are any."""
    return value.astimezone(UTC).isoformat().replace("+00:00", "Z")


Timestamp = Annotated[
    datetime,
    BeforeValidator(_read_time),
    PlainSerializer(format_time, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}),
]
"""A point in time, aware and in UTC."""


def _hinted(hint: str) -> Any:
    return Field(json_schema_extra={HINT: hint})


Digest = Annotated[
    str,
    StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$", max_length=71),
    _hinted("sha256: and 64 lower-case hexadecimal digits"),
]
Percent = Annotated[int, Field(ge=0, le=100)]
Ratio = Annotated[float, Field(ge=0, le=1)]
"""A share of a whole, 0 to 1."""

Label63 = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", max_length=63),
    _hinted("a DNS-1035 label: lower-case letters, digits and -, starting with a letter"),
]
ObjectName = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$", max_length=253
    ),
    _hinted("the name of a Kubernetes object: lower-case letters, digits, - and ."),
]
Name63 = Annotated[
    str,
    StringConstraints(pattern=r"^[A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?$", max_length=63),
    _hinted("letters, digits, -, _ and ., starting and ending with a letter or digit"),
]
HttpUrl = Annotated[
    str,
    StringConstraints(pattern=r"^https?://[^\s/?#@]+([/?#]\S*)?$", max_length=1024),
    _hinted("an http:// or https:// address without user name or password"),
]
UrlPath = Annotated[
    str,
    StringConstraints(pattern=r"^/[^\s?#]*$", max_length=512),
    _hinted("a path that starts with /, without query or fragment"),
]
Image = Annotated[
    str,
    StringConstraints(
        pattern=r"^[A-Za-z0-9][-A-Za-z0-9._:/]*[A-Za-z0-9](@sha256:[0-9a-f]{64})?$", max_length=512
    ),
    _hinted("an image reference such as registry.example/serve@sha256:<64 hex>"),
]
Word63 = Annotated[str, StringConstraints(min_length=1, max_length=63)]
AnyText = Annotated[str, StringConstraints(max_length=4096)]
Text = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
LongText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
Port = Annotated[int, Field(ge=1, le=65535)]

QUANTITY_PATTERN = r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|Ki|Mi|Gi|Ti|Pi)?$"


def _read_quantity(value: Any) -> Any:
    # People write `cpu: 2` without quotes, as Kubernetes lets them.
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_read_quantity),
    StringConstraints(pattern=QUANTITY_PATTERN, max_length=20),
    WithJsonSchema(
        {
            "x-kubernetes-int-or-string": True,
            "pattern": QUANTITY_PATTERN,
            "maxLength": 20,
            "minimum": 0,
            HINT: "a Kubernetes quantity such as 500m, 2, 1.5Gi",
        }
    ),
]
"""A Kubernetes quantity; whole numbers may be written without quotes."""


@dataclass(frozen=True)
class ListOf:
    """Bounds and merge behaviour of a list, for the CRD and for Python at once.

    Attributes:
        maximum: most items.
        minimum: fewest items when the list is there.
        key: the field that names an item; items are unique by it and merge by it.
        unique: plain items that may not repeat (a set).
    """

    maximum: int
    minimum: int = 0
    key: str = ""
    unique: bool = False

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        schema = handler(source)
        bounded = {**schema, "strict": False, "max_length": self.maximum}
        if self.minimum:
            bounded["min_length"] = self.minimum
        if not (self.key or self.unique):
            return bounded
        return core_schema.no_info_after_validator_function(
            self._refuse_repeated,
            bounded,
        )

    def __get_pydantic_json_schema__(
        self, core: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        schema = handler(core)
        kind = "map" if self.key else "set" if self.unique else "atomic"
        schema["x-kubernetes-list-type"] = kind
        if self.key:
            schema["x-kubernetes-list-map-keys"] = [self.key]
        return schema

    def _refuse_repeated(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        repeated = list(self._repeated(items))
        if repeated:
            raise violated(repeated)
        return items

    def _repeated(self, items: tuple[Any, ...]) -> Iterable[Violation]:
        seen: set[Any] = set()
        for index, item in enumerate(items):
            identity = getattr(item, self.key) if self.key else item
            if identity in seen:
                allowed = f"every {self.key} once" if self.key else "every value once"
                yield Violation((index,), "repeats an earlier item", allowed, str(identity))
            seen.add(identity)


Labels = Annotated[
    dict[
        Annotated[str, StringConstraints(min_length=1, max_length=316)],
        Annotated[
            str,
            StringConstraints(
                pattern=r"^([A-Za-z0-9]([-_.A-Za-z0-9]*[A-Za-z0-9])?)?$", max_length=63
            ),
        ],
    ],
    Field(max_length=16),
]
"""Keys and values of labels, as node selectors use them."""
