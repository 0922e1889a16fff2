"""What a report is made from: exported objects, read as values and checked.

``kubectl get handoffattempt NAME -o yaml`` is enough. A ModelHandoff and other attempts of the
same handoff, in a List or as further documents, add the versions' names and what is different.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final, NoReturn, TypeVar

from pydantic import ValidationError

from modelhandoff.api import names
from modelhandoff.api.attempt import AttemptKind, HandoffAttempt
from modelhandoff.api.handoff import ModelHandoff, ModelHandoffSpec, ModelHandoffStatus
from modelhandoff.api.vocabulary import Phase
from modelhandoff.errors import InvalidInputError, InvalidSpecError
from modelhandoff.rollout.attempt import AttemptState

_Model = TypeVar("_Model", HandoffAttempt, ModelHandoff)

LAST_SECOND: Final = 253_402_300_799.0
"""31 December 9999: the last day that can be written as a date."""


@dataclass(frozen=True)
class Attempt:
    """One HandoffAttempt.

    Attributes:
        created: when the object was made, ``None`` if the export does not say.
        spec: the frozen spec that it moves, from its snapshot.
        state: its status.
    """

    name: str
    namespace: str
    handoff: str
    ordinal: int
    kind: AttemptKind
    revision: str
    bundle: str
    created: datetime | None
    spec: ModelHandoffSpec
    state: AttemptState

    @property
    def version(self) -> str:
        """The candidate's version."""
        return self.spec.candidate.model.version

    @property
    def model(self) -> str:
        """The candidate as people call it."""
        return f"{self.spec.candidate.model.name} {self.version}"

    @property
    def workload(self) -> str:
        """Deployment of the candidate."""
        return names.workload_name(self.handoff, self.revision)


@dataclass(frozen=True)
class Export:
    """One attempt, and what else is known of its handoff.

    Attributes:
        others: other attempts of the same handoff, by ordinal.
        now: status of the handoff itself, ``None`` if it was not exported.
    """

    attempt: Attempt
    others: tuple[Attempt, ...] = ()
    now: ModelHandoffStatus | None = None

    @cached_property
    def current(self) -> bool:
        """Whether the exported handoff is still at this attempt."""
        ref = self.now.attempt_ref if self.now else None
        return ref is not None and ref.name == self.attempt.name

    @cached_property
    def baseline(self) -> str | None:
        """Deployment that the candidate was compared with, from the pods that were measured."""
        own = self.attempt.workload
        seen = sorted({pod.rsplit("-", 2)[0] for pod in _pods(self.attempt.state.cursor)} - {own})
        if len(seen) == 1:
            return seen[0]
        earlier = self._earlier
        if earlier is not None:
            return earlier.workload
        reference = self.attempt.spec.baseline.workload_ref
        return reference.name if reference is not None and self.attempt.ordinal == 1 else None

    @cached_property
    def baseline_attempt(self) -> Attempt | None:
        """The exported attempt that had brought the baseline to production."""
        brought = [one for one in self.others if one.workload == self.baseline]
        return brought[-1] if brought else None

    @cached_property
    def _earlier(self) -> Attempt | None:
        before = [
            one
            for one in self.others
            if one.ordinal < self.attempt.ordinal and one.state.phase is Phase.PROMOTED
        ]
        return before[-1] if before else None

    @cached_property
    def baseline_version(self) -> str | None:
        """Version of the baseline, where anything in the export tells it."""
        if self.attempt.state.baseline_version:
            return self.attempt.state.baseline_version
        if self.baseline_attempt is not None:
            return self.baseline_attempt.version
        if self.now is None:
            return None
        known = [(one.revision, one.version) for one in self.now.history]
        if self.now.stable is not None:
            known.append((self.now.stable.revision, self.now.stable.version))
            if self.baseline is None and self.current and not self.attempt.state.promoted_at:
                return self.now.stable.version
        for revision, version in known:
            if self.baseline == names.workload_name(self.attempt.handoff, revision):
                return version
        return None


def read(objects: Iterable[object], name: str | None = None) -> Export:
    """Find the attempt to report on among exported objects.

    Args:
        objects: parsed YAML or JSON documents; Lists are opened, other kinds passed over.
        name: which attempt, if there are several. Without it: the only one, the one that the
            exported handoff is at, or the newest.

    Raises:
        InvalidInputError, InvalidSpecError: no such attempt, or an object that cannot be read.
    """
    attempts: dict[str, Attempt] = {}
    handoffs: list[ModelHandoff] = []
    for one in _opened(objects):
        match one.get("kind"):
            case "HandoffAttempt":
                found = _attempt(one)
                attempts[found.name] = found
            case "ModelHandoff":
                handoffs.append(_valid(ModelHandoff, one, "ModelHandoff"))
            case _:
                pass
    if not attempts:
        kinds = ", ".join(sorted({str(one.get("kind")) for one in _opened(objects)}))
        raise InvalidInputError(
            "kind", "no HandoffAttempt", kinds or "nothing",
            "what `kubectl get handoffattempt NAME -o yaml` prints",
        )  # fmt: skip
    chosen = _chosen(attempts, handoffs, name)
    same = (chosen.namespace, chosen.handoff)
    others = [a for a in attempts.values() if (a.namespace, a.handoff) == same and a != chosen]
    now = [h for h in handoffs if (h.metadata.namespace or "default", h.metadata.name) == same]
    return Export(
        chosen,
        tuple(sorted(others, key=lambda a: (a.ordinal, a.name))),
        now[-1].status if now else None,
    )


def _chosen(
    attempts: Mapping[str, Attempt], handoffs: Iterable[ModelHandoff], name: str | None
) -> Attempt:
    if name is not None:
        if name not in attempts:
            raise InvalidInputError(
                "--attempt", "not in the file", name, ", ".join(sorted(attempts))
            )
        return attempts[name]
    current = [h.status.attempt_ref.name for h in handoffs if h.status.attempt_ref is not None]
    for one in current:
        if one in attempts:
            return attempts[one]
    if len({(a.namespace, a.handoff) for a in attempts.values()}) > 1:
        raise InvalidInputError(
            "--attempt", "attempts of several handoffs", "none named", ", ".join(sorted(attempts))
        )
    return max(attempts.values(), key=lambda a: (a.ordinal, a.name))


def _opened(objects: Iterable[object]) -> Iterator[Mapping[str, Any]]:
    for one in objects:
        if not isinstance(one, Mapping):
            continue
        items = one.get("items")
        if isinstance(items, list):
            yield from (item for item in items if isinstance(item, Mapping))
        else:
            yield one


def _attempt(raw: Mapping[str, Any]) -> Attempt:
    found = _valid(HandoffAttempt, raw, "HandoffAttempt")
    named = found.metadata.name
    status = found.status.model_dump(mode="json", by_alias=True)
    for at, stage in enumerate(found.status.stages):
        _in_time(f"{named}.status.stages[{at}].start", stage.start)
    for at, one in enumerate(found.status.exclusions):
        _in_time(f"{named}.status.exclusions[{at}].end", max(one.start, one.end))
    return Attempt(
        name=named,
        namespace=found.metadata.namespace or "default",
        handoff=found.spec.handoff_ref.name,
        ordinal=found.spec.ordinal,
        kind=found.spec.kind,
        revision=found.spec.revision,
        bundle=found.spec.bundle_hash,
        created=found.metadata.creation_timestamp,
        spec=_spec(named, found.spec.snapshot),
        state=AttemptState.from_status(status),
    )


def _spec(named: str, snapshot: str) -> ModelHandoffSpec:
    where = f"{named}.spec.snapshot"
    try:
        decoded = json.loads(snapshot)
        raw = decoded["spec"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InvalidInputError(
            where, "not a snapshot", snapshot, "a JSON text with the frozen spec"
        ) from None
    try:
        return ModelHandoffSpec.model_validate(raw)
    except ValidationError as failure:
        _refuse(failure, f"{where}.spec")


def _valid(model: type[_Model], raw: Mapping[str, Any], named: str) -> _Model:
    try:
        return model.model_validate(raw)
    except ValidationError as failure:
        _refuse(failure, named)


def _refuse(failure: ValidationError, where: str) -> NoReturn:
    """One line per thing that is wrong, the first five."""
    found = [
        InvalidInputError(
            ".".join([where, *(str(part) for part in one["loc"])]),
            one["msg"][:1].lower() + one["msg"][1:],
            one["input"],
            "what this version of the operator writes",
        )
        for one in failure.errors(include_url=False)
    ]
    raise InvalidSpecError(found[:5])


def _in_time(path: str, seconds: float) -> None:
    if seconds > LAST_SECOND:
        raise InvalidInputError(path, "not a time", seconds, "Unix seconds before the year 10000")


def _pods(cursor: str) -> list[str]:
    """Pods in the measurement's checkpoint; an unreadable one tells nothing."""
    try:
        found = json.loads(cursor)["t"] if cursor else []
        return [str(one[0]) for one in found]
    except (ValueError, KeyError, TypeError, IndexError, RecursionError):
        return []
