"""Instances that nobody can want any more are told from those in use."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.cluster import registry
from e2e.cluster.errors import ClusterError
from e2e.cluster.registry import Level, Record, is_orphan
from e2e.cluster.removal import mounts_below, unclaimed

OWNER, SHEPHERD = (10, 1000), (20, 2000)


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    # Sockets lie below it, and pytest's own folders have paths too long for them.
    with tempfile.TemporaryDirectory(prefix="mh-") as folder:
        monkeypatch.setenv("MODELHANDOFF_HOME", folder)
        yield Path(folder)


def record(*, attached: bool = True, ready: bool = True) -> Record:
    return Record("x", Level.FULL, 3, 200, attached, *OWNER, *SHEPHERD, ready=ready)


@pytest.mark.parametrize(
    ("attached", "ready", "alive", "orphan"),
    [
        (True, True, {OWNER, SHEPHERD}, False),
        (True, True, {SHEPHERD}, True),
        (True, False, {SHEPHERD}, True),
        (True, False, {OWNER}, False),
        (False, True, {SHEPHERD}, False),
        (False, True, {OWNER}, True),
        (False, False, {OWNER}, False),
        (False, False, {SHEPHERD}, True),
    ],
)
def test_who_must_live_for_an_instance_to_be_wanted(
    attached: bool, ready: bool, alive: set[tuple[int, int]], orphan: bool
) -> None:
    found = is_orphan(record(attached=attached, ready=ready), lambda *who: who in alive)
    assert found is orphan


def test_a_reused_process_id_is_not_the_owner() -> None:
    stranger = (OWNER[0], OWNER[1] + 1)
    assert is_orphan(record(), lambda *who: who in {stranger, SHEPHERD})


def test_a_record_survives_being_written_and_read() -> None:
    registry.save(record())
    assert registry.load("x") == record()
    assert registry.records() == [record()]


def test_a_broken_record_is_no_record(home: Path) -> None:
    registry.save(record())
    (home / "instances/x/record.json").write_text('{"name": "x"')
    assert registry.load("x") is None
    assert registry.names() == ["x"]


def test_names_and_addresses_are_not_given_twice() -> None:
    first = registry.reserve("a", Level.CONTROL_PLANE, attached=True)
    second = registry.reserve("b", Level.CONTROL_PLANE, attached=True)
    assert first.index != second.index
    assert first.owner_pid == os.getpid()
    with pytest.raises(ClusterError, match=r"'a' exists already; remove it with: .* --name a"):
        registry.reserve("a", Level.CONTROL_PLANE, attached=True)


@pytest.mark.parametrize("name", ["", "A", "a_b", "-a", "a-", "x" * 25, "../x", "a b"])
def test_names_that_cannot_be_files_links_and_nodes_are_refused(name: str) -> None:
    with pytest.raises(ClusterError, match=r"^name: not usable"):
        registry.check_name(name)


def test_a_folder_too_deep_for_sockets_is_refused_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MODELHANDOFF_HOME", str(tmp_path / ("d" * 90)))
    with pytest.raises(ClusterError, match="path too long"):
        registry.reserve("a", Level.CONTROL_PLANE, attached=True)


def test_only_scopes_that_no_record_names_and_no_process_uses_are_removed() -> None:
    found = {"mh-a", "mh-b", "mh-c"}
    assert unclaimed(found, claimed={"mh-a"}, busy={"mh-b"}) == ["mh-c"]


MOUNTS = """\
22 1 8:1 / / rw - ext4 /dev/root rw
30 22 0:40 / /c/instances/x rw - tmpfs t rw
31 30 0:41 / /c/instances/x/a/b rw - tmpfs t rw
32 22 0:42 / /c/instances/xy rw - tmpfs t rw
33 22 0:43 / /c/instances/x/with\\040space rw - tmpfs t rw
"""


def test_mounts_of_an_instance_are_found_deepest_first() -> None:
    found = mounts_below(Path("/c/instances/x"), MOUNTS)
    assert found[0] == "/c/instances/x/a/b"
    assert set(found[1:]) == {"/c/instances/x", "/c/instances/x/with space"}
