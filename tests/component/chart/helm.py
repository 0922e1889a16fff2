"""A real Helm, and what it makes of the chart."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from e2e.cluster import build

ROOT = Path(__file__).parents[3]
CHART = ROOT / "charts" / "modelhandoff"
Raw = dict[str, Any]


class HelmError(Exception):
    """Helm refused; the message is its own."""


def helm(*words: str, home: Path, kubeconfig: Path | None = None) -> str:
    """Run Helm with nothing of the user's own; its output.

    Raises:
        HelmError: it refused.
    """
    found = {"HOME": str(home), "PATH": os.environ["PATH"]}
    # Without a cluster it must not find somebody's.
    found["KUBECONFIG"] = str(kubeconfig or home / "none")
    done = subprocess.run(
        [str(build.binaries("stack").helm), *words],
        env=found,
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
    )
    if done.returncode:
        raise HelmError(done.stderr.strip())
    return done.stdout


def render(home: Path, values: Raw, *words: str) -> list[Raw]:
    """The objects of the chart, sorted by kind and name."""
    file = home / "values.yaml"
    file.write_text(yaml.safe_dump(values))
    text = helm(
        "template", "modelhandoff", str(CHART), "--namespace", "ops", "-f", str(file), *words,
        home=home,
    )  # fmt: skip
    found = [one for one in yaml.safe_load_all(text) if one]
    return sorted(found, key=lambda o: (o["kind"], o["metadata"]["name"]))


def of_kind(objects: Iterable[Raw], kind: str, name: str = "") -> list[Raw]:
    """Objects of one kind, or the one of a name."""
    return [o for o in objects if o["kind"] == kind and name in ("", o["metadata"]["name"])]
