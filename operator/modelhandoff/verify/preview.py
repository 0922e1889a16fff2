"""A first look at a model file: tensors, metadata, and what it answers to made-up inputs."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelhandoff.serve.model import ModelFailed, ModelUnusable, load_model
from modelhandoff.serve.refusals import Refused
from modelhandoff.serve.tensors import decode_request, encode_outputs
from modelhandoff.verify.synthetic import Unmakable, synthetic_requests


class Unusable(Exception):
    """The file cannot be looked at; the message is one line."""


@dataclass(frozen=True, slots=True)
class Preview:
    """What a model file shows.

    Attributes:
        inputs, outputs: name, datatype and shape, -1 for a free dimension.
        metadata: its ``metadata_props``.
        cases: golden cases, request and response, of made-up inputs.
    """

    inputs: Sequence[Mapping[str, Any]]
    outputs: Sequence[Mapping[str, Any]]
    metadata: Mapping[str, str]
    cases: Sequence[Mapping[str, Any]]


def preview(path: Path, cases: int) -> Preview:
    """Load an ONNX file and ask it a few times.

    Raises:
        Unusable: no ONNX file, or one that fails on made-up inputs or gives no finite numbers.
    """
    try:
        model = load_model(path, intra_op_threads=1)
        inputs = [one.as_json() for one in model.inputs]
        asked = itertools.islice(synthetic_requests({"inputs": inputs}), cases)
        made = []
        for request in asked:
            answer = model.run(decode_request(request, model.inputs, max_rows=1))
            outputs = encode_outputs(answer, model.outputs, [one.name for one in model.outputs])
            made.append({"request": request, "response": {"outputs": [_told(o) for o in outputs]}})
    except (ModelUnusable, ModelFailed, Unmakable, Refused) as error:
        said = " ".join(str(error).split())[:300]
        raise Unusable(said if said.startswith(f"{path}:") else f"{path}: {said}") from None
    return Preview(inputs, [one.as_json() for one in model.outputs], model.metadata, made)


def _told(output: dict[str, Any]) -> dict[str, Any]:
    """An output as a golden case has it: null for NaN, which JSON cannot say.

    Raises:
        Unusable: it is infinite.
    """
    data = output["data"]
    if any(isinstance(one, float) and math.isinf(one) for one in data):
        raise Unusable(f"output {output['name']} is infinite for made-up inputs")
    return {**output, "data": [None if one != one else one for one in data]}  # noqa: PLR0124
