"""PromQL text: range selectors for many tenants at once, every value escaped.

Namespace and pods are chosen here, never by a tenant. Pods are matched by the prefix of their
Deployment; which arm a pod belongs to is decided exactly, in Python, when the answer is there.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from modelhandoff.metrics.reads import Template, quoted
from modelhandoff.metrics.samples import NAME, STARTED, UP, Labels

__all__ = ["Scope", "arm_of", "chunks", "selector"]

_PLAIN: Final = re.compile(r"[A-Za-z0-9_:-]")


@dataclass(frozen=True, slots=True, order=True)
class Scope:
    """One tenant's part of a query: a namespace and the Deployments in it."""

    namespace: str
    workloads: tuple[str, ...]


def selector(
    names: Iterable[str],
    template: Template | None,
    scopes: Iterable[Scope],
    labels: Labels,
    milliseconds: int,
) -> str:
    """A range selector over ``milliseconds`` for the pods of all scopes.

    Args:
        names: built-in metric names (with the target's own series added), used when there is no
            template.
        template: a tenant's own selection.
        scopes: whose pods.
        labels: names of the target labels.
        milliseconds: length of the range.
    """
    scopes = sorted(set(scopes))
    namespaces = sorted({scope.namespace for scope in scopes})
    workloads = sorted({name for scope in scopes for name in scope.workloads})
    if template is None:
        every = sorted({*names, UP, STARTED})
        parts = [f"{NAME}=~{quoted(_any(every))}"]
    else:
        parts = [f"{NAME}={quoted(template.name)}", *template.conditions]
    parts.append(_one_of(labels.namespace, namespaces))
    parts.append(f"{labels.pod}=~{quoted(f'(?:{_any(workloads)})-.+')}")
    return f"{{{','.join(parts)}}}[{milliseconds}ms]"


def _one_of(label: str, values: list[str]) -> str:
    if len(values) == 1:
        return f"{label}={quoted(values[0])}"
    return f"{label}=~{quoted(_any(values))}"


def _any(values: Iterable[str]) -> str:
    return "|".join(_literal(value) for value in values)


def _literal(text: str) -> str:
    """A text as a regular expression of Prometheus (RE2) that matches just this text."""
    return "".join(c if _PLAIN.fullmatch(c) else f"\\{c}" for c in text)


def chunks(
    scopes: Iterable[Scope], longest: int, series: Mapping[Scope, int], most: int
) -> list[list[Scope]]:
    """Cut scopes into groups whose names fit into ``longest`` characters and ``most`` series.

    Args:
        scopes: all tenants of a batch.
        longest: characters for namespaces and prefixes in one query.
        series: series that a scope returned last time; unknown ones count as 200.
        most: series in one answer.
    """
    groups: list[list[Scope]] = []
    length = count = 0
    for scope in sorted(set(scopes)):
        needs = len(scope.namespace) + 1 + sum(len(name) + 1 for name in scope.workloads)
        brings = series.get(scope, 200)
        if not groups or length + needs > longest or count + brings > most:
            groups.append([])
            length = count = 0
        groups[-1].append(scope)
        length += needs
        count += brings
    return groups


def arm_of(pod: str, workloads: Container[str]) -> str | None:
    """The Deployment that a pod belongs to, by its name.

    Kubernetes names pods ``<deployment>-<hash>-<5 characters>``, and ``<deployment>-<begin of the
    hash and 5 characters>`` where the whole would be too long. The longer Deployment name wins,
    so that ``fraud`` does not swallow the pods of ``fraud-2``.
    """
    for parts in (1, 2):
        workload, *tail = pod.rsplit("-", parts)
        if len(tail) == parts and all(tail) and workload in workloads:
            return workload
    return None
