"""The command line as people call it, and a handoff's file to call it with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import Result
from typer.testing import CliRunner

from modelhandoff.cli.main import app
from tests.builders import handoff


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run ``modelhandoff`` with these arguments."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """The smallest legal handoff in a file; keyword arguments change its spec."""

    def write(**changes: object) -> Path:
        path = tmp_path / "handoff.yaml"
        path.write_text(yaml.safe_dump(handoff(**changes)))
        return path

    return write


@pytest.fixture
def recorded(tmp_path: Path) -> Callable[..., Path]:
    """JSON values, one per line, in a file."""

    def write(*values: object) -> Path:
        path = tmp_path / "intervals.jsonl"
        lines = (one if isinstance(one, str) else json.dumps(one) for one in values)
        path.write_text("".join(line + "\n" for line in lines))
        return path

    return write
