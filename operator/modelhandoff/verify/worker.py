"""``python -m modelhandoff.verify.worker``: makes the checks, in a process that may be lost.

A model file is a program: it may end the process that loads it, or never return. So the checks
run in a child of ``modelhandoff.verify.check``, under limits of memory and CPU time, and each
result is written to a pipe as soon as it is there.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from modelhandoff.api.candidate import ArtifactRole, ModelFormat
from modelhandoff.api.checks import CANARY_CHECKS, CheckName
from modelhandoff.verify import card, environment, formats, privacy
from modelhandoff.verify.bundle import Bundle, read_bundle, read_lines
from modelhandoff.verify.findings import Failed, Found, Skipped, made

MAX_REFERENCE_NAMES: Final = 500
Check = Callable[[], Found]


def asked(bundle: Bundle) -> tuple[CheckName, ...]:
    """The checks that a bundle asks for, in the order in which they are made."""
    spec = bundle.spec
    onnx = spec.candidate.model.format is ModelFormat.ONNX
    api = spec.contracts.api
    governance = spec.governance
    wanted = {
        **dict.fromkeys(CANARY_CHECKS, False),
        CheckName.ARTIFACTS: True,
        CheckName.SIGNATURE: spec.candidate.signature is not None,
        CheckName.MODEL_FORMAT: True,
        CheckName.MODEL_LOADS: onnx,
        CheckName.MODEL_METADATA: onnx,
        CheckName.GRAPH_CONTRACT: bool(spec.contracts.data or api.inputs or api.outputs),
        CheckName.DATA_CONTRACT: spec.contracts.data is not None,
        CheckName.API_CONTRACT: bundle.first(ArtifactRole.API_CONTRACT) is not None,
        CheckName.GOLDEN_CASES: spec.acceptance is not None and spec.acceptance.smoke is not None,
        CheckName.OFFLINE_METRICS: spec.acceptance is not None and bool(spec.acceptance.offline),
        CheckName.MODEL_CARD: governance is not None and governance.model_card is not None,
        CheckName.LICENSE: governance is not None
        and (governance.license is not None or governance.model_card is not None),
        CheckName.PRIVACY: governance is not None and governance.privacy is not None,
        CheckName.PINNED_ENVIRONMENT: governance is not None and governance.pinned_environment,
        CheckName.SBOM: governance is not None and governance.sbom is not None,
    }
    return tuple(name for name in CheckName if wanted[name])


@dataclass
class Bench:
    """One bundle on the bench. The model is loaded by its own check and shared by the others."""

    bundle: Bundle
    _model: Any = field(default=None, init=False)

    @property
    def checks(self) -> Mapping[CheckName, Check]:
        """Every check by name."""
        return {
            CheckName.ARTIFACTS: lambda: formats.artifacts(self.bundle),
            CheckName.SIGNATURE: self.signature,
            CheckName.MODEL_FORMAT: lambda: formats.model_format(self.bundle),
            CheckName.MODEL_LOADS: self.load,
            CheckName.MODEL_METADATA: self.metadata,
            CheckName.GRAPH_CONTRACT: self.graph,
            CheckName.DATA_CONTRACT: self.data,
            CheckName.API_CONTRACT: self.api,
            CheckName.GOLDEN_CASES: self.golden,
            CheckName.OFFLINE_METRICS: self.offline,
            CheckName.MODEL_CARD: self.card,
            CheckName.LICENSE: self.license,
            CheckName.PRIVACY: lambda: privacy.privacy(self.bundle),
            CheckName.PINNED_ENVIRONMENT: lambda: environment.pinned_environment(
                self.bundle.all(ArtifactRole.ENVIRONMENT)
            ),
            CheckName.SBOM: self.sbom,
        }

    @property
    def model(self) -> Any:
        """The loaded model.

        Raises:
            Skipped: there is none: it did not load, or onnxruntime has no part in it.
        """
        if self._model is None:
            if self.bundle.spec.candidate.model.format is not ModelFormat.ONNX:
                raise Skipped("Only ONNX models are looked into.")
            raise Skipped("The model was not loaded.")
        return self._model

    @cached_property
    def contract(self) -> Any:
        """Named features tied to the model's tensors, as the reference file names them."""
        from modelhandoff.serve.contract import bind
        from modelhandoff.serve.reference import BadReference

        try:
            return bind(self.model.inputs, self.model.outputs, self.reference)
        except BadReference as error:
            raise Failed(str(error)) from None

    @cached_property
    def reference(self) -> Any:
        """The reference file, where there is one."""
        from modelhandoff.serve.reference import BadReference, load_reference

        path = self.bundle.first(ArtifactRole.REFERENCE)
        if path is None:
            return None
        try:
            return load_reference(path)
        except (BadReference, UnicodeDecodeError, RecursionError) as error:
            raise Failed(f"{path.name}: {error}".replace(f"{path}: ", "")) from None

    def load(self) -> Found:
        """The model can be loaded by onnxruntime."""
        from modelhandoff.serve.model import ModelUnusable, load_model

        path = self.bundle.first(ArtifactRole.MODEL)
        assert path is not None, "a spec has exactly one model"
        if formats.kind_of(path) != "ONNX model":
            raise Failed(f"{path.name}: is no ONNX model; it is not given to onnxruntime")
        try:
            self._model = load_model(path, intra_op_threads=1)
        except ModelUnusable as error:
            raise Failed(str(error).replace(str(path), path.name)) from None
        inputs, outputs = len(self._model.inputs), len(self._model.outputs)
        message = f"onnxruntime loads it: {inputs} inputs, {outputs} outputs."
        return Found(message, {"inputs": inputs, "outputs": outputs})

    def metadata(self) -> Found:
        """What the model says of itself."""
        from modelhandoff.verify import graph

        return graph.metadata(self.model, self.bundle.spec)

    def graph(self) -> Found:
        """Inputs, outputs and features are the contract's."""
        from modelhandoff.verify import features, graph

        compared = graph.tensors(self.model, self.bundle.spec)
        data = self.bundle.spec.contracts.data
        found = features.places(data.features, self.model.inputs, self.reference) if data else ()
        return Found(
            f"{compared} tensors and {len(found)} features are where the contract says.",
            {"tensors": compared, "features": len(found)},
        )

    def data(self) -> Found:
        """The values of the test data keep the data contract."""
        from modelhandoff.verify import features
        from modelhandoff.verify.golden import read_cases

        data = self.bundle.spec.contracts.data
        assert data is not None, "asked for only with a data contract"
        path = self.bundle.first(ArtifactRole.TEST_DATA)
        if path is None:
            raise Skipped("There is no artifact with role TestData whose values could be checked.")
        values = features.Values(features.places(data.features, self.model.inputs, self.reference))
        for case in read_cases(path, self.contract):
            values.add(case.where, case.feeds)
        return values.verdict()

    def api(self) -> Found:
        """Schemas and examples of the API contract."""
        from modelhandoff.verify.api_contract import api_contract

        path = self.bundle.first(ArtifactRole.API_CONTRACT)
        assert path is not None, "asked for only with such an artifact"
        return api_contract(path, self._golden_bodies())

    def _golden_bodies(self) -> Iterator[tuple[str, Any]]:
        path = self.bundle.first(ArtifactRole.TEST_DATA)
        if path is not None and self.bundle.spec.acceptance is not None:
            yield from read_lines(path)

    def golden(self) -> Found:
        """The golden cases."""
        from modelhandoff.verify.golden import golden_cases

        path = self.bundle.first(ArtifactRole.TEST_DATA)
        acceptance = self.bundle.spec.acceptance
        assert path is not None, "a rule of the spec"
        assert acceptance is not None, "asked for only with acceptance"
        assert acceptance.smoke is not None, "asked for only with golden cases"
        if self.bundle.spec.candidate.model.format is not ModelFormat.ONNX:
            raise Skipped(
                "Only an ONNX model is run here; this one answers the golden cases from its pods, "
                "before any traffic."
            )
        return golden_cases(path, self.model, self.contract, acceptance.smoke)

    def offline(self) -> Found:
        """The metrics on the test set."""
        from modelhandoff.verify.offline import offline_metrics
        from modelhandoff.verify.rivals import players
        from modelhandoff.verify.scoring import scored

        path = self.bundle.first(ArtifactRole.TEST_SET)
        acceptance = self.bundle.spec.acceptance
        assert path is not None, "a rule of the spec"
        assert acceptance is not None, "asked for only with offline metrics"
        baseline = self.bundle.baseline.frozen
        candidate, rival = players(self.bundle, self.model, self.reference)
        answered = scored(path, acceptance, candidate, rival)
        return offline_metrics(answered, acceptance, baseline.version, baseline.absent)

    def card(self) -> Found:
        """The model card."""
        path = self.bundle.first(ArtifactRole.MODEL_CARD)
        governance = self.bundle.spec.governance
        assert path is not None, "a rule of the spec"
        assert governance is not None, "asked for only with a model card"
        assert governance.model_card is not None, "asked for only with a model card"
        return card.model_card(path, governance.model_card.required_sections)

    def signature(self) -> Found:
        """Who signed the bundle."""
        from modelhandoff.verify.signature import signature

        return signature(self.bundle)

    def license(self) -> Found:
        """The licence, of the spec and of the model card."""
        governance = self.bundle.spec.governance
        assert governance is not None, "asked for only with a licence or a model card"
        return card.licence(self.bundle.first(ArtifactRole.MODEL_CARD), governance.license)

    def sbom(self) -> Found:
        """The bill of materials."""
        from modelhandoff.verify.sbom import sbom

        path = self.bundle.first(ArtifactRole.SBOM)
        governance = self.bundle.spec.governance
        assert path is not None, "a rule of the spec"
        assert governance is not None, "asked for only with a bill of materials"
        assert governance.sbom is not None, "asked for only with a bill of materials"
        return sbom(path, governance.sbom.max_severity)


def limit(memory: int, seconds: int) -> None:
    """Bound this process; what goes beyond ends in a MemoryError, or in SIGXCPU.

    Args:
        memory: bytes of private memory; 0 for no bound.
        seconds: of CPU time; 0 for no bound.
    """
    if memory:
        resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
    if seconds:
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(argv: list[str]) -> int:
    """Make every check of the spec on standard input.

    ``argv``: the artifacts' directory, bytes of memory, seconds of CPU time, and the descriptor
    that results are written to.
    """
    limit(int(argv[1]), int(argv[2]))
    bundle = read_bundle(sys.stdin.buffer.read(), Path(argv[0]))
    bench = Bench(bundle)
    with os.fdopen(int(argv[3]), "w", encoding="utf-8") as results:

        def tell(**what: Any) -> None:
            print(json.dumps(what, separators=(",", ":")), file=results, flush=True)

        for name in asked(bundle):
            tell(done=made(name, bench.checks[name]).model_dump(mode="json"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
