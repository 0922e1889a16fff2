"""The command line as people call it."""

from collections.abc import Callable

import pytest
from click.testing import Result
from typer.testing import CliRunner

from modelhandoff.cli.main import app


@pytest.fixture
def call() -> Callable[..., Result]:
    """Run ``modelhandoff`` with these arguments."""
    return lambda *words: CliRunner().invoke(app, [str(word) for word in words])
