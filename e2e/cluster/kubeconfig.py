"""Kubeconfig files that carry their certificates, so they can be copied anywhere."""

from __future__ import annotations

import base64
from pathlib import Path

import yaml

CONTEXT_PREFIX = "modelhandoff-"


def render(name: str, server: str, *, ca: Path, cert: Path, key: Path, user: str = "admin") -> str:
    """A kubeconfig with one context, `modelhandoff-NAME`."""

    def data(path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    context = CONTEXT_PREFIX + name
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": context,
        "contexts": [{"name": context, "context": {"cluster": context, "user": user}}],
        "clusters": [
            {"name": context, "cluster": {"server": server, "certificate-authority-data": data(ca)}}
        ],
        "users": [
            {
                "name": user,
                "user": {"client-certificate-data": data(cert), "client-key-data": data(key)},
            }
        ],
    }
    return yaml.safe_dump(document, sort_keys=False)


def write(path: Path, text: str) -> Path:
    """Write `text` readable by the owner alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    return path
