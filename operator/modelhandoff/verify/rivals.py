"""Candidate and baseline, each with the way in which it reads the rows of the test set."""

from __future__ import annotations

from modelhandoff.api.acceptance import Acceptance, OfflineRole, WithoutBaseline
from modelhandoff.api.candidate import ArtifactRole
from modelhandoff.errors import cut
from modelhandoff.serve.model import ModelUnusable, OnnxModel, load_model
from modelhandoff.serve.reference import BadReference, Reference, load_reference
from modelhandoff.verify.bundle import Bundle, Rival
from modelhandoff.verify.findings import Failed, Inconclusive, Skipped
from modelhandoff.verify.manifest import hash_file
from modelhandoff.verify.scoring import Player, layout


def players(
    bundle: Bundle, model: OnnxModel, reference: Reference | None
) -> tuple[Player, Player | None]:
    """The candidate, and the baseline where one is asked for and there.

    Raises:
        Skipped: every metric that decides takes a baseline, and there is none.
        Inconclusive: likewise, and the handoff does not want that skipped; or the baseline that
            serves cannot be loaded.
        Failed: nobody knows which column of the test set is which value of an input.
    """
    spec = bundle.spec
    acceptance, data = spec.acceptance, spec.contracts.data
    assert acceptance is not None, "asked for only with offline metrics"
    features = tuple(feature.name for feature in data.features) if data else ()
    where = layout(model.inputs, reference, features, "the candidate")
    candidate = Player("the candidate", model, where, acceptance, Failed)
    if not acceptance.compares:
        return candidate, None
    if bundle.baseline.frozen.absent:
        _without(acceptance, bundle.baseline.frozen.absent)
        return candidate, None
    return candidate, _baseline(bundle.baseline, acceptance)


def _without(acceptance: Acceptance, absent: str) -> None:
    """What it means that there is nothing to compare with."""
    if acceptance.without_baseline is WithoutBaseline.INCONCLUSIVE:
        raise Inconclusive(f"nothing to compare with: {absent}; acceptance.withoutBaseline says so")
    deciding = (m for m in acceptance.offline or () if m.role is OfflineRole.PRIMARY)
    if all(metric.compares for metric in deciding):
        raise Skipped(f"Nothing to compare with: {absent}.")


def _baseline(rival: Rival, acceptance: Acceptance) -> Player:
    name = f"the baseline {rival.frozen.version}"
    path = rival.first(ArtifactRole.MODEL)
    if path is None:
        raise Inconclusive(f"{name} has no model file")
    for artifact, file in rival.files:
        found = hash_file(file)
        if found is None or found[0] != artifact.digest:
            got = "nothing" if found is None else found[0]
            raise Inconclusive(
                f"{name}: {file.name}: digest is wrong; got {got}; allowed {artifact.digest}"
            )
    where = rival.first(ArtifactRole.REFERENCE)
    try:
        model = load_model(path, intra_op_threads=1)
        reference = None if where is None else load_reference(where)
    except (ModelUnusable, BadReference, UnicodeDecodeError) as error:
        raise Inconclusive(f"{name} cannot be loaded; got {cut(error, 200)}") from None
    spread = layout(model.inputs, reference, rival.frozen.features, name)
    return Player(name, model, spread, acceptance, Inconclusive)
