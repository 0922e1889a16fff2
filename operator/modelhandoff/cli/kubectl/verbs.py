"""``pause``, ``resume``, ``promote``, ``retry``, ``abort``: annotations bound to the attempt.

Each verb says before it writes what will happen, and refuses what could have no effect. A verb
that names an older attempt does nothing: that is why every one reads the handoff first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from modelhandoff.api import names
from modelhandoff.api.vocabulary import TERMINAL
from modelhandoff.cli.kubectl import fallback, lookup
from modelhandoff.cli.kubectl.api import Api, Raw
from modelhandoff.cli.kubectl.heartbeat import Heartbeat, listen
from modelhandoff.cli.kubectl.printing import echo, warn
from modelhandoff.cli.kubectl.problem import Code, DeniedError, Trouble
from modelhandoff.cluster.kinds import HANDOFF

CONFIRM_SECONDS = 20.0
LEASE_PATIENCE = 4.0


@dataclass(frozen=True, slots=True)
class Subject:
    """The handoff that a verb is about, and the attempt that it is bound to."""

    handoff: Raw
    attempt: str
    phase: str

    @property
    def namespace(self) -> str:
        """Its namespace."""
        return str(self.handoff["metadata"]["namespace"])

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.handoff["metadata"]["name"])

    @property
    def place(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"

    @property
    def model(self) -> str:
        """The candidate by version."""
        status = lookup.status_of(self.handoff)
        return str((status.get("candidate") or {}).get("version") or "the candidate")

    @property
    def stable(self) -> str:
        """What serves, by version."""
        status = lookup.status_of(self.handoff)
        return str((status.get("stable") or {}).get("version") or "the baseline")

    @property
    def weight(self) -> int:
        """Percent of the traffic on the candidate, as the status says it."""
        return int((lookup.status_of(self.handoff).get("step") or {}).get("weight") or 0)

    @property
    def follow(self) -> str:
        """The command to watch what follows."""
        return f"Follow it: kubectl handoff status {self.name} -n {self.namespace} --watch"

    def annotation(self, key: str) -> str:
        """The handoff's present value of an annotation."""
        return str((self.handoff["metadata"].get("annotations") or {}).get(key) or "")


def subject(api: Api, name: str, verb: str) -> Subject:
    """The handoff and its present attempt.

    Raises:
        Trouble: there is no attempt to bind the verb to.
    """
    handoff = lookup.find(api, name)
    status = lookup.status_of(handoff)
    meta = handoff["metadata"]
    attempt = lookup.current_name(handoff)
    place = f"{meta['namespace']}/{meta['name']}"
    if not attempt:
        told = str(status.get("message") or "the operator has not looked at it yet")
        raise Trouble(f"{place}: no attempt to {verb}; {told}")
    if meta.get("deletionTimestamp"):
        raise Trouble(f"{place}: is being deleted; nothing to {verb}")
    if lookup.current_attempt(api, handoff) is None:
        raise Trouble(
            f"{place}: attempt {attempt} is gone (deleted, or you may not read it); "
            f"nothing to {verb} until the operator has begun another"
        )
    return Subject(handoff, attempt, str(status.get("phase") or ""))


def pause(api: Api, name: str, *, dry_run: bool) -> None:
    """Hold at the present weight."""
    on = subject(api, name, "pause")
    _must_run(on, "pause")
    if on.annotation(names.ANNOTATION_PAUSE) == on.attempt or on.handoff["spec"].get("suspend"):
        echo(f"{on.place} is paused already.")
        return
    _write(
        api,
        on,
        names.ANNOTATION_PAUSE,
        on.attempt,
        dry_run=dry_run,
        told=(
            f"pauses {on.model} at {on.weight} %: no step is taken and no promotion; harm is still "
            "acted on"
        ),
    )
    if not dry_run:
        echo(f"Go on with: kubectl handoff resume {on.name} -n {on.namespace}")


def resume(api: Api, name: str, *, dry_run: bool) -> None:
    """End a pause."""
    on = subject(api, name, "resume")
    held = on.annotation(names.ANNOTATION_PAUSE)
    if on.handoff["spec"].get("suspend"):
        raise Trouble(
            f"{on.place}: is paused by spec.suspend; set it to false where the manifest lives, or "
            f"kubectl patch mho {on.name} -n {on.namespace} --type merge "
            """-p '{"spec":{"suspend":false}}'"""
        )
    if not held:
        echo(f"{on.place} is not paused.")
        return
    _write(
        api,
        on,
        names.ANNOTATION_PAUSE,
        None,
        dry_run=dry_run,
        told=f"resumes {on.model} at {on.weight} %: judging goes on where it stood",
    )


def promote(api: Api, name: str, *, dry_run: bool) -> None:
    """Give the candidate all traffic; the operator refuses while evidence speaks against it."""
    on = subject(api, name, "promote")
    if on.phase == "Promoted":
        echo(f"{on.place}: {on.model} is promoted already.")
        return
    _must_run(on, "promote")
    status = lookup.status_of(on.handoff)
    failing = [m["name"] for m in status.get("metrics") or () if m.get("state") == "Fail"]
    if failing:
        raise Trouble(
            f"{on.place}: not promoted, {', '.join(failing)} fails; abort, or wait until it does "
            "not"
        )
    if on.phase != "Progressing":
        raise Trouble(
            f"{on.place}: nothing is known of {on.model} yet (phase {on.phase}); promote once it "
            "has had traffic"
        )
    pending = [m["name"] for m in status.get("metrics") or () if m.get("state") != "Pass"]
    unproven = f"; not proven safe yet: {', '.join(pending)}" if pending else ""
    _write(
        api,
        on,
        names.ANNOTATION_PROMOTE,
        on.attempt,
        dry_run=dry_run,
        told=(
            f"gives {on.model} all traffic as soon as its pods suffice{unproven}. The operator "
            "refuses while evidence of harm is growing"
        ),
    )
    if not dry_run:
        echo(on.follow)


def retry(api: Api, name: str, *, dry_run: bool) -> None:
    """Try the same again."""
    on = subject(api, name, "retry")
    if on.phase not in TERMINAL:
        raise Trouble(f"{on.place}: attempt {on.attempt} is under way ({on.phase}); abort it first")
    if on.phase == "Promoted":
        raise Trouble(f"{on.place}: {on.model} was promoted; there is nothing to try again")
    verdict = lookup.status_of(on.handoff).get("verdict") or {}
    if verdict.get("reason") == "ApprovalRejected":
        raise Trouble(
            f"{on.place}: was rejected, which is final for what it says; apply a corrected "
            "candidate"
        )
    if on.annotation(names.ANNOTATION_RETRY) == on.attempt:
        echo(f"{on.place}: a retry of {on.attempt} was asked for already.")
        return
    _write(
        api,
        on,
        names.ANNOTATION_RETRY,
        on.attempt,
        dry_run=dry_run,
        told=(
            f"tries {on.model} again from the beginning, with no evidence carried over; "
            f"{on.stable} serves meanwhile"
        ),
    )
    if not dry_run:
        echo(on.follow)


def abort(
    api: Api,
    name: str,
    *,
    yes: bool,
    confirm: bool,
    operator_namespace: str,
    dry_run: bool,
    ask: Callable[[str], bool] | None = None,
) -> None:
    """Take all traffic off the candidate; without an operator, by hand after asking."""
    on = subject(api, name, "abort")
    if on.phase == "Promoted":
        raise Trouble(
            f"{on.place}: {on.model} is promoted and serves all traffic; to go back, apply the "
            "earlier version"
        )
    if on.phase in TERMINAL:
        echo(f"{on.place}: attempt {on.attempt} has ended ({on.phase}); {on.stable} serves.")
        return
    _write(
        api,
        on,
        names.ANNOTATION_ABORT,
        on.attempt,
        dry_run=dry_run,
        told=(
            f"takes {on.model} from {on.weight} % to 0 at once; {on.stable} serves everything. The "
            "attempt is over for good; retry begins another"
        ),
    )
    if dry_run:
        return
    heart = listen(api, operator_namespace, patience=LEASE_PATIENCE)
    if heart.alive is not False and (not confirm or _done(api, on)):
        if not confirm:
            echo(on.follow)
        return
    _by_hand(api, on, heart, yes=yes, ask=ask or fallback.ask)


def _done(api: Api, on: Subject) -> bool:
    """Wait until the route gives the candidate nothing any more, and say so."""
    began = time.monotonic()
    while time.monotonic() - began < CONFIRM_SECONDS:
        now = lookup.status_of(api.get(HANDOFF, on.namespace, on.name))
        if _off(api, on, str(now.get("phase") or "")):
            serving = (now.get("stable") or {}).get("version") or on.stable
            took = time.monotonic() - began
            echo(f"Done after {took:.1f} s: {on.model} has 0 %, {serving} serves.")
            return True
        time.sleep(0.25)
    return False


def _off(api: Api, on: Subject, phase: str) -> bool:
    """Whether the candidate has no traffic: the route says so, else the status."""
    try:
        return fallback.candidate_weight(api, on.handoff) == 0
    except DeniedError:
        return phase in TERMINAL or phase == "RollingBack"


def _by_hand(
    api: Api, on: Subject, heart: Heartbeat, *, yes: bool, ask: Callable[[str], bool]
) -> None:
    """The documented fallback: the weight on the HTTPRoute itself."""
    plan = fallback.plan(api, on.handoff)
    why = (
        f"the operator is not at work ({heart.told})"
        if heart.alive is False
        else f"the operator has not acted within {CONFIRM_SECONDS:.0f} s"
    )
    if plan is None:
        warn(f"{why}, but {on.model} has no weight on the route: {on.stable} serves.")
        return
    warn(f"{why}. {plan.told}")
    if not yes and not ask("Set these weights on the HTTPRoute now?"):
        raise Trouble(
            f"{on.place}: the abort is recorded, but {on.model} still has {plan.weight} %; "
            f"kubectl handoff abort {on.name} -n {on.namespace} --yes sets it to 0",
            Code.TROUBLE,
        )
    fallback.carry_out(api, plan)
    echo(
        f"Done by hand: {on.model} has 0 %, {plan.baseline} has 100 %. The operator, once back, "
        "takes this as the abort it is."
    )
    if heart.fix:
        echo(f"Then look at the operator: {heart.fix}")


def _must_run(on: Subject, verb: str) -> None:
    if on.phase in TERMINAL:
        again = (
            ""
            if on.phase == "Promoted"
            else (f"; kubectl handoff retry {on.name} -n {on.namespace} begins another")
        )
        raise Trouble(
            f"{on.place}: nothing to {verb}, attempt {on.attempt} has ended ({on.phase}){again}"
        )


def _write(api: Api, on: Subject, key: str, value: str | None, *, dry_run: bool, told: str) -> None:
    """Say what will happen and write the annotation."""
    verb = key.rpartition("/")[2] if value is not None else "resume"
    if dry_run:
        echo(f"{on.place}: would {verb}; it {told}. Nothing was written.")
        return
    change = {
        "metadata": {
            "annotations": {key: value},
            # Bound to this object: one that was deleted and made again is another handoff.
            "uid": on.handoff["metadata"]["uid"],
        }
    }
    api.patch(HANDOFF, on.namespace, on.name, change)
    echo(f"{on.place}: {verb} of attempt {on.attempt}; it {told}.")
