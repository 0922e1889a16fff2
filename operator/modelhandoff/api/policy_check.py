"""What a handoff may not ask for under a policy. Checked at reconcile, and again by lint."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from urllib.parse import urlsplit

from modelhandoff.api.addresses import without_tls
from modelhandoff.api.candidate import PICKLED, Artifact, ArtifactSource, ModelFormat
from modelhandoff.api.checklist import gaps
from modelhandoff.api.handoff import ModelHandoffSpec
from modelhandoff.api.policy import PolicyRule, PolicySpec
from modelhandoff.api.quantities import format_duration
from modelhandoff.api.rollout_spec import Initial
from modelhandoff.errors import InvalidInputError

Found = Iterable[tuple[PolicyRule | None, InvalidInputError]]
"""Rule (``None``: nobody is exempted from it) and what breaks it."""


def policy_violations(
    spec: ModelHandoffSpec,
    policy: PolicySpec,
    *,
    namespace: str = "",
    other_sources: Collection[str] = (),
) -> list[InvalidInputError]:
    """Everything in a resolved spec that the policy does not allow, one line each.

    Args:
        spec: the resolved spec.
        policy: the policy; ``PolicySpec()`` where there is none, which wants pinned images
            and artifacts over TLS.
        namespace: of the handoff, for the policy's exemptions.
        other_sources: metric sources known from elsewhere than the policy.
    """
    exempted = {one.rule for one in policy.exempted(namespace)}
    found = (
        *_images(spec, policy),
        *_artifacts(spec, policy),
        *_format(spec, policy),
        *_signature(spec, policy),
        *_limits(spec, policy),
        *_required(spec, policy),
        *_approvals(spec, policy),
        *_source(spec, policy, other_sources),
    )
    return [error for rule, error in found if rule not in exempted]


def _images(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    """Every image that runs for a handoff."""
    named = [("spec.candidate.serving.image", spec.candidate.serving.image)]
    if spec.acceptance is not None:
        tests = enumerate(spec.acceptance.tests)
        named += [(f"spec.acceptance.tests[{at}].image", test.image) for at, test in tests]
    if spec.acceptance is not None and spec.acceptance.reproduce is not None:
        named.append(("spec.acceptance.reproduce.image", spec.acceptance.reproduce.image))
    for path, image in named:
        yield from _image(path, image, policy)


def _image(path: str, image: str, policy: PolicySpec) -> Found:
    if "@" not in image and not policy.allow_unpinned_images:
        error = InvalidInputError(path, "the image is not pinned", image, "<name>@sha256:<64 hex>")
        yield PolicyRule.PINNED_IMAGES, error
    if policy.registries and not any(_from(image, prefix) for prefix in policy.registries):
        allowed = "images from " + ", ".join(policy.registries)
        error = InvalidInputError(path, "the registry is not allowed", image, allowed)
        yield PolicyRule.REGISTRIES, error


def _from(image: str, prefix: str) -> bool:
    """Whether an image lies below a registry or a repository, compared whole part by whole part."""
    prefix = prefix.rstrip("/")
    # After a registry only / may follow: registry.example:5000 is another one.
    ends = ("/", "@", ":") if "/" in prefix else ("/",)
    return image.startswith(tuple(prefix + end for end in ends))


def _artifacts(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    for index, artifact in enumerate(spec.candidate.artifacts):
        path = f"spec.candidate.artifacts[{index}].uri"
        sources = policy.artifact_sources or (_REMOTE if policy.artifact_hosts else ArtifactSource)
        if artifact.source not in sources:
            wrong = "the policy allows no artifact from here"
            error = InvalidInputError(path, wrong, artifact.uri, ", ".join(sources))
            yield PolicyRule.ARTIFACT_SOURCES, error
        elif artifact.source in _REMOTE:
            yield from _remote(path, artifact, policy)


_REMOTE = (ArtifactSource.HTTP, ArtifactSource.OCI)


def _remote(path: str, artifact: Artifact, policy: PolicySpec) -> Found:
    address = urlsplit(artifact.uri)
    if without_tls(artifact.uri) and not policy.allow_http:
        secure = "oci://" if artifact.source is ArtifactSource.OCI else "https://"
        error = InvalidInputError(path, "the address has no TLS", artifact.uri, secure)
        yield PolicyRule.TLS, error
    host = address.netloc.lower()
    if policy.artifact_hosts and not any(_matches(host, h) for h in policy.artifact_hosts):
        allowed = ", ".join(policy.artifact_hosts)
        error = InvalidInputError(path, "the host is not allowed", artifact.uri, allowed)
        yield PolicyRule.ARTIFACT_HOSTS, error


def _matches(host: str, allowed: str) -> bool:
    if allowed.startswith("*."):
        return host.endswith(allowed[1:]) and len(host) > len(allowed) - 1
    return host == allowed


def _format(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    declared = spec.candidate.model.format
    if declared in PICKLED and not policy.allow_pickle:
        yield (
            PolicyRule.PICKLE,
            InvalidInputError(
                "spec.candidate.model.format",
                "the policy allows no format that runs code when it is loaded",
                declared,
                ", ".join(f for f in ModelFormat if f not in PICKLED),
            ),
        )


def _signature(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    path, signature = "spec.candidate.signature", spec.candidate.signature
    if signature is None:
        if policy.require_signature:
            allowed = "signature: {} and an artifact with role: Signature"
            error = InvalidInputError(
                path, "the policy wants the bundle signed", "no signature", allowed
            )
            yield PolicyRule.SIGNATURE, error
        return
    if not signature.keys:
        error = InvalidInputError(
            f"{path}.keys",
            "there is no key to check the signature with",
            "no key",
            "keys, or a policy with trustedKeys",
        )
        yield None, error
    trusted = {key.public_key.strip() for key in policy.trusted_keys}
    for index, key in enumerate(signature.keys):
        if trusted and key.public_key.strip() not in trusted:
            names = ", ".join(known.name for known in policy.trusted_keys)
            error = InvalidInputError(
                f"{path}.keys[{index}]", "the policy does not trust this key", key.name, names
            )
            yield None, error


def _limits(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    limits, steps = policy.limits, spec.rollout.steps
    if limits.max_first_weight is not None and steps[0].weight > limits.max_first_weight:
        yield (
            PolicyRule.MAX_FIRST_WEIGHT,
            InvalidInputError(
                "spec.rollout.steps[0].weight",
                "the first step is above the policy's limit",
                steps[0].weight,
                f"at most {limits.max_first_weight}",
            ),
        )
    shortest = limits.min_step_duration
    for index, step in enumerate(steps):
        if shortest is not None and step.min_duration < shortest:
            yield (
                PolicyRule.MIN_STEP_DURATION,
                InvalidInputError(
                    f"spec.rollout.steps[{index}].minDuration",
                    "the step is shorter than the policy's limit",
                    format_duration(step.min_duration),
                    f"at least {format_duration(shortest)}",
                ),
            )
    replicas = spec.candidate.serving.replicas
    if limits.max_replicas is not None and replicas > limits.max_replicas:
        yield (
            PolicyRule.MAX_REPLICAS,
            InvalidInputError(
                "spec.candidate.serving.replicas",
                "more pods than the policy allows",
                replicas,
                f"at most {limits.max_replicas}",
            ),
        )
    if spec.rollout.initial is Initial.DIRECT and not policy.allow_direct_initial:
        yield (
            PolicyRule.DIRECT_INITIAL,
            InvalidInputError(
                "spec.rollout.initial",
                "the policy lets no first version serve unjudged",
                Initial.DIRECT,
                Initial.REQUIRE_BASELINE,
            ),
        )


def _required(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    """Points of the checklist that have to be declared; whether they pass is seen later."""
    for point in policy.required_checks:
        for gap in gaps(spec, point):
            wrong = f"the policy requires {point}, and {gap.wrong}"
            error = InvalidInputError(gap.path, wrong, gap.got, gap.allowed)
            yield PolicyRule(point.value), error


def _approvals(spec: ModelHandoffSpec, policy: PolicySpec) -> Found:
    """What a handoff may not loosen; roles that the policy requires were added when resolving."""
    asked, signed = policy.approvals, spec.approvals
    if signed is None:
        return
    if asked.separate_identities and not signed.separate_identities:
        yield (
            None,
            InvalidInputError(
                "spec.approvals.separateIdentities",
                "the policy wants a person of its own for every role",
                "false",
                "true",
            ),
        )
    if asked.separate_author and not signed.separate_author:
        yield (
            None,
            InvalidInputError(
                "spec.approvals.separateAuthor",
                "the policy lets nobody approve what they wrote",
                "false",
                "true",
            ),
        )
    if asked.expires_after is not None and signed.expires_after > asked.expires_after:
        yield (
            None,
            InvalidInputError(
                "spec.approvals.expiresAfter",
                "approvals would count longer than the policy allows",
                format_duration(signed.expires_after),
                f"at most {format_duration(asked.expires_after)}",
            ),
        )


def _source(spec: ModelHandoffSpec, policy: PolicySpec, others: Collection[str]) -> Found:
    known = sorted({source.name for source in policy.metric_sources} | set(others))
    if spec.monitoring.source not in known:
        yield (
            None,
            InvalidInputError(
                "spec.monitoring.source",
                "no policy names this metric source",
                spec.monitoring.source,
                ", ".join(known) or "none yet; add one to the policy's metricSources",
            ),
        )
