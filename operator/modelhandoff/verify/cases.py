"""The lines of a golden file: a request and its right answer."""

from __future__ import annotations

from typing import Any

from modelhandoff.errors import cut
from modelhandoff.verify.findings import Failed


def named_case(where: str, document: Any) -> tuple[str, Any]:
    """Where a case stands, with its name if it has one, and its request.

    Raises:
        Failed: the line is no case.
    """
    if not isinstance(document, dict) or "request" not in document:
        raise Failed(f'{where}: no case; got {cut(document)}; allowed {{"request": ...}}')
    name = document.get("name")
    place = f"{where} ({cut(name, 60)})" if isinstance(name, str) and name else where
    return place, document["request"]


def right_outputs(where: str, response: Any) -> list[Any]:
    """The outputs of a golden case's response.

    Raises:
        Failed: there are none.
    """
    outputs = response.get("outputs") if isinstance(response, dict) else None
    if not isinstance(outputs, list) or not outputs:
        raise Failed(f'{where}: no right answer; allowed {{"response": {{"outputs": [...]}}}}')
    return outputs
