"""What the pods of a candidate must show before any traffic: the warm-up Job's errand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import ValidationError

from modelhandoff.api.acceptance import Smoke
from modelhandoff.api.base import StatusModel
from modelhandoff.api.candidate import ArtifactRole, ModelFormat
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.quantities import ListOf
from modelhandoff.api.serving import Protocol

BROKEN_EXIT: Final = 4
"""Exit status of a warm-up Job whose report says that something was not kept."""
_INFER: Final = "/infer"


class Promises(StatusModel):
    """What is checked on every pod, and with which files."""

    version: str
    """The model's version."""
    smoke: Smoke | None = None
    """Tolerances; answers to golden cases are not judged when not set."""
    tensors: bool = True
    """Whether answers are tensors of the Open Inference Protocol; else they are any JSON."""
    golden: str | None = None
    """File of golden cases."""
    contract: str | None = None
    """File of the API contract."""
    errors: Annotated[tuple[int, ...], ListOf(32)] | None = None
    """Statuses of which a bad example must get one; bad examples are not sent when not set."""
    idempotency_header: str | None = None
    """Header of the key under which a repeated request gets the same answer."""
    request_id_header: str | None = None
    """Header that comes back as it was sent."""
    version_header: str | None = None
    """Header with the model's version."""


class NoPromises(Exception):
    """The text is not what :meth:`Promises.model_dump_json` wrote; the message is one line."""


def promises_of(spec: ModelHandoffSpec, files: Mapping[ArtifactRole, str]) -> Promises | None:
    """What the pods of a spec must show; ``None`` when nothing is asked.

    Args:
        spec: the resolved spec.
        files: name of the first file of each role.
    """
    api, contract = spec.contracts.api, files.get(ArtifactRole.API_CONTRACT)
    comparable = _comparable(spec)
    smoke = spec.acceptance.smoke if spec.acceptance is not None and comparable else None
    if not (smoke or api.errors or api.idempotency or api.trace or contract):
        return None
    return Promises(
        version=spec.candidate.model.version,
        smoke=smoke,
        tensors=_tensors(spec),
        golden=files.get(ArtifactRole.TEST_DATA),
        contract=contract,
        errors=tuple(e.status for e in api.errors if e.status < 500) if api.errors else None,
        idempotency_header=api.idempotency.header if api.idempotency else None,
        request_id_header=api.trace.request_id_header if api.trace else None,
        version_header=api.trace.version_header if api.trace else None,
    )


def _tensors(spec: ModelHandoffSpec) -> bool:
    v2 = spec.candidate.serving.protocol is Protocol.OPEN_INFERENCE_V2
    return v2 and spec.contracts.api.path.endswith(_INFER)


def _comparable(spec: ModelHandoffSpec) -> bool:
    """Whether what the pods answer can be compared with the golden cases.

    The cases of an ONNX model hold tensors. A route of its own that answers otherwise is left to
    the verification Job, which has judged the model's tensors.
    """
    return spec.candidate.model.format is not ModelFormat.ONNX or _tensors(spec)


def read_promises(text: str) -> Promises:
    """Promises as the warm-up Job's environment holds them.

    Raises:
        NoPromises: it is something else.
    """
    try:
        return Promises.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(step) for step in first["loc"])
        raise NoPromises(f"promises: {where}: {first['msg']}") from None
