"""Approving and rejecting: what is signed is shown, asked for, bound, and answered."""

from __future__ import annotations

import json
import re

import pytest

from modelhandoff.api import names
from modelhandoff.api.hashing import bundle_hash
from modelhandoff.api.vocabulary import Outcome, Phase
from modelhandoff.cli.kubectl import fallback, signing
from tests.builders import DIGEST, IMAGE
from tests.unit.cli.kubectl.test_completion import words
from tests.unit.cli.kubectl.world import NAMESPACE, Story, spec_of

ROLES = ["ProductManager", "DataScience"]


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(signing, "ANSWER_SECONDS", 0.3)


@pytest.fixture
def waiting(server) -> Story:
    """A handoff that two roles have to approve."""
    story = Story(server, spec=spec_of(approvals={"roles": ROLES}))
    story.state = story.state.but(phase=Phase.AWAITING_APPROVAL)
    return story.write(
        "waits for people",
        conditions={"Paused": "True", "ArtifactsVerified": "True"},
        reason="AwaitingApproval",
    )


def answering(server, *, valid: bool = True, reason: str = "Counts", message: str = "So."):
    """The operator answers every approval."""

    def answer(path: str) -> None:
        thing = server.objects[path]
        thing["status"] = {"valid": valid, "reason": reason, "message": message}

    server.after_write = answer


def signed(server) -> dict:
    (write,) = server.writes
    assert write[:2] == ("POST", f"/apis/{names.API_VERSION}/namespaces/payments/handoffapprovals")
    return write[2]["spec"]


def test_it_shows_the_bytes_and_the_hash_and_signs_them_as_the_user_it_is(waiting, server, call):
    answering(server)
    server.user = "ana@example.com"

    answer = call("approve", "fraud", "--role", "DataScience", "--yes", "-m", "scores look right")

    assert answer.code == 0
    bundle = bundle_hash(waiting.spec)
    for shown in (
        "payments/fraud: approve fraud-classifier 1.4.0 as DataScience, signed by ana@example.com",
        bundle, DIGEST, IMAGE, "10 %, 50 %", "1.3.2", "ArtifactsVerified True",
        "ProductManager, DataScience",
    ):  # fmt: skip
        assert shown in answer.out
    assert signed(server) == {
        "handoffRef": {"name": "fraud"},
        "role": "DataScience",
        "bundleHash": bundle,
        "decision": "Approve",
        "approver": "ana@example.com",
        "comment": "scores look right",
    }
    assert "So.\n" in answer.out


def test_it_asks_and_takes_silence_for_no(waiting, server, call):
    answer = call("approve", "fraud", "--role", "DataScience")

    assert answer.code == 1
    assert "nothing was signed; answer y, or pass --yes" in answer.err
    assert server.writes == []


@pytest.mark.parametrize(("said", "writes"), [("y", 1), ("n", 0), ("", 0)])
@pytest.mark.usefixtures("waiting")
def test_the_answer_of_a_person_decides(server, call, monkeypatch, said, writes):
    asked = []
    monkeypatch.setattr(fallback, "ask", lambda q: asked.append(q) or said == "y")

    call("reject", "fraud", "--role", "DataScience")

    assert asked == ["Reject this bundle as DataScience?"]
    assert len(server.writes) == writes


def test_the_only_role_that_is_missing_needs_no_name(waiting, server, call):
    answering(server)
    assert call("approve", "fraud", "--role", "ProductManager", "-y").code == 0
    server.writes.clear()
    server.user = "bo"

    answer = call("approve", "fraud", "-y")

    assert answer.code == 0
    assert re.search(r"Approved +ProductManager \(ana\)\n", answer.out)
    assert signed(server)["role"] == "DataScience"


def test_a_role_must_be_named_where_several_are_missing(waiting, call):
    line = call("approve", "fraud", "-y").line
    assert line == "--role: say as what you sign; allowed ProductManager or DataScience"


def test_a_role_without_a_say_is_refused(waiting, server, call):
    line = call("approve", "fraud", "-y", "--role", "Legal").line
    assert line == (
        "--role: has no say in payments/fraud; got Legal; allowed ProductManager or DataScience"
    )
    assert server.writes == []


def test_what_does_not_count_is_said_with_exit_code_1(waiting, server, call):
    answering(server, valid=False, reason="IdentityUsed", message="ana fills ProductManager.")

    answer = call("approve", "fraud", "--role", "DataScience", "-y")

    assert answer.code == 1
    assert answer.err == (
        "Signed, but it does not count (IdentityUsed): ana fills ProductManager.\n"
    )


def test_an_operator_that_does_not_answer_is_no_failure(waiting, call):
    answer = call("approve", "fraud", "--role", "DataScience", "-y")

    assert answer.code == 0
    assert "The operator has not answered yet." in answer.out


def test_an_edit_that_is_not_begun_yet_cannot_be_signed(waiting, server, call):
    edited = server.find(names.HANDOFFS, NAMESPACE, "fraud")
    edited["spec"] = spec_of(approvals={"roles": ROLES}, runbook={"url": "https://other.example"})

    line = call("approve", "fraud", "--role", "DataScience", "-y").line

    assert "was edited, and the operator has not begun what it says now" in line
    assert server.writes == []


def test_nothing_is_signed_where_nobody_has_to(server, call):
    Story(server).judged().write("10 %", weight=10)

    line = call("approve", "fraud", "-y").line
    assert line == "payments/fraud: no role has to approve it; nothing to approve"


def test_a_rollout_is_approved_already_and_may_still_be_rejected(server, call):
    story = Story(server, spec=spec_of(approvals={"roles": ROLES}))
    story.judged().write("10 %", weight=10)
    answering(server, reason="Rejects", message="Rejects fraud-classifier 1.4.0.")

    assert "every role has approved" in call("approve", "fraud", "--role", ROLES[0], "-y").line
    assert call("reject", "fraud", "--role", ROLES[0], "-y").code == 0
    assert signed(server)["decision"] == "Reject"


def test_after_a_rejection_neither_approval_nor_retry_is_offered(server, call):
    story = Story(server, spec=spec_of(approvals={"roles": ROLES}))
    story.ended(Outcome.REJECT, "ApprovalRejected", "cleo rejected it.").write("Rejected.")

    for line in (
        call("approve", "fraud", "--role", ROLES[0], "-y").line,
        call("retry", "fraud").line,
    ):
        assert "was rejected, which is final for what it says" in line
    assert server.writes == []


def test_the_api_servers_refusal_is_one_line(waiting, server, call):
    server.refused["POST", f"/apis/{names.API_VERSION}"] = (
        403,
        "denied request: spec.role: ana has no right to sign as this role",
    )
    answer = call("approve", "fraud", "--role", "DataScience", "-y")

    assert answer.code == 1
    assert answer.err.count("\n") == 1
    assert "ana has no right to sign as this role" in answer.err


def test_json_for_scripts_and_the_summary_aside(waiting, server, call):
    answering(server)

    answer = call("approve", "fraud", "--role", "DataScience", "-y", "-o", "json")

    assert json.loads(answer.out)["spec"]["role"] == "DataScience"
    assert "signed by ana" in answer.err


def test_a_dry_run_writes_nothing(waiting, server, call):
    answer = call("approve", "fraud", "--role", "DataScience", "--dry-run")

    assert (answer.code, server.writes) == (0, [])
    assert answer.out.endswith("Nothing was written.\n")


def test_a_dry_run_says_whether_one_may(waiting, server, call):
    server.allowed = lambda verb, resource: (verb, resource) != ("approve", "handoffroles")

    answer = call("approve", "fraud", "--role", "DataScience", "--dry-run")

    assert (answer.code, server.writes) == (1, [])
    assert answer.err.startswith("You have no right to sign as DataScience in namespace payments")


def test_other_peoples_words_command_no_terminal(waiting, server, call):
    server.user = "ana\x1b[2J"
    assert "\x1b" not in call("approve", "fraud", "--role", "DataScience", "--dry-run").out


def test_roles_are_completed(waiting):
    assert words("approve", "fraud", "--role", "") == ROLES
    assert words("approve", "nobody", "--role", "") == []


def test_status_shows_who_has_signed_and_who_has_to(waiting, server, call):
    answering(server)
    call("approve", "fraud", "--role", "DataScience", "-y")

    shown = call("status", "fraud")

    assert shown.code == 0
    assert re.search(r"Signed +\S ProductManager +\S DataScience \(ana\)", shown.out)


def test_status_offers_no_retry_after_a_rejection(server, call):
    told = "Apply a corrected candidate; a rejection is final for what was rejected."
    story = Story(server, spec=spec_of(approvals={"roles": ROLES}))
    story.ended(Outcome.REJECT, "ApprovalRejected", "cleo rejected it.")
    story.write("Rejected.", nextAction=told)

    assert f"Next: {told}" in " ".join(call("status", "fraud").out.split())
