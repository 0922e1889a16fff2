"""Images of one static program, packed without a container engine: that of every pod's sandbox."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path

PAUSE_IMAGE = "localhost/modelhandoff/pause:1"


def write(program: Path, target: Path, image: str = PAUSE_IMAGE) -> Path:
    """Write a docker-archive of `image`, which runs `program`; returns `target`."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo(program.name)
        info.size, info.mode = program.stat().st_size, 0o755
        with program.open("rb") as source:
            tar.addfile(info, source)
    config = {
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()],
        "os": "linux",
        "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
        "rootfs": {
            "type": "layers",
            "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()],
        },
    }
    files = {
        "layer.tar": layer.getvalue(),
        "config.json": json.dumps(config).encode(),
        "manifest.json": json.dumps(
            [{"Config": "config.json", "RepoTags": [image], "Layers": ["layer.tar"]}]
        ).encode(),
    }
    with tarfile.open(target, "w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return target
