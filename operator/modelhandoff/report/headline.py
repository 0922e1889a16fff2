"""The sentence that comes first: is production safe, what serves, what did the candidate get."""

from __future__ import annotations

from dataclasses import dataclass

from modelhandoff.analysis import wording
from modelhandoff.api.attempt import AttemptKind
from modelhandoff.api.vocabulary import Phase, Reason
from modelhandoff.report.document import Tone
from modelhandoff.report.export import Export
from modelhandoff.report.words import moment, span

NOT_THE_MODEL = frozenset(
    {
        Reason.CAPACITY_SHORTAGE, Reason.QUOTA_EXCEEDED, Reason.IMAGE_PULL_FAILED,
        Reason.ARTIFACT_UNAVAILABLE, Reason.NO_DATA, Reason.SHARED_INCIDENT,
        Reason.TRAFFIC_SPLIT_MISMATCH, Reason.TRAFFIC_CONTESTED, Reason.METRICS_ERROR,
        Reason.METRICS_INVALID, Reason.METRICS_AMBIGUOUS, Reason.METRICS_STALE,
        Reason.METRICS_MISSING, Reason.BASELINE_MISSING, Reason.BASELINE_NOT_READY,
        Reason.BASELINE_CHANGED, Reason.GPU_MISMATCH, Reason.CHECK_INCONCLUSIVE,
        Reason.REPORT_UNREADABLE, Reason.VERIFICATION_NOT_RUN, Reason.TAMPERED_SPEC,
        Reason.JOB_NOT_RUN,
    }
)  # fmt: skip
"""Reasons that say nothing against the candidate."""

_ENDED = {
    Phase.ROLLED_BACK: "Rolled back",
    Phase.REJECTED: "Rejected before traffic",
    Phase.INCONCLUSIVE: "Inconclusive",
    Phase.ABORTED: "Aborted",
    Phase.SUPERSEDED: "Superseded by an edit",
    Phase.FALLEN_BACK: "Fallen back",
}


@dataclass(frozen=True, slots=True)
class Headline:
    """The first lines.

    Attributes:
        sentence: one sentence with the answer.
        tone: good when nobody needs to do anything about production.
        word: the outcome as one word or two.
        safe: the answer to "is production safe?".
        serves: what serves.
        share: what the candidate got of the traffic.
        since: since when it is so.
    """

    sentence: str
    tone: Tone
    word: str
    safe: str
    serves: str
    share: str
    since: str


def serving(export: Export) -> str:
    """The baseline by its version, else by its Deployment."""
    if export.baseline_version is not None:
        return export.baseline_version
    if export.baseline is not None:
        return f"the version before ({export.baseline})"
    return "the version before"


def share(export: Export) -> str:
    """What the candidate got: how much and for how long."""
    state = export.attempt.state
    if state.first_weight_at is None:
        if export.attempt.kind is AttemptKind.INITIAL and state.promoted_at:
            return "all traffic: nothing served before"
        return "no traffic"
    end = state.off_at or state.promoted_at
    if end is None:
        return f"up to {state.max_weight} %"
    return f"up to {state.max_weight} % for {span(end - state.first_weight_at)}"


def headline(export: Export) -> Headline:
    """What to say first. Speaks of the moment of the export, never of today."""
    state = export.attempt.state
    if state.phase is Phase.PROMOTED:
        return _promoted(export)
    if state.phase.terminal:
        return _ended(export)
    if state.phase is Phase.ROLLING_BACK or (
        state.verdict is not None and not state.verdict.outcome.promotes
    ):
        at = moment(state.verdict.at) if state.verdict else ""
        had = state.first_weight_at is not None
        return Headline(
            f"Rolling back since {at}: traffic goes back to {serving(export)}."
            if had
            else f"Being taken down since {at}: it never had traffic.",
            Tone.WAIT,
            "Rolling back",
            "weight 0 was ordered; the rest follows",
            serving(export),
            share(export),
            at,
        )
    return _under_way(export)


def _promoted(export: Export) -> Headline:
    attempt = export.attempt
    state = attempt.state
    at = state.promoted_at or (state.verdict.at if state.verdict else None) or state.phase_since
    since = moment(at) if at else "an unknown time"
    how = {
        AttemptKind.INITIAL: " It is the first version: its metrics were not judged.",
        AttemptKind.REFRESH: " The revision served already: only the rules changed.",
    }.get(attempt.kind, "")
    return Headline(
        f"Promoted; production is safe: {attempt.model} serves all traffic since {since}.{how}",
        Tone.GOOD,
        "Promoted",
        "yes",
        attempt.version,
        share(export),
        since,
    )


def _ended(export: Export) -> Headline:
    attempt = export.attempt
    state = attempt.state
    at = state.verdict.at if state.verdict else state.phase_since
    since = moment(at) if at else "an unknown time"
    word = _ENDED.get(state.phase, str(state.phase))
    served = serving(export)
    first = attempt.kind is AttemptKind.INITIAL and export.baseline is None
    # A person may abort although no pod of the baseline is ready; only the traffic is sure then.
    insisted = state.phase is Phase.ABORTED and state.first_weight_at is not None
    if insisted:
        sentence = f"{word} at {since}: 100 % on {served}."
    elif first:
        sentence = f"{word} at {since}: nothing served before, and nothing serves."
    else:
        sentence = f"{word} at {since}; production is safe: 100 % on {served}."
    if state.first_weight_at is not None:
        sentence += f" {attempt.version} had {share(export)}."
    elif not first:
        sentence += f" {attempt.version} never had traffic."
    if state.verdict is not None and state.verdict.reason in NOT_THE_MODEL:
        sentence += " It is not the model's fault."
    bad = state.phase in (Phase.ROLLED_BACK, Phase.REJECTED)
    return Headline(
        sentence,
        Tone.BAD if bad or first else Tone.WAIT,
        word,
        "nothing serves" if first else "traffic is back" if insisted else "yes",
        "nothing" if first else served,
        share(export),
        since,
    )


def _under_way(export: Export) -> Headline:
    attempt = export.attempt
    state = attempt.state
    since = moment(state.phase_since) if state.phase_since else "an unknown time"
    weight = 0 if state.withheld else state.weight
    if state.phase is Phase.PROMOTING:
        sentence = f"Promoting since {since}: all traffic is on its way to {attempt.model}."
        served = f"{serving(export)}, soon {attempt.version}"
    elif state.phase is Phase.PROGRESSING and weight:
        bound = 1.0 / attempt.spec.rollout.decision.harm_level
        sentence = (
            f"Under way: {attempt.model} has {weight} % of the traffic; no harm is proven "
            f"(rollback at evidence {wording.evidence(bound)})."
        )
        served = f"{serving(export)} with {100 - weight} %, {attempt.version} with {weight} %"
    else:
        why = f" {state.withheld.message}" if state.withheld else ""
        sentence = f"Under way: {attempt.model} has no traffic now ({state.phase}).{why}"
        served = "nothing yet" if attempt.kind is AttemptKind.INITIAL else serving(export)
    return Headline(
        sentence, Tone.WAIT, str(state.phase), "yes, as far as is known", served, share(export),
        since,
    )  # fmt: skip
