"""What goes with a model besides its numbers: model card, API contract, environment, SBOM."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path
from string import Template

LIBRARIES = ("ml-dtypes", "numpy", "onnx", "protobuf", "typing-extensions")
"""What training needs, with what that needs."""
_HERE = Path(__file__).parent


def papers(**facts: object) -> dict[str, bytes]:
    """The files by their names.

    Args:
        facts: what the model card says of this version: version, trait, seed, commit, auc.
    """
    card = Template((_HERE / "card.md").read_text(encoding="utf-8")).substitute(facts)
    pinned = {name: version(name) for name in LIBRARIES}
    return {
        "card.md": card.encode(),
        "api.json": (_HERE / "api.json").read_bytes(),
        "requirements.lock": "".join(f"{n}=={v}\n" for n, v in pinned.items()).encode(),
        "sbom.json": sbom(pinned),
    }


def sbom(libraries: dict[str, str]) -> bytes:
    """A CycloneDX bill of materials. A scanner would write what it knows of vulnerabilities."""
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "components": [
            {"type": "library", "name": n, "version": v, "purl": f"pkg:pypi/{n}@{v}"}
            for n, v in libraries.items()
        ],
        "vulnerabilities": [],
    }
    return json.dumps(document, indent=1).encode()
