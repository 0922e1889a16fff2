"""The documented format of recorded intervals: one JSON object per line (JSON Schema 2020-12)."""

from typing import Any, Final

__all__ = ["INTERVAL_SCHEMA"]

_COUNT: Final[dict[str, Any]] = {"type": "number", "minimum": 0}
_PAIR: Final[dict[str, Any]] = {
    "type": "array",
    "items": _COUNT,
    "minItems": 2,
    "maxItems": 2,
    "description": "[events, trials] of this interval, events <= trials",
}


def _arms(arm: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": [*more, "candidate"],
        "properties": {**more, "candidate": arm, "baseline": {"anyOf": [arm, {"type": "null"}]}},
    }


_LIST: Final[dict[str, Any]] = {"type": "array", "items": _COUNT, "minItems": 1}
_TRIPLE: Final[dict[str, Any]] = {
    "type": "array",
    "items": {"type": "number"},
    "minItems": 3,
    "maxItems": 3,
    "description": "[count, sum, sum of squares]",
}
_EDGES: Final[dict[str, Any]] = {
    "type": "array",
    "minItems": 2,
    "items": {"anyOf": [{"type": "number"}, {"const": "+Inf"}]},
    "description": "strictly rising, the last is +Inf",
}
_OPTIONAL: Final[dict[str, Any]] = {"type": ["number", "null"], "minimum": 0}
_MEASUREMENT: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "minProperties": 1,
    "maxProperties": 1,
    "properties": {
        "rate": _arms(_PAIR),
        "histogram": _arms(_LIST, edges=_EDGES),
        "bins": _arms(_LIST),
        "moments": _arms(_TRIPLE),
        "count": {
            "type": "object",
            "additionalProperties": False,
            "required": ["candidate"],
            "properties": {
                "candidate": _COUNT,
                "baseline": _OPTIONAL,
                "exposure_candidate": _OPTIONAL,
                "exposure_baseline": _OPTIONAL,
            },
        },
    },
}
_NAMED: Final[dict[str, Any]] = {"type": "object", "additionalProperties": _MEASUREMENT}

INTERVAL_SCHEMA: Final[dict[str, Any]] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "ModelHandoff closed interval",
    "description": "Increments of one closed interval; an absent metric is unknown, never zero.",
    "type": "object",
    "additionalProperties": False,
    "required": ["index", "start", "end", "step", "weight", "requests", "metrics"],
    "properties": {
        "index": {"type": "integer", "minimum": 0},
        "start": {"type": "number", "description": "seconds since the epoch"},
        "end": {"type": "number", "description": "seconds since the epoch, after start"},
        "step": {"type": "integer", "minimum": 0},
        "weight": {"type": "integer", "minimum": 0, "maximum": 100},
        "requests": {
            "type": "array",
            "prefixItems": [_COUNT, _OPTIONAL],
            "minItems": 2,
            "maxItems": 2,
            "description": "[candidate, baseline or null]",
        },
        "metrics": _NAMED,
        "excluded": {"type": "string", "description": "non-empty: planned warm-up or step change"},
        "quality": {"type": "array", "items": {"type": "string"}},
        "halves": _NAMED,
    },
}
