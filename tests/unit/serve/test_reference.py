"""The reference file: a strict document, and one rule for the borders of its bins."""

from __future__ import annotations

import json
import math

import pytest

from modelhandoff.serve.histograms import BinnedCounts
from modelhandoff.serve.reference import BadReference, bin_of, load_reference, parse_reference
from tests.unit.serve.onnx_files import REFERENCE


def changed(path, value):
    document = json.loads(json.dumps(REFERENCE))
    *way, last = path
    target = document
    for step in way:
        target = target[step]
    target[last] = value
    return json.dumps(document).encode()


def test_a_good_document_is_read_as_written():
    document = parse_reference(json.dumps(REFERENCE).encode())
    assert [feature.name for feature in document.features] == ["age", "kind"]
    assert document.features[0].edges == [-1.0, 0.0, 10.0]
    assert document.outputs[1].column == 1


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("format",), "v2", "reference.json: format: Input should be"),
        (("features", 0, "edges"), [1.0, 1.0], "edges must be strictly increasing"),
        (("features", 0, "edges"), [], "features.0.edges: List should have at least 1 item"),
        (
            ("features", 0, "edges"),
            [0.0, 1.0],
            "counts must have one entry more than edges; got 4 for 2",
        ),
        (("features", 0, "counts"), [1, 2, 3, -4], "features.0.counts.3: Input should be greater"),
        (("features", 0, "counts"), [1, 2, 3, 4.5], "features.0.counts.3: "),
        (("features", 0, "name"), 'a"b', "features.0.name: String should match pattern"),
        (("features", 0, "allowMissing"), "yes", "features.0.allowMissing: "),
        (("features", 0, "colour"), "red", "features.0.colour: Extra inputs are not permitted"),
        (("features", 1, "name"), "age", "features must have different names"),
        (("outputs", 0, "column"), -1, "outputs.0.column: "),
    ],
)
def test_a_malformed_document_is_refused_with_one_line(path, value, said):
    with pytest.raises(BadReference) as caught:
        parse_reference(changed(path, value))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"NaN"])
def test_text_that_is_no_document_is_refused(text):
    with pytest.raises(BadReference, match=r"^reference\.json: "):
        parse_reference(text)


def test_a_file_that_is_not_there_is_refused_by_name(tmp_path):
    with pytest.raises(BadReference, match=r"absent\.json: cannot be read; got No such file"):
        load_reference(tmp_path / "absent.json")


@pytest.mark.parametrize(
    ("value", "index"), [(-9.0, 0), (1.0, 0), (1.0000001, 1), (2.0, 1), (2.1, 2), (1e300, 2)]
)
def test_the_upper_border_belongs_to_its_bin(value, index):
    assert bin_of([1.0, 2.0], value) == index
    counts = BinnedCounts([1.0, 2.0])
    counts.observe(value)
    assert counts.counts.index(1) == index


def test_no_number_is_in_no_bin():
    assert bin_of([1.0], math.nan) is None
