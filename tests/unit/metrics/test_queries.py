"""Query text: everything a person wrote is quoted, the namespace is never his choice."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelhandoff.metrics.queries import Scope, arm_of, chunks, selector
from modelhandoff.metrics.reads import Template, reads
from modelhandoff.metrics.samples import Labels

from .looking import metric

SHOP = Scope("shop", ("fraud-v1", "fraud-v2"))


def test_one_tenant() -> None:
    assert selector(["a_total"], None, [SHOP], Labels(), 15000) == (
        '{__name__=~"a_total|process_start_time_seconds|up",namespace="shop",'
        'pod=~"(?:fraud-v1|fraud-v2)-.+"}[15000ms]'
    )


def test_many_tenants_with_other_label_names() -> None:
    bank = Scope("bank", ("risk.v1",))
    labels = Labels(namespace="kubernetes_namespace", pod="kubernetes_pod_name")
    assert selector([], None, [SHOP, bank], labels, 1000) == (
        '{__name__=~"process_start_time_seconds|up",kubernetes_namespace=~"bank|shop",'
        r'kubernetes_pod_name=~"(?:fraud-v1|fraud-v2|risk\\.v1)-.+"}[1000ms]'
    )


def own(value: str, operator: str = "Equal") -> Template:
    one = metric(
        name="orders",
        type="Count",
        maxDrop=0.1,
        counter={
            "metric": "orders_total",
            "matchers": [{"label": "kind", "operator": operator, "value": value}],
        },
    )
    (template,) = reads([one]).templates
    return template


@given(st.text(max_size=60))
def test_whatever_a_tenant_writes_stays_inside_his_quotes(value: str) -> None:
    query = selector([], own(value), [SHOP], Labels(), 1000)
    head, tail = '{__name__="orders_total",kind=', ',namespace="shop",pod=~'
    assert query.startswith(head)
    text, end = json.JSONDecoder().raw_decode(query.removeprefix(head))
    assert text == value
    assert query.removeprefix(head)[end:].startswith(tail)


@pytest.mark.parametrize(
    ("operator", "sign"),
    [("Equal", "="), ("NotEqual", "!="), ("Matches", "=~"), ("NotMatches", "!~")],
)
def test_the_four_operators(operator: str, sign: str) -> None:
    assert own("x", operator).text == f'orders_total{{kind{sign}"x"}}'


@pytest.mark.parametrize(
    ("pod", "owner"),
    [
        ("fraud-7d9f8-abcde", "fraud"),
        ("fraud-v2-7d9f8-abcde", "fraud-v2"),
        ("fraud-v2-7d9fabcde", "fraud-v2"),
        ("fraud-v3-7d9f8-abcde", None),
        ("fraud", None),
        ("fraud-", None),
        ("", None),
    ],
)
def test_a_pod_belongs_to_the_deployment_that_made_it(pod: str, owner: str | None) -> None:
    assert arm_of(pod, {"fraud", "fraud-v2"}) == owner


@given(
    st.lists(st.integers(0, 30), max_size=40, unique=True),
    st.integers(10, 200),
    st.integers(100, 2000),
)
def test_chunks_keep_everybody_once(numbers: list[int], longest: int, most: int) -> None:
    scopes = [Scope("ns", (f"model-{n:02}",)) for n in numbers]
    groups = chunks(scopes, longest, {scopes[0]: most * 2} if scopes else {}, most)
    assert sorted(one for group in groups for one in group) == sorted(scopes)
    assert all(groups)
    for group in groups:
        length = sum(len(one.namespace) + 1 + len(one.workloads[0]) + 1 for one in group)
        assert len(group) == 1 or length <= longest
