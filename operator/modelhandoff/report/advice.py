"""What happens next, and how to override it: commands ready to paste."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from datetime import timedelta

from modelhandoff.analysis import wording
from modelhandoff.api import names
from modelhandoff.api.attempt import AttemptKind
from modelhandoff.api.vocabulary import Phase, Reason
from modelhandoff.errors import cut
from modelhandoff.report.document import Block, Bullets, Code, Line, Listing, Paragraph
from modelhandoff.report.export import Attempt, Export

_REMEDY: Mapping[str, str] = {
    Reason.HARM_DETECTED: "Fix the metrics in red and apply a new version.",
    "Catastrophe": "Fix the metrics in red and apply a new version.",
    "DriftSustained": "Compare training and live data, then apply a new version.",
    Reason.ARTIFACT_REFUSED: "Correct the file that the checks name, and apply.",
    Reason.CONTRACT_BROKEN: "Let model, data contract and API contract agree, and apply.",
    Reason.ACCEPTANCE_FAILED: "Look at the numbers of the checks; fix the model, and apply.",
    Reason.GOVERNANCE_INCOMPLETE: "Add what the checks name, and apply.",
    Reason.CHECK_INCONCLUSIVE: "Read the Job's log, then retry.",
    Reason.VERIFICATION_NOT_RUN: "Read the Job's events and log, then retry.",
    Reason.REPORT_UNREADABLE: "Read the Job's log, then retry.",
    Reason.TAMPERED_SPEC: "Find who changed the Job's ConfigMap, then retry.",
    Reason.TEST_FAILED: "Read the Job's log; fix the model or the test, and apply.",
    Reason.TEST_RAN_NOTHING: "Let the test write a JUnit report with a case that runs, and apply.",
    Reason.TEST_TOO_SLOW: "Make the test faster or give it more time, and apply.",
    Reason.REPRODUCTION_FAILED: "Read the Job's log; fix the training, and apply.",
    Reason.REPRODUCTION_TOO_SLOW: "Give the training more time or CPU, and apply.",
    Reason.REPRODUCTION_DIFFERS: "Compare data, seed and libraries of both trainings, and apply.",
    Reason.JOB_REPORT_BROKEN: "Correct what the Job writes to /results, and apply.",
    Reason.JOB_NOT_RUN: "Read the Job's events, then retry.",
    Reason.POLICY_VIOLATION: "Show what the policy requires, or ask the platform team, and apply.",
    Reason.APPROVAL_REJECTED: "Apply a corrected candidate: this one stays refused.",
    Reason.GPU_MISMATCH: "Name the GPU product, or let it differ, then retry.",
    Reason.CAPACITY_SHORTAGE: "Free a GPU or a node, then retry.",
    Reason.QUOTA_EXCEEDED: "Raise the quota or free room, then retry.",
    Reason.IMAGE_PULL_FAILED: "Make the image available to the nodes, then retry.",
    Reason.ARTIFACT_UNAVAILABLE: "Make the file available where it should lie, then retry.",
    Reason.ARTIFACT_MISMATCH: "Correct the digest or the file, and apply.",
    Reason.CANARY_CRASHED: "Read the pod's log, fix it, and apply.",
    Reason.CANARY_UNSTABLE: "Read the previous log of the pod, fix it, and apply.",
    Reason.CANARY_NOT_READY: "Read the pod's log and events, fix it, and apply.",
    Reason.WARMUP_FAILED: "Send the example requests by hand, fix what they show, and apply.",
    Reason.NO_DATA: "Check Prometheus and the scraping of the pods, then retry.",
    Reason.TRAFFIC_CONTESTED: "Find who else writes the route, then retry.",
    Reason.EXTERNAL_BRAKE: "Somebody took the traffic away by hand; retry when they agree.",
    Reason.MAX_DURATION: "Nothing was proven in time: more traffic or longer steps, then retry.",
}


def next_step(export: Export) -> Line:
    """What a person has to do, in one sentence."""
    state = export.attempt.state
    verdict = state.verdict
    if export.current and export.now is not None and export.now.next_action:
        return (export.now.next_action,)
    if state.phase is Phase.PROMOTED:
        return ("No action needed.",)
    if state.phase is Phase.SUPERSEDED:
        return ("No action needed: a new attempt has taken over.",)
    if state.phase.terminal:
        known = _REMEDY.get(verdict.reason, "") if verdict else ""
        return (f"No action needed for production. {known}".strip(),)
    if state.phase in (Phase.ROLLING_BACK, Phase.PROMOTING):
        return ("No action needed: the operator carries the verdict out.",)
    return ("No action needed: the operator goes on by its rules.",)


def advice(export: Export) -> tuple[Block, ...]:
    """The section with what follows and every way to decide otherwise."""
    attempt = export.attempt
    name, space = shlex.quote(attempt.handoff), shlex.quote(attempt.namespace)
    where = f"kubectl annotate mho {name} -n {space} --overwrite"
    verb = shlex.quote(attempt.name)
    blocks: list[Block] = [Paragraph(next_step(export)), Bullets(_follows(attempt))]
    commands: list[str] = []
    phase = attempt.state.phase
    if not phase.terminal:
        commands += [
            "# back to the baseline now",
            f"{where} {names.ANNOTATION_ABORT}={verb}",
            "# hold at this weight; the second line goes on",
            f"{where} {names.ANNOTATION_PAUSE}={verb}",
            f"kubectl annotate mho {name} -n {space} {names.ANNOTATION_PAUSE}-",
            "# promote without waiting for more proofs",
            f"{where} {names.ANNOTATION_PROMOTE}={verb}",
        ]
    elif phase is Phase.PROMOTED:
        commands += [
            "# go back: apply the handoff of the version before; it is judged like any other",
            f"kubectl get handoffattempts -n {space} -l {names.LABEL_HANDOFF}={name}",
        ]
    elif phase is not Phase.SUPERSEDED:
        commands += [
            "# try the same bundle again",
            f"{where} {names.ANNOTATION_RETRY}={verb}",
        ]
    commands += [
        "# what the operator says now",
        f"kubectl get mho {name} -n {space} -o jsonpath='{{.status.message}}'",
    ]
    blocks += [Listing("\n".join(commands)), *_by_hand(name, space), *_people(attempt)]
    return tuple(blocks)


def _follows(attempt: Attempt) -> tuple[Line, ...]:
    rollout = attempt.spec.rollout
    phase = attempt.state.phase
    if phase is Phase.PROMOTED:
        kept = rollout.revision_history_limit
        return (
            (
                f"The version before stays warm for {_seconds(rollout.scale_down_delay)} after "
                f"the promotion; {kept} former revisions are kept at zero pods.",
            ),
        )
    if phase.terminal:
        again = (
            "The operator does not try this bundle again by itself: it waits for an edit of the "
            "handoff or for the retry below.",
        )
        return (again, ("The candidate's pods are scaled to zero after a short drain.",))
    if attempt.kind is AttemptKind.INITIAL:
        return (("The first version is promoted once it is ready and warm.",),)
    decision = rollout.decision
    return (
        (
            f"After {_seconds(decision.max_duration)} without a verdict: "
            f"{decision.on_inconclusive}. Promotion: {decision.promotion}.",
        ),
        (
            "Without data for "
            f"{_seconds(rollout.on_metrics_unknown.hold_for)} the weight goes to 0.",
        ),
    )


def _by_hand(name: str, space: str) -> tuple[Block, ...]:
    return (
        Paragraph(
            (
                "Without the operator: traffic is an ordinary HTTPRoute. Set the candidate's "
                "weight to 0 and the other to 100; the operator, once back, takes that as an "
                "abort and does not undo it.",
            )
        ),
        Listing(f"kubectl edit httproute {name} -n {space}"),
    )


def _people(attempt: Attempt) -> tuple[Block, ...]:
    book = attempt.spec.runbook
    owners = book.owners
    whom = ", ".join(cut(one, 200) for one in owners.escalation)
    rotation = f", on call: {cut(owners.rotation, 200)}" if owners.rotation else ""
    lines: list[Line] = [
        (f"Owner: {owners.team}{rotation}; escalation: {whom}.",),
        ("Runbook: ", Code(book.url)),
    ]
    lines += [
        (f"{cut(one.symptom, 300)}: {cut(one.diagnose, 400)} Remedy: {cut(one.remedy, 400)}",)
        for one in book.entries[:8]
    ]
    return (Bullets(tuple(lines)),)


def _seconds(length: timedelta) -> str:
    return wording.duration(length.total_seconds())
