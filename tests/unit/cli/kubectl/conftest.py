"""``kubectl handoff`` against a loopback server, as a person at a shell sees it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from modelhandoff.cli.kubectl import fallback, verbs
from modelhandoff.cli.kubectl.entry import DEBUG, main
from tests.unit.cli.kubectl.loopback import TOKEN, Loopback, loopback
from tests.unit.cli.kubectl.world import NAMESPACE, operator


@dataclass(frozen=True)
class Answer:
    """Exit code and what was printed."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """Standard error, which must be a single line."""
        assert self.out == "", self.out
        assert self.err.count("\n") == 1, self.err
        assert "Traceback" not in self.err
        return self.err.strip()


Call = Callable[..., Answer]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Loopback]:
    """A cluster with a running operator; KUBECONFIG names it."""
    monkeypatch.setattr(verbs, "LEASE_PATIENCE", 0.0)
    with loopback() as made:
        operator(made)
        monkeypatch.setenv("KUBECONFIG", str(kubeconfig(tmp_path, made.url)))
        yield made


@pytest.fixture
def call(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Run ``kubectl handoff`` with these words."""
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", DEBUG):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(fallback.sys.stdin, "isatty", lambda: False, raising=False)

    def run(*words: str) -> Answer:
        code = main(list(words))
        captured = capsys.readouterr()
        return Answer(int(code), captured.out, captured.err)

    return run


def kubeconfig(folder: Path, url: str, *, token: str = TOKEN, namespace: str = NAMESPACE) -> Path:
    """A kubeconfig with one context, called test."""
    path = folder / "kubeconfig"
    path.write_text(yaml.safe_dump({
        "apiVersion": "v1", "kind": "Config", "current-context": "test",
        "clusters": [{"name": "c", "cluster": {"server": url}}],
        "users": [{"name": "u", "user": {"token": token}}],
        "contexts": [
            {"name": "test", "context": {"cluster": "c", "user": "u", "namespace": namespace}}
        ],
    }))  # fmt: skip
    return path
