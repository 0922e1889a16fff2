"""Completion: verbs, options, and names from the cluster; silent when there is no cluster."""

from __future__ import annotations

import sys

import pytest

from modelhandoff.cli.kubectl.app import command
from modelhandoff.cli.kubectl.completion import candidates, complete
from tests.unit.cli.kubectl.world import Story


def words(*line: str) -> list[str]:
    """The candidates for the last word, without their help."""
    return [one.split("\t")[0] for one in candidates(command(), list(line[:-1]), line[-1])]


def test_verbs_and_options():
    assert words("st") == ["status"]
    assert words("wait", "fraud", "--fail") == ["--fail-on-pause"]


def test_names_of_the_namespace_on_the_line(server):
    Story(server).plain()
    Story(server, name="fares").plain()
    Story(server, name="frost", namespace="risk").plain()

    assert words("status", "fr") == ["fraud"]
    assert words("abort", "-n", "risk", "") == ["frost"]
    assert words("status", "-n", "risk", "fr") == ["frost"]


def test_contexts_come_from_the_kubeconfig(server):
    assert words("status", "--context", "") == ["test"]


def test_without_a_cluster_it_is_silent(server, capsys):
    server.refused["GET", "/apis/"] = (403, "no")

    assert words("status", "fr") == []
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("line", [["sta"], [""]])
def test_kubectl_gets_a_candidate_a_line_and_the_directive(monkeypatch, capsys, line):
    monkeypatch.setattr(sys, "argv", ["kubectl_complete-handoff", *line])

    complete()

    *found, last = capsys.readouterr().out.splitlines()
    assert last == ":4"
    assert "status" in [one.split("\t")[0] for one in found]
