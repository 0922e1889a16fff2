"""What the checks say about documents: API contract, model card, environment, bill of materials."""

from __future__ import annotations

import json
from typing import Any

import pytest

from modelhandoff.api.governance import SECTIONS
from modelhandoff.verify.card import sections
from tests.unit.verify.bundles import case, folder, lines

OBJECT = {"type": "object", "required": ["inputs"]}
ANSWER = {"type": "object", "required": ["outputs"]}
EXAMPLES = [
    {"name": "good", "valid": True, "request": {"inputs": []}, "response": {"outputs": []}},
    {"name": "bad", "valid": False, "request": {"imputs": []}},
]
CONTRACT = {"requestSchema": OBJECT, "responseSchema": ANSWER, "examples": EXAMPLES}


def api(tmp_path: Any, document: Any, **more: Any) -> Any:
    bundle = folder(tmp_path, **more)
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    bundle.files["ApiContract"] = data
    bundle.names["ApiContract"] = "api.json"
    return bundle.checks()["ApiContract"]


def test_schemas_examples_and_golden_cases_agree(tmp_path):
    check = api(tmp_path, CONTRACT)

    assert check.state == "Passed"
    assert check.numbers == {"good": 1, "bad": 1, "cases": 2}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({**CONTRACT, "examples": EXAMPLES[:1]}, "no bad example"),
        ({**CONTRACT, "examples": EXAMPLES[1:]}, "no good example"),
        ({**CONTRACT, "examples": [{**EXAMPLES[0], "request": {}}]}, "(good): is said to be good"),
        (
            {**CONTRACT, "examples": [{**EXAMPLES[1], "request": {"inputs": 1}}]},
            "examples[0] (bad): is said to be bad, and the schemas allow it",
        ),
        ({**CONTRACT, "requestSchema": {"type": "objekt"}}, "requestSchema: no valid schema"),
        ({**CONTRACT, "requestSchema": {}}, "requestSchema: no schema"),
        ({**CONTRACT, "responseSchema": True}, "responseSchema: no schema"),
        ({"requestSchema": OBJECT, "examples": EXAMPLES}, "responseSchema: no schema"),
        ({**CONTRACT, "openapi": "3.1"}, "no API contract"),
        ({**CONTRACT, "examples": {}}, "examples: must be a list"),
        ({**CONTRACT, "examples": [{"valid": "yes", "request": 1}]}, "valid: true or false"),
        ({**CONTRACT, "examples": [{"name": "nothing"}]}, "needs a request or a response"),
        (b"{", "api.json: not JSON"),
        (b"\xff\xfe{\x00}\x00", "api.json: not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b" " * (2 * 1024 * 1024), "too large"),
    ],
)
def test_a_contract_that_proves_nothing_is_failed(tmp_path, document, says):
    check = api(tmp_path, document)

    assert check.state == "Failed", check
    assert says in check.message


@pytest.mark.parametrize(
    "elsewhere",
    ["http://127.0.0.1:1/schema.json", "file:///etc/passwd", "https://schemas.example/x"],
)
def test_a_schema_fetches_nothing_from_anywhere(tmp_path, elsewhere):
    check = api(tmp_path, {**CONTRACT, "requestSchema": {"$ref": elsewhere}})

    assert check.state == "Failed"
    assert f"the schema refers to something else; got {elsewhere}" in check.message


def test_golden_cases_must_keep_the_api_contract(tmp_path):
    strict = {**ANSWER, "properties": {"outputs": {"minItems": 2}}}

    check = api(tmp_path, {**CONTRACT, "responseSchema": strict})

    assert check.state == "Failed"
    assert "(good): is said to be good" in check.message

    examples = [{**EXAMPLES[0], "response": {"outputs": [1, 2]}}, EXAMPLES[1]]
    check = api(tmp_path, {**CONTRACT, "responseSchema": strict, "examples": examples})
    assert check.message.startswith("golden.jsonl:1: response breaks the API contract: .outputs:")


def test_a_golden_line_that_is_no_object_is_no_case_here_either(tmp_path):
    assert api(tmp_path, CONTRACT, golden=lines([])).state == "Failed"
    assert api(tmp_path, CONTRACT, golden=lines(case([1, 2], [2, 4]), 5)).state == "Failed"


# Model card

CARD = """---
license: apache-2.0
---
# Fraud classifier

## Intended use
Scores card payments.

Limitations:
------------
### Regions
Trained on European payments only.

## 3. Biases
```
# Mitigations
```
Younger accounts score higher.

## Mitigations
<!-- nothing yet -->
A person looks at every blocked payment.
"""


def card(tmp_path: Any, text: str | bytes, required: tuple[str, ...] = ()) -> Any:
    wanted: dict[str, Any] = {"requiredSections": list(required)} if required else {}
    bundle = folder(tmp_path, governance={"modelCard": wanted})
    bundle.files["ModelCard"] = text.encode() if isinstance(text, str) else text
    bundle.names["ModelCard"] = "card.md"
    return bundle.checks()["ModelCard"]


def test_every_section_with_text_below_it_is_enough(tmp_path):
    check = card(tmp_path, CARD.replace("3. ", ""))

    assert check.state == "Passed", check.message
    assert check.numbers["sections"] == len(SECTIONS)
    assert card(tmp_path, CARD, ("Intended Use", "limitations", "regions")).state == "Passed"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("## Intended use", "## Usage"), "section intended-use is missing"),
        (("Scores card payments.", ""), "section intended-use says nothing; got 'no text'"),
        (("Scores card payments.", "TODO."), "section intended-use says nothing; got 'TODO.'"),
        (("A person looks at every blocked payment.", ""), "section mitigations says nothing"),
        (("## Mitigations\n<!--", "<!--"), "section mitigations is missing"),
    ],
)
def test_a_section_that_is_missing_or_says_nothing_is_named(tmp_path, change, says):
    check = card(tmp_path, CARD.replace("3. ", "").replace(*change))

    assert check.state == "Failed"
    assert check.message.startswith(f"card.md: {says}")


@pytest.mark.parametrize("text", [b"", b"\xff\xfe\x00", b"\0\0", b"<!-- " * 10, b"```\n# A\n"])
def test_what_is_no_card_is_failed(tmp_path, text):
    assert card(tmp_path, text).state == "Failed"


def test_a_subsection_belongs_to_its_section_and_not_to_the_next():
    found = sections("# A\none\n## B\ntwo\n# C\nthree\n")

    assert found["a"].split() == ["one", "two"]
    assert found["b"].split() == ["two"]
    assert found["c"].split() == ["three"]


# Licence


def licence(tmp_path: Any, text: str, declared: str | None = None) -> Any:
    wanted: dict[str, Any] = {"modelCard": {}} | ({"license": declared} if declared else {})
    bundle = folder(tmp_path, governance=wanted)
    bundle.files["ModelCard"] = text.encode()
    bundle.names["ModelCard"] = "card.md"
    return bundle.checks()["License"]


OTHER = CARD.replace("apache-2.0", "other\nlicense_name: Corp-Internal-1")
UNSTATED = CARD.replace("apache-2.0", "TBD")


@pytest.mark.parametrize(
    ("text", "declared", "says"),
    [
        (CARD, None, "The model card states the licence apache-2.0."),
        (CARD, "Apache-2.0", "Handoff and model card state the licence Apache-2.0."),
        (UNSTATED, "Apache-2.0", "The handoff states the licence Apache-2.0."),
        (OTHER, "Corp-Internal-1", "Handoff and model card state the licence Corp-Internal-1."),
        ("---\nlicense: MIT\n---", None, "The model card states the licence MIT."),
    ],
)
def test_a_licence_may_be_stated_in_either_place(tmp_path, text, declared, says):
    check = licence(tmp_path, text, declared)

    assert (check.state, check.message) == ("Passed", says)


@pytest.mark.parametrize(
    "text", [UNSTATED, "# Card\n", "---\n[1]\n---\n", "---\nlicense: [MIT]\n---\n", "---\nx\n"]
)
def test_a_licence_that_nobody_states_is_said_to_be_missing_and_stops_nothing(tmp_path, text):
    check = licence(tmp_path, text)

    assert check.state == "Skipped"
    assert check.message.startswith("No licence is stated; allowed governance.license")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (CARD, "card.md: license is another than the handoff's; got apache-2.0; allowed MIT"),
        ("---\na: [\n---\n", "card.md: the front matter is no YAML"),
        ("---\na: !!python/object/apply:os.system [ls]\n---\n", "the front matter is no YAML"),
    ],
)
def test_two_licences_or_a_broken_front_matter_are_failed(tmp_path, text, says):
    check = licence(tmp_path, text, "MIT")

    assert check.state == "Failed"
    assert says in check.message


def test_a_handoff_may_state_its_licence_without_a_model_card(tmp_path):
    check = folder(tmp_path, governance={"license": "MIT"}).checks()["License"]

    assert (check.state, check.message) == ("Passed", "The handoff states the licence MIT.")


# Environment


def environment(tmp_path: Any, name: str, data: str | bytes) -> Any:
    bundle = folder(tmp_path, governance={"pinnedEnvironment": True})
    bundle.files["Environment"] = data.encode() if isinstance(data, str) else data
    bundle.names["Environment"] = name
    return bundle.checks()["PinnedEnvironment"]


EXPLICIT = f"""# platform: linux-64
@EXPLICIT
https://conda.example/conda-forge/linux-64/python-3.11.4-hab00c5b_0_cpython.conda#{"a" * 32}
https://conda.example/conda-forge/noarch/tzdata-2024a-h0c530f3_0.tar.bz2#{"a" * 32}
# pip mine @ https://x.example/mine-1.0-py3-none-any.whl#sha256={"a" * 64}
"""
HASH = "--hash=sha256:" + "a" * 64
UV = """version = 1
[[package]]
name = "mine"
source = { virtual = "." }
[[package]]
name = "numpy"
version = "2.2.0"
"""


@pytest.mark.parametrize(
    ("name", "data", "libraries"),
    [
        ("requirements.txt", "numpy==2.2.0\n# a comment\nscipy[extra] === 1.15  # why\n", 2),
        ("requirements.lock", f"numpy==2.2.0 \\\n    {HASH} \\\n    {HASH}\n", 1),
        ("requirements.txt", "--index-url https://x/\nnumpy==2.2.0; python_version > '3.10'\n", 1),
        ("requirements.txt", "mine @ https://x/mine.whl#sha256=" + "a" * 64, 1),
        ("requirements.txt", "mine @ git+https://x/mine@" + "0" * 40, 1),
        ("environment.yml", "dependencies:\n- python=3.11.4\n- numpy=2.2.0=py311_0\n", 2),
        ("environment.yaml", "dependencies:\n- pip==24.0\n- pip: [numpy==2.2.0]\n", 2),
        ("environment.yml", "dependencies:\n- conda-forge::python=3.11.4\n- tzdata=2024a=h0c\n", 2),
        ("conda-linux-64.lock", EXPLICIT, 3),
        ("explicit.txt", EXPLICIT.replace("#" + "a" * 32, ""), 3),
        ("conda-lock.yml", "package:\n- {name: numpy, version: 2.2.0}\n", 1),
        ("uv.lock", UV, 1),
        ("Pipfile.lock", json.dumps({"default": {"numpy": {"version": "==2.2.0"}}}), 1),
    ],
)
def test_exact_versions_are_enough(tmp_path, name, data, libraries):
    check = environment(tmp_path, name, data)

    assert check.state == "Passed", check.message
    assert check.numbers == {"libraries": libraries, "files": 1}


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("requirements.txt", "a==1\nb>=1\n", "requirements.txt:2: has no exact version; got b>=1"),
        ("requirements.txt", "numpy\n", "requirements.txt:1: has no exact version; got numpy"),
        ("requirements.txt", "numpy==2.*\n", "got numpy==2.*"),
        ("requirements.txt", "numpy==2.0,<3\n", "got numpy==2.0,<3"),
        ("requirements.txt", "numpy~=2.0\n", "got numpy~=2.0"),
        ("requirements.txt", "-r other.txt\n", "points elsewhere; got -r other.txt"),
        ("requirements.txt", "-e .\n", "points elsewhere"),
        ("requirements.txt", "mine @ https://x/mine.whl\n", "got mine @ https://x/mine.whl"),
        ("requirements.txt", "mine @ git+https://x/mine@main\n", "has no exact version"),
        ("requirements.txt", f"a==1 \\\n {HASH}\nb>1\n", "requirements.txt:3: has no exact"),
        ("requirements.txt", "# nothing\n", "names no library"),
        ("requirements.txt", b"\xff\xfen", "not UTF-8"),
        ("environment.yml", "dependencies:\n- numpy\n", "dependencies[0]: has no exact version"),
        ("environment.yml", "dependencies:\n- numpy>=2\n", "got numpy>=2"),
        ("environment.yml", "dependencies:\n- numpy=2.*\n", "got numpy=2.*"),
        ("environment.yml", "dependencies:\n- python=3.11\n", "no exact version; got python=3.11"),
        ("environment.yml", "dependencies:\n- pytz=2024a\n", "no exact version; got pytz=2024a"),
        ("environment.yml", "dependencies:\n- numpy==2.2.0=py*\n", "got numpy==2.2.0=py*"),
        ("conda-linux-64.lock", "@EXPLICIT\nnumpy>=2\n", "conda-linux-64.lock:2: has no exact"),
        ("conda-linux-64.lock", "@EXPLICIT\nhttps://x.example/numpy.conda\n", "lock:2: has no"),
        ("conda-linux-64.lock", "@EXPLICIT\n# pip mine>=1\n", "lock:2: has no exact"),
        ("conda-linux-64.lock", "@EXPLICIT\n", "names no library"),
        ("environment.yml", "dependencies:\n- pip: [numpy]\n", "dependencies[0].pip[0]: has no"),
        ("environment.yml", "dependencies:\n- 5\n", "no dependency; got int"),
        ("environment.yml", "a: [", "no YAML"),
        ("environment.yml", "[1]", "no conda environment"),
        ("environment.yml", "dependencies: !!python/object/apply:os.system [ls]", "no YAML"),
        ("environment.yml", "[" * 20_000, "no YAML"),
        ("uv.lock", 'package = [{name = "numpy"}]', "package[0]: has no exact version; got numpy"),
        ("uv.lock", "x = 1", "no lock file"),
        ("uv.lock", "= broken", "no TOML"),
        ("Pipfile.lock", "[]", "no Pipfile.lock"),
        ("Pipfile.lock", '{"default": {"numpy": {"version": "*"}}}', "got numpy *"),
    ],
)  # fmt: skip
def test_anything_less_is_named_with_its_place(tmp_path, name, data, says):
    check = environment(tmp_path, name, data)

    assert check.state == "Failed", check
    assert says in check.message


def test_a_few_aliases_that_stand_for_gigabytes_cost_nothing(tmp_path):
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    check = environment(tmp_path, "environment.yml", bomb + "dependencies: [*a11]\n")

    assert (check.state, check.message) == (
        "Failed",
        "environment.yml: dependencies[0]: no dependency; got list; allowed text",
    )


# Bill of materials


def sbom(tmp_path: Any, document: Any, limit: str = "High") -> Any:
    bundle = folder(tmp_path, governance={"sbom": {"maxSeverity": limit}})
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    bundle.files["SBOM"] = data
    bundle.names["SBOM"] = "sbom.json"
    return bundle.checks()["SBOM"]


def bom(*vulnerabilities: Any, **more: Any) -> dict[str, Any]:
    components = [{"type": "library", "name": "numpy", "version": "2.2.0"}]
    found = {"bomFormat": "CycloneDX", "components": components, **more}
    return {**found, "vulnerabilities": list(vulnerabilities)}


def cve(severity: Any, **more: Any) -> dict[str, Any]:
    return {"id": "CVE-2026-1", "ratings": [{"severity": severity}], **more}


@pytest.mark.parametrize(
    ("document", "limit"),
    [
        (bom(), "None"),
        (bom(cve("low"), cve("high")), "High"),
        (bom(cve("critical", analysis={"state": "not_affected"})), "Low"),
        (bom({"id": "x", "ratings": [{"score": 3.1}]}), "Low"),
        (bom(cve("info")), "None"),
    ],
)
def test_vulnerabilities_up_to_the_limit_are_accepted(tmp_path, document, limit):
    assert sbom(tmp_path, document, limit).state == "Passed"


@pytest.mark.parametrize(
    ("document", "limit", "says"),
    [
        (bom(cve("critical")), "High", "CVE-2026-1 is too severe; got Critical; allowed at most"),
        (bom(cve("low")), "None", "got Low"),
        (bom({"id": "x", "ratings": [{"score": 9.8}]}), "High", "got Critical"),
        (bom({"id": "x"}), "High", "x is too severe; got an unknown severity"),
        (bom(cve("unknown")), "Critical", "got an unknown severity"),
        (bom(cve("critical", analysis={"state": "exploitable"})), "Medium", "got Critical"),
        (bom(cve("high"), cve("critical")), "Low", "(2 are too severe)"),
        (bom(5), "High", "vulnerabilities[0]: must be an object"),
        (bom(components=[]), "High", "components: lists nothing"),
        ({"spdxVersion": "SPDX-2.3"}, "High", "no CycloneDX file"),
        ([], "High", "no CycloneDX file"),
        (b"", "High", "sbom.json: is empty"),
        (b"nothing", "High", "sbom.json: not JSON"),
    ],
)  # fmt: skip
def test_what_is_worse_or_unknown_is_named(tmp_path, document, limit, says):
    check = sbom(tmp_path, document, limit)

    assert check.state == "Failed", check
    assert says in check.message
