"""The YAML files beside this module, filled in."""

from __future__ import annotations

import json
from pathlib import Path
from string import Template
from typing import Any

import yaml


def render(name: str, **values: str) -> list[dict[str, Any]]:
    """The documents of `NAME.yaml` with `${...}` replaced.

    A value that stands alone behind a key may hold anything, lines and colons too; one inside a
    quoted text is put in as it is.

    Args:
        name: file beside this module, without `.yaml`.
        values: one per placeholder.

    Raises:
        KeyError: a placeholder has no value.
    """
    text = (Path(__file__).parent / f"{name}.yaml").read_text()
    # JSON strings are YAML strings.
    quoted = {key: json.dumps(value) for key, value in values.items()}
    lines = []
    for line in text.splitlines():
        inside = '"' in line and "${" in line
        lines.append(Template(line).substitute(values if inside else quoted))
    return [document for document in yaml.safe_load_all("\n".join(lines)) if document]
