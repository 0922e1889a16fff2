"""The gate of people: what counts, what is waited for, what a rejection ends."""

from __future__ import annotations

import dataclasses
import itertools
import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from modelhandoff.api import names
from modelhandoff.api.approval import Approvals
from modelhandoff.api.vocabulary import Standing
from modelhandoff.rollout.actions import ApplyRoute, ApplyWorkload, WriteApproval, WriteAttempt
from modelhandoff.rollout.approving import tally
from modelhandoff.rollout.context import Context
from modelhandoff.rollout.snapshot import ApprovalView
from tests.builders import spec
from tests.unit.rollout.model import GOOD, OPEN, PROVEN, START, Model

THREE = ("ProductManager", "DataScience", "Engineering")


def gated(version: str = "2.0.0", **rules: Any) -> Model:
    """A stable version, and a handoff of the next one that three roles have to approve."""
    model = Model().promoted("1.0.0")
    model.raw_spec = asked(version, **rules)
    model.said = OPEN
    model.writes.clear()
    model.run()
    return model


def asked(version: str, **rules: Any) -> dict[str, Any]:
    return spec(
        candidate={"model": {"version": version}},
        approvals={"roles": list(THREE), **rules},
    )


def condition(model: Model, kind: str) -> dict[str, str]:
    return next(c for c in model.status["conditions"] if c["type"] == kind)


def told(model: Model, name: str) -> tuple[bool, str]:
    status = model.approvals[name].status
    return status["valid"], status["reason"]


def pods_made(model: Model) -> list[ApplyWorkload]:
    return [w for w in model.writes if isinstance(w, ApplyWorkload)]


class TestWaiting:
    def test_no_pod_exists_before_the_last_approval(self) -> None:
        model = gated()
        for number, role in enumerate(THREE):
            assert model.state.phase == "AwaitingApproval"
            assert not pods_made(model)
            model.pass_time(hours=1)
            model.approve(role, f"person-{number}")
            model.run()
        assert model.state.phase == "Progressing"
        assert len(pods_made(model)) == 1
        assert [(a.role, a.approver) for a in model.state.approvals] == [
            ("ProductManager", "person-0"),
            ("DataScience", "person-1"),
            ("Engineering", "person-2"),
        ]
        assert condition(model, "Approved")["reason"] == "Approved"

    def test_it_says_who_is_missing_and_what_they_type(self) -> None:
        model = gated()
        model.approve("DataScience", "ana")
        model.run()
        assert model.status["message"] == (
            "fraud-classifier 2.0.0 waits for people: ProductManager and Engineering must "
            "approve; approved by DataScience (ana)."
        )
        assert model.status["nextAction"] == (
            "kubectl handoff approve fraud -n payments --role ProductManager "
            "(then also --role Engineering)"
        )
        model.approve("ProductManager", "bo")
        model.run()
        assert model.status["nextAction"] == (
            "kubectl handoff approve fraud -n payments --role Engineering"
        )
        assert condition(model, "Approved")["status"] == "False"

    def test_waiting_for_people_is_no_failure(self) -> None:
        model = gated()
        assert condition(model, "Reconciling")["status"] == "True"
        assert condition(model, "Stalled")["status"] == "False"
        assert condition(model, "Paused") | {"message": ""} == condition(model, "Paused") | {
            "status": "True",
            "reason": "AwaitingApproval",
            "message": "",
        }

    def test_waiting_makes_no_writes(self) -> None:
        model = gated()
        model.approve("DataScience", "ana")
        model.run()
        model.writes.clear()
        for _ in range(20):
            model.pass_time(hours=1)
            before = model.status
            model.run()
            assert model.status == before
        assert model.writes == []

    def test_what_serves_is_looked_after_meanwhile(self) -> None:
        """People may take weeks; what is deleted by hand comes back as it does at rest."""
        model = gated()
        stable = next(name for name, w in model.workloads.items() if w.stable)
        model.route = None
        model.services.pop("fraud")
        model.pass_time(hours=24)
        for _ in range(3):
            model.run()
            model.settle()
        assert model.state.phase == "AwaitingApproval"
        assert model.route is not None
        assert dict(model.route.backends) == {stable: 100}
        assert model.services["fraud"].selector
        model.writes.clear()
        model.pass_time(hours=24)
        model.run()
        assert not model.writes

    def test_old_versions_retire_meanwhile(self) -> None:
        model = Model().promoted("1.0.0")
        model.edit("2.0.0")
        for verdict in (GOOD, GOOD, PROVEN):
            for _ in range(3):
                model.settle()
                model.run()
            model.look(verdict, hours=1)
        assert model.state.phase == "Promoted"
        old = next(n for n, w in model.workloads.items() if w.model_version == "1.0.0")
        assert model.workloads[old].desired
        model.raw_spec = asked("3.0.0")
        model.run()
        assert model.state.phase == "AwaitingApproval"
        model.pass_time(hours=1)
        model.run()
        assert not model.workloads[old].desired
        assert model.state.phase == "AwaitingApproval"

    def test_a_first_version_and_new_rules_for_the_same_pods_wait_too(self) -> None:
        model = Model(raw_spec=asked("1.0.0"))
        model.run()
        assert (model.attempt.kind, model.state.phase) == ("Initial", "AwaitingApproval")
        assert model.workloads == {}
        sign_all(model)
        assert model.state.phase == "Promoted"
        model.raw_spec["runbook"]["owners"]["team"] = "other"
        model.run()
        assert (model.attempt.kind, model.state.phase) == ("Refresh", "AwaitingApproval")
        assert "other" in model.attempt.spec.runbook.owners.team
        sign_all(model)
        assert model.state.phase == "Promoted"

    def test_without_roles_nobody_is_asked(self) -> None:
        model = Model().started()
        assert condition(model, "Approved")["reason"] == "ApprovalNotRequired"
        name = model.approve("DataScience", "ana")
        model.look(GOOD)
        assert told(model, name) == (False, "RoleNotRequired")

    def test_an_abort_ends_the_waiting(self) -> None:
        model = gated()
        model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
        model.run()
        assert model.state.phase == "Aborted"


def sign_all(model: Model) -> list[str]:
    signed = [model.approve(role, f"person-{role}") for role in THREE]
    model.run()
    return signed


class TestBinding:
    def test_an_edit_voids_approvals(self) -> None:
        model = gated()
        first = [model.approve("ProductManager", "ana"), model.approve("DataScience", "bo")]
        model.run()
        assert told(model, first[0]) == (True, "Counts")
        model.raw_spec = asked("2.0.1")
        model.run()
        assert model.state.phase == "AwaitingApproval"
        assert model.attempt.ordinal == 3
        assert {told(model, name) for name in first} == {(False, "OtherBundle")}
        assert "An edit of the handoff voids approvals" in model.status["message"]
        model.approve("Engineering", "cleo")
        model.run()
        assert model.state.phase == "AwaitingApproval"
        assert not pods_made(model)

    def test_suspending_and_runbook_entries_void_nothing(self) -> None:
        model = gated()
        name = model.approve("DataScience", "ana")
        model.raw_spec["suspend"] = True
        model.raw_spec["runbook"]["entries"] = [
            {"symptom": "slow", "diagnose": "look", "remedy": "restart"}
        ]
        model.run()
        assert told(model, name) == (True, "Counts")

    def test_an_edit_during_the_rollout_asks_again(self) -> None:
        model = gated()
        sign_all(model)
        assert model.share() == 10
        model.raw_spec = asked("2.0.1")
        model.run()
        model.pass_time(seconds=11)
        model.run()
        assert model.share() == 0
        assert (model.attempt.ordinal, model.state.phase) == (3, "AwaitingApproval")

    def test_a_retry_of_the_same_bundle_finds_its_approvals(self) -> None:
        model = gated()
        sign_all(model)
        model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
        model.run()
        model.pass_time(seconds=11)
        model.run()
        assert model.state.phase == "Aborted"
        model.annotations[names.ANNOTATION_RETRY] = model.attempt.name
        model.run()
        assert (model.attempt.ordinal, model.state.phase) == (3, "Progressing")

    def test_deleting_an_approval_before_the_gate_takes_it_back(self) -> None:
        model = gated()
        del model.approvals[model.approve("DataScience", "ana")]
        model.approve("ProductManager", "bo")
        model.approve("Engineering", "cleo")
        model.run()
        assert model.state.phase == "AwaitingApproval"

    def test_deleting_an_approval_after_the_gate_changes_nothing(self) -> None:
        model = gated()
        sign_all(model)
        model.approvals.clear()
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        assert model.state.phase == "Promoted"
        assert len(model.state.approvals) == 3


class TestExpiry:
    def test_an_approval_expires_by_the_clock_and_the_pass_wakes_for_it(self) -> None:
        model = gated(expiresAfter="24h")
        name = model.approve("DataScience", "ana")
        decision = model.run()
        assert decision.requeue_after == 24 * 3600
        model.pass_time(hours=23)
        model.approve("ProductManager", "bo")
        assert model.run().requeue_after == 3600
        model.pass_time(hours=1)
        model.approve("Engineering", "cleo")
        model.run()
        assert model.state.phase == "AwaitingApproval"
        assert told(model, name) == (False, "Expired")
        assert "ana as DataScience does not count (Expired)" in model.status["message"]
        model.approve("DataScience", "ana")
        model.run()
        assert model.state.phase == "Progressing"

    def test_what_passed_the_gate_never_expires(self) -> None:
        model = gated(expiresAfter="1h")
        signed = sign_all(model)
        model.pass_time(hours=50)
        model.run()
        assert model.state.phase == "Progressing"
        assert {told(model, name) for name in signed} == {(True, "Counts")}


class TestRejecting:
    def test_a_required_role_ends_it_before_a_pod_exists(self) -> None:
        model = gated()
        model.approve("ProductManager", "bo")
        name = model.approve("Engineering", "cleo", decision="Reject", comment="p95 is untested")
        model.run()
        assert model.state.phase == "Rejected"
        assert not pods_made(model)
        assert told(model, name) == (True, "Rejects")
        assert model.status["message"] == (
            "Rejected before traffic at 03:00 UTC: 100 % on 1.0.0. cleo rejected "
            "fraud-classifier 2.0.0 as Engineering: p95 is untested."
        )
        assert condition(model, "Approved")["reason"] == "ApprovalRejected"
        assert "final" in model.status["nextAction"]

    def test_it_is_final_for_this_bundle_whatever_comes_later(self) -> None:
        model = gated()
        name = model.approve("Engineering", "cleo", decision="Reject")
        model.run()
        del model.approvals[name]
        sign_all(model)
        model.annotations[names.ANNOTATION_RETRY] = model.attempt.name
        model.run()
        assert (model.state.phase, len(model.attempts)) == ("Rejected", 2)
        model.raw_spec = asked("2.0.1")
        model.run()
        assert model.state.phase == "AwaitingApproval"
        model.raw_spec = asked("2.0.0")
        model.run()
        assert model.attempt.ordinal == 4
        assert model.state.phase == "Rejected"
        assert not pods_made(model)

    def test_another_bundle_starts_clean(self) -> None:
        model = gated()
        model.approve("Engineering", "cleo", decision="Reject")
        model.run()
        model.raw_spec = asked("2.0.1")
        model.run()
        sign_all(model)
        assert model.state.phase == "Progressing"

    def test_a_later_rejection_takes_the_traffic_off_first(self) -> None:
        model = gated()
        sign_all(model)
        model.writes.clear()
        model.approve("DataScience", "dora", decision="Reject", comment="labels leak.")
        model.run()
        assert isinstance(model.writes[0], ApplyRoute)
        assert model.share() == 0
        assert model.state.verdict is not None
        assert (model.state.verdict.outcome, model.state.verdict.reason) == (
            "Abort",
            "ApprovalRejected",
        )
        assert "dora rejected fraud-classifier 2.0.0 as DataScience: labels leak." in str(
            model.state.verdict.message
        )
        model.pass_time(seconds=11)
        model.run()
        assert model.state.phase == "Aborted"

    def test_a_rejection_between_the_last_approval_and_the_first_pod_counts(self) -> None:
        model = gated()
        for role in THREE:
            model.approve(role, f"person-{role}")
        model.apply(model.decide().action)
        assert model.state.approvals
        model.approve("Engineering", "cleo", decision="Reject")
        model.run()
        assert model.state.phase == "Rejected"
        assert not pods_made(model)

    def test_what_serves_is_left_alone(self) -> None:
        model = gated()
        sign_all(model)
        model.look(GOOD, hours=1)
        model.look(PROVEN, hours=1)
        model.approve("Engineering", "cleo", decision="Reject")
        model.run()
        assert model.state.phase == "Promoted"
        assert model.share() == 100

    @pytest.mark.parametrize("changes", [{"role": "Legal"}, {"bundle": "v1-" + "0" * 64}])
    def test_a_role_that_has_no_say_ends_nothing(self, changes: dict[str, str]) -> None:
        model = gated()
        model.approve(
            changes.get("role", "Engineering"),
            "mallory",
            decision="Reject",
            bundle=changes.get("bundle", ""),
        )
        model.run()
        assert model.state.phase == "AwaitingApproval"


class TestIdentities:
    def test_one_person_fills_one_role(self) -> None:
        model = gated()
        made = []
        for role in THREE:
            made.append(model.approve(role, "ana"))
            model.pass_time(seconds=1)
        model.run()
        assert model.state.phase == "AwaitingApproval"
        assert [told(model, name)[1] for name in made] == [
            "Counts",
            "IdentityUsed",
            "IdentityUsed",
        ]

    def test_one_person_may_fill_them_all_where_that_is_allowed(self) -> None:
        model = gated(separateIdentities=False)
        for role in THREE:
            model.approve(role, "ana")
        model.run()
        assert model.state.phase == "Progressing"

    def test_roles_are_shared_out_so_that_as_many_as_possible_are_filled(self) -> None:
        model = gated()
        model.approve("ProductManager", "ana")
        model.approve("DataScience", "ana")
        model.approve("ProductManager", "bo")
        model.approve("Engineering", "cleo")
        model.run()
        assert {a.role: a.approver for a in model.state.approvals} == {
            "ProductManager": "bo",
            "DataScience": "ana",
            "Engineering": "cleo",
        }

    def test_nobody_approves_what_they_wrote_where_that_is_asked(self) -> None:
        model = gated(separateAuthor=True)
        name = model.approve("DataScience", "ana")
        model.run()
        assert told(model, name) == (False, "AuthorUnknown")
        assert "modelhandoff.dev/author" in model.status["message"]
        model.annotations[names.ANNOTATION_AUTHOR] = "ana"
        other = model.approve("DataScience", "bo")
        model.run()
        assert (told(model, name)[1], told(model, other)[1]) == ("Author", "Counts")

    def test_an_author_may_reject(self) -> None:
        model = gated(separateAuthor=True)
        model.annotations[names.ANNOTATION_AUTHOR] = "ana"
        model.approve("DataScience", "ana", decision="Reject")
        model.run()
        assert model.state.phase == "Rejected"

    def test_a_machine_approves_only_where_the_policy_lists_it(self) -> None:
        machine = "system:serviceaccount:ci:gate"
        model = gated()
        name = model.approve("DataScience", machine)
        rejecting = model.approve("Engineering", machine, decision="Reject")
        model.run()
        assert told(model, name) == told(model, rejecting) == (False, "ServiceAccount")
        del model.approvals[rejecting]
        model.accounts = frozenset({machine})
        model.run()
        assert told(model, name) == (True, "Counts")


class TestOddApprovals:
    def test_what_cannot_be_read_counts_for_nothing_and_stops_nothing(self) -> None:
        model = gated()
        good = model.approvals[model.approve("DataScience", "ana")]
        odd = [
            dataclasses.replace(good, decision="approve"),
            dataclasses.replace(good, created=None),
            dataclasses.replace(good, approver=""),
            dataclasses.replace(good, role="", bundle=""),
            dataclasses.replace(good, role="Nobody"),
        ]
        model.approvals.clear()
        for number, one in enumerate(odd):
            model.approvals[f"odd-{number}"] = dataclasses.replace(one, name=f"odd-{number}")
        model.run()
        assert model.state.phase == "AwaitingApproval"
        assert [told(model, f"odd-{n}")[1] for n in range(5)] == [
            "Unreadable", "Unreadable", "Unreadable", "OtherBundle", "RoleNotRequired",
        ]  # fmt: skip
        sign_all(model)
        assert model.state.phase == "Progressing"

    def test_a_flood_of_approvals_is_answered_once_each(self) -> None:
        model = gated()
        for number in range(30):
            model.approve("DataScience", f"person-{number}")
        model.run()
        answers = [w for w in model.writes if isinstance(w, WriteApproval)]
        assert len(answers) == 30
        model.writes.clear()
        model.run()
        assert model.writes == []

    def test_answers_come_after_what_matters(self) -> None:
        model = gated()
        model.writes.clear()
        for role in THREE:
            model.approve(role, f"person-{role}")
        model.run()
        kinds = [type(w) for w in model.writes]
        assert kinds[0] is WriteAttempt
        assert kinds.index(ApplyWorkload) < kinds.index(WriteApproval)

    def test_names_of_any_length_and_comments_of_any_shape_fit_the_status(self) -> None:
        model = gated()
        model.approve("DataScience", "x" * 253, comment="line\nline " * 100)
        model.approve("ProductManager", "y" * 253)
        model.approve("Engineering", "z" * 253, decision="Reject", comment="no\n" * 300)
        model.run()
        assert len(model.status["message"]) <= 1000
        assert "\n" not in model.status["message"]


def seats(model: Model, made: list[tuple[str, str]]) -> dict[str, str]:
    rules = Approvals.model_validate({"roles": list(THREE)})
    views = tuple(
        ApprovalView(
            f"a{n}", "1", 1, role, model.attempt.bundle, "Approve", person,
            START + timedelta(seconds=n),
        )
        for n, (role, person) in enumerate(made)
    )  # fmt: skip
    seen = dataclasses.replace(model.snapshot(), approvals=views)
    found = tally(Context(seen), rules, model.attempt.bundle)
    valid = [one for one in found.judged if one.standing is Standing.COUNTS]
    assert len(valid) == len(found.filled)
    return {role: one.approver for role, one in found.filled.items()}


def most_roles(made: list[tuple[str, str]]) -> int:
    """Brute force: every way to give every role to somebody who approved in it, or to nobody."""
    people = {role: [p for r, p in made if r == role] or [None] for role in THREE}
    best = 0
    for chosen in itertools.product(*([*people[role], None] for role in THREE)):
        taken = [person for person in chosen if person is not None]
        if len(taken) == len(set(taken)):
            best = max(best, len(taken))
    return best


def test_no_way_of_sharing_out_roles_fills_more() -> None:
    model = gated()
    rng = random.Random(5)
    for _ in range(300):
        made = [
            (rng.choice(THREE), rng.choice(["ana", "bo", "cleo", "dora"]))
            for _ in range(rng.randint(0, 6))
        ]
        found = seats(model, made)
        assert len(set(found.values())) == len(found)
        assert all((role, person) in made for role, person in found.items())
        assert len(found) == most_roles(made), made


def test_a_rejection_does_not_wait_for_the_verification_to_end() -> None:
    model = gated()
    attempt = model.attempt
    model.attempts[attempt.name] = dataclasses.replace(
        attempt, status={**attempt.status, "phase": "Verifying"}
    )
    model.approve("Engineering", "cleo", decision="Reject")
    model.run()
    assert model.state.phase == "Rejected"


@pytest.mark.parametrize("kind", ["Initial", "Refresh"])
def test_a_rejected_first_version_or_rule_change_leaves_what_is_there(kind: str) -> None:
    model = Model(raw_spec=asked("1.0.0"))
    if kind == "Refresh":
        sign_all(model)
        model.run()
        assert model.state.phase == "Promoted"
        model.raw_spec["runbook"]["owners"]["team"] = "other"
    model.run()
    before = dict(model.workloads)
    model.approve("Engineering", "cleo", decision="Reject")
    model.run()
    assert (model.attempt.kind, model.state.phase) == (kind, "Rejected")
    assert model.workloads == before


def test_whatever_people_do_no_pod_starts_without_every_signature() -> None:
    started = refused = 0
    for seed in range(15):
        for made, model, signed in walk(random.Random(seed)):
            attempt = model.attempts[made.attempt]
            by = attempt.status["approvals"]
            assert [one["role"] for one in by] == list(THREE)
            assert len({one["approver"] for one in by}) == len(THREE)
            assert {(one["role"], one["approver"], attempt.bundle) for one in by} <= signed
            assert attempt.bundle not in rejections(model)
            started += 1
        refused += bool(rejections(model))
    assert started > 3
    assert refused > 3


def walk(rng: random.Random) -> Iterator[tuple[ApplyWorkload, Model, set[tuple[str, str, str]]]]:
    """Every start of a pod while people do one thing after another."""
    model = gated()
    signed: set[tuple[str, str, str]] = set()
    for _ in range(40):
        bundle = model.attempt.bundle
        match rng.randrange(10):
            case 0:
                model.raw_spec = asked(rng.choice(["2.0.0", "3.0.0"]), expiresAfter="5h")
            case 1 if rng.random() < 0.3:
                model.approve("Engineering", "cleo", decision="Reject", bundle=bundle)
            case 2 if model.approvals:
                del model.approvals[rng.choice(sorted(model.approvals))]
            case 3:
                model.annotations[names.ANNOTATION_RETRY] = model.attempt.name
            case 4:
                model.annotations[names.ANNOTATION_ABORT] = model.attempt.name
            case 5:
                model.pass_time(hours=rng.choice([1, 3]))
            case _:
                role, person = rng.choice(THREE), rng.choice(["ana", "bo", "cleo", "dora"])
                model.approve(role, person, bundle=bundle)
                signed.add((role, person, bundle))
        model.writes.clear()
        model.run()
        for made in pods_made(model):
            yield made, model, signed


def rejections(model: Model) -> set[str]:
    """Bundles that were rejected, by what is there and by what was decided."""
    there = {one.bundle for one in model.approvals.values() if one.decision == "Reject"}
    return there | {
        one.bundle
        for one in model.attempts.values()
        if (one.status.get("verdict") or {}).get("reason") == "ApprovalRejected"
    }
