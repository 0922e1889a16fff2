"""Where the tool keeps things.

Everything lives below one per-user folder so that removing it removes all traces:

    bin/NAME-KEY/NAME      compiled programs, KEY is a hash of what went in
    instances/NAME/        one running cluster: record, keys, logs, sockets, data of the parts
    logs/NAME/             logs of an instance that failed to start
    lock                   held while an instance is being allocated or removed
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path


def home(env: Mapping[str, str] = os.environ) -> Path:
    """The tool's folder: `$MODELHANDOFF_HOME`, else `modelhandoff` in the user's cache folder."""
    if named := env.get("MODELHANDOFF_HOME"):
        return Path(named).absolute()
    cache = env.get("XDG_CACHE_HOME")
    base = Path(cache) if cache else Path(env.get("HOME", "/root")) / ".cache"
    return base / "modelhandoff"


def bin_dir() -> Path:
    return home() / "bin"


def instances_dir() -> Path:
    return home() / "instances"


def go_dir() -> Path:
    """The Go module that all compiled programs come from."""
    return Path(__file__).parent / "go"
