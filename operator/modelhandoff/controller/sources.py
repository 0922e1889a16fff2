"""Which metric sources there are: those of the policies, and the process's own default."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from modelhandoff.api.policy import HandoffPolicy
from modelhandoff.cluster.kinds import POLICY
from modelhandoff.cluster.store import DEFAULT_POLICY, Store
from modelhandoff.controller.settings import Settings
from modelhandoff.metrics.prometheus import Source

log = logging.getLogger(__name__)

DEFAULT_SOURCE = "default"


def sources(store: Store, settings: Settings) -> list[Source]:
    """Every source by name. The policy called ``default`` wins over others of the same name.

    A policy that cannot be read names nothing: handoffs that need its sources hold.
    """
    found: dict[str, Source] = {}
    if settings.prometheus_url:
        found[DEFAULT_SOURCE] = Source(
            DEFAULT_SOURCE, settings.prometheus_url, timeout=settings.prometheus_timeout
        )
    for raw in _by_precedence(store.all(POLICY)):
        try:
            policy = HandoffPolicy.model_validate(
                {"metadata": {"name": raw["metadata"]["name"]}, "spec": raw.get("spec") or {}}
            )
        except ValidationError as error:
            log.warning("HandoffPolicy %s cannot be read: %s", raw["metadata"]["name"], error)
            continue
        for source in policy.spec.metric_sources:
            found[source.name] = Source(
                source.name,
                source.url,
                timeout=source.timeout.total_seconds(),
                max_series=source.max_series,
            )
    return sorted(found.values(), key=lambda source: source.name)


def _by_precedence(policies: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(
        policies, key=lambda p: (p["metadata"]["name"] == DEFAULT_POLICY, p["metadata"]["name"])
    )
