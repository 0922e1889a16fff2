"""Every series that alerts and dashboards name is exported by a running operator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.component.handoffs import V1, V2, quick
from tests.component.world import World

FILES = Path(__file__).parents[2] / "charts/modelhandoff/files"
TARGET = {"namespace", "pod"}
"""Labels that Prometheus gives every series of the operator."""
SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count")}


async def test_rules_and_dashboards_name_only_what_is_exported(place: World) -> None:
    place.collector.per_second = 10_000.0
    await place.start()
    await place.apply(quick(V1))
    await place.run_until(lambda: place.phase() == "Promoted")
    await place.apply(quick(V2))
    await place.run_until(lambda: place.status().get("metrics"))
    exported = await scraped(place)
    named = 0
    for expr in expressions():
        for name, labels in selectors(expr):
            named += 1
            assert name in exported, expr
            # A family without a sample at this moment shows no labels.
            known = exported[name]
            assert not known or labels <= known | TARGET, expr
    assert named > 50


async def test_a_scrape_of_a_cluster_at_rest_asks_and_writes_nothing(place: World) -> None:
    await place.start()
    await place.apply(quick(V1))
    await place.run_until(lambda: place.phase() == "Promoted")
    await place.settle()
    asked, version = len(place.requests()), place.objects.version
    for _ in range(20):
        assert await scraped(place)
    await place.settle()
    assert len(place.requests()) == asked
    assert place.objects.version == version or not place.writes(version)


async def scraped(place: World) -> dict[str, set[str]]:
    """Names of all series, with the labels seen."""
    assert place.process is not None
    url = f"http://127.0.0.1:{place.process.port}/metrics"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        text = await answer.text()
    found: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(text):
        for suffix in SUFFIXES.get(family.type, ("",)):
            found.setdefault(family.name + suffix, set())
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def expressions() -> Iterator[str]:
    rules = yaml.safe_load((FILES / "rules.yaml").read_text())
    yield from (rule["expr"] for group in rules["groups"] for rule in group["rules"])
    for file in FILES.glob("dashboard-*.json"):
        board: dict[str, Any] = json.loads(file.read_text())
        for panel in board["panels"]:
            yield from (target["expr"] for target in panel.get("targets", ()))
        for variable in board["templating"]["list"]:
            if variable["type"] == "query":
                yield str(variable["query"]["query"])


def selectors(expr: str) -> Iterator[tuple[str, set[str]]]:
    """Every series in a query, with the labels that it is asked for and grouped by."""
    grouped = set(re.findall(r"\w+", " ".join(re.findall(r"\bby \(([^)]*)\)", expr)))) - {"le"}
    for name, inside in re.findall(r"\b(modelhandoff_[a-z0-9_]+)(?:\{([^}]*)\})?", expr):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))
        yield name, labels | (grouped if expr.count("modelhandoff_") == 1 else set())
