"""HandoffPolicy: what the platform team allows, offers and presets for every handoff."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from modelhandoff.api.approval import PolicyApprovals
from modelhandoff.api.base import SpecModel, StatusModel, Word
from modelhandoff.api.candidate import ArtifactSource
from modelhandoff.api.cel import Rule
from modelhandoff.api.checklist import ChecklistPoint
from modelhandoff.api.meta import ObjectMeta
from modelhandoff.api.names import API_VERSION
from modelhandoff.api.quantities import HINT, Duration, HttpUrl, Label63, ListOf, Text, Timestamp
from modelhandoff.api.rollout_spec import Capacity, Decision, OnMetricsUnknown, Warmup
from modelhandoff.api.serving import Startup
from modelhandoff.api.signature import MAX_KEYS, TrustedKey


class MetricSource(SpecModel):
    """A Prometheus endpoint that handoffs may name."""

    name: Label63
    """Name that handoffs use in monitoring.source."""
    url: HttpUrl
    """Base address of its API."""
    timeout: Duration = timedelta(seconds=10)
    """Longest wait for one answer. 10s when not set."""
    max_series: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    """Most series that one answer may hold. 20000 when not set."""


class Limits(SpecModel):
    """Bounds on what handoffs may ask for."""

    max_first_weight: Annotated[int, Field(ge=1, le=99)] | None = None
    """Largest weight of the first step, in percent."""
    min_step_duration: Duration | None = None
    """Shortest minDuration of a step."""
    max_replicas: Annotated[int, Field(ge=1, le=1000)] | None = None
    """Most pods at full traffic."""


class MonitoringDefaults(SpecModel):
    """Presets for monitoring."""

    source: Label63 | None = None
    """Metric source of handoffs that name none."""
    interval: Duration | None = None
    """Length of one look."""


class Defaults(SpecModel):
    """Values for what a handoff leaves out. A handoff's own value always wins."""

    startup: Startup | None = None
    """For candidate.serving.startup."""
    capacity: Capacity | None = None
    """For rollout.capacity."""
    warmup: Warmup | None = None
    """For rollout.warmup."""
    decision: Decision | None = None
    """For rollout.decision."""
    on_metrics_unknown: OnMetricsUnknown | None = None
    """For rollout.onMetricsUnknown."""
    scale_down_delay: Duration | None = None
    """For rollout.scaleDownDelay."""
    revision_history_limit: Annotated[int, Field(ge=0, le=20)] | None = None
    """For rollout.revisionHistoryLimit."""
    monitoring: MonitoringDefaults | None = None
    """For monitoring."""


Namespace = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63),
    Field(json_schema_extra={HINT: "the name of a namespace"}),
]
Prefix = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9][-a-z0-9._:/]*$", max_length=253),
    Field(json_schema_extra={HINT: "a registry or the beginning of a repository name"}),
]
Host = Annotated[
    str,
    StringConstraints(pattern=r"^(\*\.)?[a-z0-9][-a-z0-9.]*(:[0-9]{1,5})?$", max_length=253),
    Field(json_schema_extra={HINT: "a host, host:port, or *. and a domain"}),
]


class PolicyRule(Word):
    """A rule that a namespace can be exempted from: a point of requiredChecks, or a limit."""

    ARTIFACTS_VERIFIED = ChecklistPoint.ARTIFACTS_VERIFIED.value
    REPRODUCED = ChecklistPoint.REPRODUCED.value
    CONTRACTS_VALID = ChecklistPoint.CONTRACTS_VALID.value
    ACCEPTANCE_PASSED = ChecklistPoint.ACCEPTANCE_PASSED.value
    MONITORING_READY = ChecklistPoint.MONITORING_READY.value
    RUNBOOK_COMPLETE = ChecklistPoint.RUNBOOK_COMPLETE.value
    GOVERNANCE_COMPLETE = ChecklistPoint.GOVERNANCE_COMPLETE.value
    APPROVED = ChecklistPoint.APPROVED.value
    PINNED_IMAGES = "PinnedImages"
    REGISTRIES = "Registries"
    ARTIFACT_HOSTS = "ArtifactHosts"
    ARTIFACT_SOURCES = "ArtifactSources"
    TLS = "TLS"
    PICKLE = "Pickle"
    SIGNATURE = "Signature"
    MAX_FIRST_WEIGHT = "MaxFirstWeight"
    MIN_STEP_DURATION = "MinStepDuration"
    MAX_REPLICAS = "MaxReplicas"
    DIRECT_INITIAL = "DirectInitial"


class Exemption(SpecModel):
    """One rule that does not hold for the handoffs of one namespace, and why."""

    namespace: Namespace
    """The namespace."""
    rule: PolicyRule
    """The rule: a point of requiredChecks, PinnedImages (allowUnpinnedImages), Registries,
    ArtifactHosts, ArtifactSources, Signature (requireSignature), TLS (allowHttp), Pickle
    (allowPickle), a limit, or DirectInitial (allowDirectInitial). Who has to approve, and whose key
    is trusted, is never exempted."""
    reason: Text
    """Why, in words; the status of every handoff there shows them."""


class Freeze(SpecModel):
    """A time in which nothing new comes to production."""

    start: Timestamp = Field(alias="from")
    """When it begins."""
    until: Timestamp
    """When it is over."""
    reason: Text
    """Why, in words that people who wait will read."""

    rules = (
        Rule(
            cel="self.from < self.until",
            holds=lambda self: self.start < self.until,
            at="until",
            wrong="the freeze is over before it begins",
            allowed="a time after from",
        ),
    )


class PolicySpec(SpecModel):
    """What is allowed, offered and preset."""

    metric_sources: Annotated[tuple[MetricSource, ...], ListOf(16, key="name")] = ()
    """Prometheus endpoints that handoffs may name."""
    registries: Annotated[tuple[Prefix, ...], ListOf(64, unique=True)] = ()
    """Registries, or beginnings of repositories, that images may come from; all when empty."""
    artifact_hosts: Annotated[tuple[Host, ...], ListOf(64, unique=True)] = ()
    """Hosts that artifacts may come from, registries too; all when empty."""
    artifact_sources: Annotated[tuple[ArtifactSource, ...], ListOf(4, unique=True)] = ()
    """Kinds of places that artifacts may come from. When empty: all, or HTTP and OCI only where
    artifactHosts names hosts."""
    allow_unpinned_images: bool = False
    """Whether an image may be named by tag instead of digest."""
    allow_http: bool = False
    """Whether artifacts may be fetched without TLS, as http:// and oci+http://; their digests are
    checked all the same."""
    allow_pickle: bool = False
    """Whether models may have a format that is loaded by unpickling, SKLearn or Torch: whoever
    makes such a file runs code in the serving pod."""
    require_signature: bool = False
    """Whether every bundle must be signed, with one of trustedKeys."""
    trusted_keys: Annotated[tuple[TrustedKey, ...], ListOf(MAX_KEYS, key="name")] = ()
    """Keys that bundles may be signed with; a handoff chooses its own when empty."""
    allow_direct_initial: bool = True
    """Whether a first version may serve without a baseline to compare with."""
    required_checks: Annotated[tuple[ChecklistPoint, ...], ListOf(8, unique=True)] = ()
    """Points of the checklist that every handoff must declare, and pass before a pod of its
    candidate exists; none when empty."""
    exemptions: Annotated[tuple[Exemption, ...], ListOf(64)] = ()
    """Rules that do not hold for a namespace."""
    approvals: PolicyApprovals = PolicyApprovals()
    """What every handoff needs at least before a pod of its candidate exists."""
    freeze: Annotated[tuple[Freeze, ...], ListOf(32)] = ()
    """Times in which no candidate starts and no weight rises; harm is acted on all the same."""
    limits: Limits = Limits()
    """Bounds on what handoffs may ask for."""
    defaults: Defaults = Defaults()
    """Values for what a handoff leaves out."""

    rules = (
        Rule(
            cel=(
                "!has(self.requireSignature) || !self.requireSignature"
                " || (has(self.trustedKeys) && self.trustedKeys.size() > 0)"
            ),
            holds=lambda self: not self.require_signature or bool(self.trusted_keys),
            at="trustedKeys",
            wrong="signatures are required, and no key is trusted",
            allowed="at least one trusted key: else a handoff could bring its own",
        ),
    )

    def exempted(self, namespace: str) -> tuple[Exemption, ...]:
        """What a namespace is exempted from; of two for one rule the first."""
        found: dict[PolicyRule, Exemption] = {}
        for one in self.exemptions:
            if one.namespace == namespace:
                found.setdefault(one.rule, one)
        return tuple(found.values())


class HandoffPolicy(StatusModel):
    """What the platform team allows, offers and presets. Cluster-scoped."""

    api_version: Literal["modelhandoff.dev/v1alpha1"] = API_VERSION  # type: ignore[assignment]
    kind: Literal["HandoffPolicy"] = "HandoffPolicy"
    metadata: ObjectMeta
    spec: PolicySpec = PolicySpec()
