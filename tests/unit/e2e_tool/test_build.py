"""The cache of compiled programs is found again exactly when the result would be the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from e2e.cluster import build

GO_MOD = """\
module example.org/tools

go 1.26

require (
\texample.org/a v1.0.0
\texample.org/b v1.2.0 // indirect
)
"""


@pytest.fixture
def module(tmp_path: Path) -> Path:
    for name in ("one", "two"):
        (tmp_path / "cmd" / name).mkdir(parents=True)
        (tmp_path / "cmd" / name / "main.go").write_text(f"package main // {name}\n")
    (tmp_path / "go.mod").write_text(GO_MOD)
    (tmp_path / "go.sum").write_text("example.org/a v1.0.0 h1:x=\n")
    return tmp_path


def key(module: Path, package: str = "./cmd/one") -> str:
    return build.source_key(module, package)


def test_the_same_sources_have_the_same_key(module: Path) -> None:
    assert key(module) == key(module)


def test_programs_have_keys_of_their_own(module: Path) -> None:
    assert key(module, "./cmd/one") != key(module, "./cmd/two")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("go.sum", "example.org/a v1.0.1 h1:y=\n"),
        ("go.mod", GO_MOD.replace("v1.2.0", "v1.3.0")),
        ("cmd/one/main.go", "package main // changed\n"),
        ("cmd/one/more.go", "package main\n"),
    ],
)
def test_a_change_that_matters_changes_the_key(module: Path, file: str, content: str) -> None:
    before = key(module)
    (module / file).write_text(content)
    assert key(module) != before


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("cmd/two/main.go", "package main // changed\n"),
        ("go.mod", GO_MOD.replace(" // indirect", "")),
        ("cmd/one/README.md", "words"),
    ],
)
def test_a_change_that_does_not_matter_keeps_it(module: Path, file: str, content: str) -> None:
    before = key(module)
    (module / file).write_text(content)
    assert key(module) == before


def test_compiler_flags_are_part_of_the_key(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = key(module)
    monkeypatch.setattr(build, "COMPILE_FLAGS", (*build.COMPILE_FLAGS, "-race"))
    assert key(module) != before


def test_moving_text_from_one_file_to_the_next_changes_the_key(module: Path) -> None:
    (module / "cmd/one/a.go").write_text("xy")
    (module / "cmd/one/b.go").write_text("z")
    before = key(module)
    (module / "cmd/one/a.go").write_text("x")
    (module / "cmd/one/b.go").write_text("yz")
    assert key(module) != before


def test_the_control_plane_alone_needs_few_programs() -> None:
    assert build.members("kube") == ["kube", "pause"]
    assert set(build.members("kube")) < set(build.members("stack")) == set(build.PROGRAMS)


def test_a_program_that_is_not_built_is_an_error_with_the_remedy() -> None:
    with pytest.raises(build.ClusterError, match=r"'helm'; run: python -m e2e\.cluster build"):
        build.Binaries({}).helm  # noqa: B018 - the access is what raises


def test_the_estimate_follows_the_size_of_sources_and_waits_before_it_guesses() -> None:
    packages = [build.Package("a", 100), build.Package("b", 300)]
    estimate = build.Estimate(packages, started=0.0)
    assert estimate.left(30.0) is None
    assert estimate.begin("a")
    assert estimate.left(10.0) is None
    assert estimate.left(20.0) == pytest.approx(60.0)
    assert estimate.begin("b")
    assert estimate.left(80.0) == 0
    assert (estimate.done, estimate.total) == (2, 2)


def test_lines_that_name_no_expected_package_are_not_progress() -> None:
    estimate = build.Estimate([build.Package("a", 1)], started=0.0)
    assert not estimate.begin("a: undefined: x")
    assert estimate.done == 0
