"""Personal data: no declared field is where everybody may read it, and no value is ever told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.unit.verify.bundles import GOLDEN, Folder, case, folder, lines

SECRET = "ana.maria@example.com"
PRIVACY = {"retention": "30 days", "accessGroups": ["risk-ml"]}


def declaring(tmp_path: Any, *fields: str, golden: bytes = GOLDEN, **more: Any) -> Folder:
    privacy = {"piiFields": list(fields), **PRIVACY}
    return folder(tmp_path, golden=golden, governance={"privacy": privacy}, **more)


def checked(bundle: Folder) -> Any:
    return bundle.checks()["Privacy"]


def rows(**features: Any) -> bytes:
    """A golden case in named features, after one without."""
    named = {"request": {"features": features}, "response": {"outputs": []}}
    return GOLDEN + lines(named)


def test_a_bundle_without_any_of_its_declared_fields_passes(tmp_path):
    check = checked(declaring(tmp_path, "email", "iban"))

    assert check.state == "Passed", check
    assert check.numbers == {"fields": 2, "files": 1}


def test_that_there_are_no_personal_data_is_said_by_an_empty_list(tmp_path):
    check = checked(folder(tmp_path, governance={"privacy": {"piiFields": []}}))

    assert check.state == "Passed"
    assert check.message == "The handoff declares that no field holds personal data."


@pytest.mark.parametrize(
    "golden",
    [
        rows(amount=1, email=SECRET),
        rows(amount=1, EMail=SECRET),
        rows(customer={"contact": [{"email": SECRET}]}),
        GOLDEN + lines({"request": {}, "response": {"email": SECRET}}),
        GOLDEN + lines({"request": {"inputs": [{"name": "Email", "data": [SECRET]}]}}),
        GOLDEN + lines({"email": SECRET}),
    ],
)
def test_a_field_in_a_golden_case_is_named_with_its_line_and_never_with_its_value(tmp_path, golden):
    check = checked(declaring(tmp_path, "email", golden=golden))

    assert check.state == "Failed"
    assert check.message.startswith("golden.jsonl:3: holds personal data; got the field email; ")
    assert check.numbers == {"places": 1}
    assert SECRET not in check.message


def test_the_words_of_the_protocol_are_no_fields(tmp_path):
    golden = lines(case([1, 2], [2, 4], name="an ordinary case"))
    assert checked(declaring(tmp_path, "name", golden=golden)).state == "Passed"

    check = checked(declaring(tmp_path, "name", golden=golden + rows(name="Ana")))
    assert check.state == "Failed"
    assert "golden.jsonl:4: " in check.message


def test_every_place_is_counted(tmp_path):
    golden = rows(email=SECRET) + lines({"request": {"features": {"email": SECRET, "iban": 1}}})

    check = checked(declaring(tmp_path, "iban", "email", golden=golden))

    assert check.message.endswith("(3 places)")


def test_examples_of_the_api_contract_are_searched_and_its_schemas_are_not(tmp_path):
    schema = {"type": "object", "properties": {"email": {"type": "string"}}}
    good = {"name": "good", "valid": True, "request": {"amount": 1}, "response": {}}

    def contract(example: Any) -> Any:
        bundle = declaring(tmp_path, "email")
        document = {"requestSchema": schema, "responseSchema": schema, "examples": [example]}
        bundle.files["ApiContract"] = json.dumps(document).encode()
        bundle.names["ApiContract"] = "api.json"
        return checked(bundle)

    assert contract(good).state == "Passed"
    check = contract({**good, "request": {"email": SECRET}})
    assert check.state == "Failed"
    assert check.message.startswith("api.json: examples[0].request: holds personal data; got the")
    assert SECRET not in check.message


def test_a_reference_would_show_the_distribution_of_its_features(tmp_path):
    bundle = declaring(tmp_path, "age")
    bundle.files["Reference"] = json.dumps({"features": [{"name": "x"}, {"name": "Age"}]}).encode()
    bundle.names["Reference"] = "reference.json"

    check = checked(bundle)

    assert check.state == "Failed"
    assert check.message.startswith("reference.json: features[1].name: holds personal data")


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (b"amount,Email,label\n1,x,0\n", True),
        (b'amount;"email"\r\n1;x\r\n', True),
        (b"amount\temail\n", True),
        (b"amount,label\nemail,email\n", False),
    ],
)
def test_the_columns_of_a_table_are_fields(tmp_path, header, found):
    bundle = declaring(tmp_path, "email")
    bundle.names["TestData"] = "test.csv"
    bundle.files["TestData"] = header
    del bundle.overrides["acceptance"]

    check = checked(bundle)

    assert (check.state == "Failed") == found
    if found:
        assert check.message.startswith("test.csv:1: holds personal data; got the field email")


def test_a_label_of_a_metric_is_for_everybody_to_read(tmp_path):
    selector = {"metric": "requests_total", "matchers": [{"label": "email", "value": "x"}]}
    rate = {"bad": {"metric": "errors_total"}, "total": selector}
    errors = {"name": "errors", "type": "ErrorRate", "max": 0.01, "counters": rate}

    check = checked(declaring(tmp_path, "Email", monitoring={"metrics": [errors]}))

    assert check.state == "Failed"
    assert check.message.startswith(
        "spec.monitoring.metrics[0].counters.total.matchers[0].label: holds personal data"
    )


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("test.parquet", b"PAR1\xff\xfe\0", "not UTF-8"),
        ("test.csv", b"\xff\xfe,\n", "not UTF-8"),
        ("test.json", b"{", "not JSON"),
        ("golden.jsonl", b"[" * 100_000, "nested too deeply"),
        ("test.csv", b"a" * 2_000_000, "line too long"),
    ],
)
def test_what_cannot_be_searched_is_not_taken_for_clean(tmp_path, name, data, says):
    bundle = declaring(tmp_path, "email")
    bundle.names["TestData"] = name
    bundle.files["TestData"] = data
    del bundle.overrides["acceptance"]

    check = checked(bundle)

    assert check.state == "Failed"
    assert check.message.startswith(f"{name}: cannot be searched for personal data: ")
    assert says in check.message
