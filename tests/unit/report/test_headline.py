"""The first sentence: is production safe, what serves, what did the candidate get, since when."""

import pytest

from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.report import compose, read
from modelhandoff.report.document import Facts, Tone
from modelhandoff.rollout.attempt import AttemptState
from tests.unit.report.exports import (
    BASELINE,
    FAILING,
    GOOD,
    PROMOTED,
    ROLLED_BACK,
    at,
    attempt,
    ended,
    handoff,
    held,
    judged,
    untouched,
)


def report(*objects):
    return compose(read(objects))


def facts(found):
    first = next(block for block in found.blocks if isinstance(block, Facts))
    return {
        name: "".join(part if isinstance(part, str) else part.text for part in line)
        for name, line in first.rows
    }


def test_rolled_back_says_that_production_is_safe_and_what_the_candidate_got():
    found = report(ROLLED_BACK)
    assert found.tone is Tone.BAD
    assert "production is safe" in found.headline
    assert f"100 % on the version before ({BASELINE})" in found.headline
    assert "1.4.0 had up to 10 % for" in found.headline
    assert "errors at" in found.why
    told = facts(found)
    assert told["Production safe"] == "yes"
    assert told["Verdict"] == "Rollback, HarmDetected"
    assert told["Evidence of harm"].endswith("rollback at 100")
    assert "candidate requests" in told["Judged"]


def test_promoted_says_since_when_all_traffic_is_served():
    found = report(PROMOTED)
    assert found.tone is Tone.GOOD
    assert found.headline == (
        "Promoted; production is safe: fraud-classifier 1.4.0 serves all traffic since "
        "2026-11-25 00:20:14 UTC."
    )
    assert facts(found)["Next"] == "No action needed."


@pytest.mark.parametrize(
    ("outcome", "reason", "says", "not_the_model"),
    [
        (Outcome.REJECT, "CanaryCrashed", "Rejected before traffic at", False),
        (Outcome.REJECT, "ArtifactMismatch", "Rejected before traffic at", False),
        (Outcome.INCONCLUSIVE, "CapacityShortage", "Inconclusive at", True),
        (Outcome.INCONCLUSIVE, "ImagePullFailed", "Inconclusive at", True),
        (Outcome.ABORT, "Aborted", "Aborted at", False),
        (Outcome.SUPERSEDE, "Superseded", "Superseded by an edit at", False),
    ],
)
def test_an_end_before_traffic_says_so(outcome, reason, says, not_the_model):
    found = report(attempt(untouched(outcome, reason, "It ended.")))
    assert found.headline.startswith(f"{says} 2026-11-25 00:01:30 UTC; production is safe")
    assert "1.4.0 never had traffic." in found.headline
    assert ("not the model's fault" in found.headline) is not_the_model
    assert facts(found)["Candidate got"] == "no traffic"


@pytest.mark.parametrize(
    ("outcome", "reason"),
    [
        (Outcome.INCONCLUSIVE, "MaxDuration"),
        (Outcome.ABORT, "Aborted"),
        (Outcome.SUPERSEDE, "Superseded"),
    ],
)
def test_an_end_under_traffic_that_is_no_rollback_is_not_red(outcome, reason):
    found = report(attempt(ended(GOOD, outcome, reason, looks=12)))
    assert found.tone is Tone.WAIT
    assert "1.4.0 had up to 10 % for" in found.headline


def test_an_abort_under_traffic_claims_only_where_the_traffic_is():
    found = report(attempt(ended(GOOD, Outcome.ABORT, "Aborted", looks=12)))
    assert "safe" not in found.headline
    assert f"100 % on the version before ({BASELINE})" in found.headline
    assert facts(found)["Production safe"] == "traffic is back"


def test_the_first_version_is_said_to_be_unjudged():
    state = untouched(Outcome.INITIAL, "Initial", "The first version.").but(promoted_at=at(100))
    found = report(attempt(state, kind="Initial", ordinal=1))
    assert "It is the first version: its metrics were not judged." in found.headline
    assert facts(found)["Candidate got"] == "all traffic: nothing served before"
    assert facts(found)["Verdict"] == "Initial"


def test_a_first_version_that_failed_leaves_nothing_serving():
    state = untouched(Outcome.REJECT, "CanaryCrashed", "exit code 1")
    found = report(attempt(state, kind="Initial", ordinal=1))
    assert "nothing serves" in found.headline
    assert "safe" not in found.headline
    assert found.tone is Tone.BAD


def test_new_rules_for_the_same_revision_moved_nothing():
    state = untouched(Outcome.PROMOTE, "Promoted", "Rules.").but(promoted_at=at(100))
    assert "only the rules changed" in report(attempt(state, kind="Refresh")).headline


def test_under_way_never_claims_a_verdict():
    state, _, _ = judged(**GOOD, looks=10)
    found = report(attempt(state))
    assert found.tone is Tone.WAIT
    assert "has 10 % of the traffic; no harm is proven" in found.headline
    assert "Verdict" not in facts(found)


def test_a_withheld_weight_is_zero_and_says_why():
    found = report(attempt(held()))
    assert "has no traffic now (Progressing). No data for 10 min." in found.headline


@pytest.mark.parametrize(
    "phase", [Phase.PENDING, Phase.PROVISIONING, Phase.WARMING_UP, Phase.VERIFYING]
)
def test_before_traffic_the_candidate_has_none(phase):
    found = report(attempt(AttemptState(phase=phase, phase_since=at(0))))
    assert f"has no traffic now ({phase})" in found.headline


def test_a_verdict_that_is_being_carried_out():
    state = ended(FAILING, Outcome.ROLLBACK, "HarmDetected").but(phase=Phase.ROLLING_BACK)
    assert report(attempt(state)).headline.startswith("Rolling back since")
    state = ended(GOOD, Outcome.PROMOTE, "ProofsComplete").but(phase=Phase.PROMOTING)
    assert report(attempt(state)).headline.startswith("Promoting since")


def test_an_attempt_without_any_status():
    bare = attempt(AttemptState())
    del bare["status"]
    found = report(bare)
    assert "has no traffic now (Pending)" in found.headline


def test_the_handoff_names_the_version_that_serves():
    name = ROLLED_BACK["metadata"]["name"]
    stable = {"version": "1.3.2", "revision": "v1-" + "0123456789" + "0" * 54}
    found = report(ROLLED_BACK, handoff(name, stable=stable, nextAction="Do this."))
    assert "100 % on 1.3.2." in found.headline
    assert facts(found)["Next"] == "Do this."
    assert "Since then" not in facts(found)


def test_a_handoff_that_went_on_says_what_happened_since():
    found = report(ROLLED_BACK, handoff("fraud-later", message="100 % on 1.5.0.", nextAction="X"))
    assert facts(found)["Since then"] == "fraud-later: 100 % on 1.5.0."
    assert facts(found)["Next"] != "X"
