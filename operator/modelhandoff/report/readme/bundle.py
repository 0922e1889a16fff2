"""Purpose, artifact index, environment: what is handed over."""

from __future__ import annotations

from collections.abc import Iterator

from modelhandoff.api.candidate import Candidate
from modelhandoff.api.quantities import format_duration
from modelhandoff.api.serving import Serving, Toleration
from modelhandoff.report.document import Block, Code, Facts, Line, Paragraph, Row, Table
from modelhandoff.report.readme.subject import PURPOSE, Subject
from modelhandoff.report.readme.terms import told

PURPOSE_TERMS = frozenset(
    {"policyRef.name", "candidate.model.name", "candidate.model.version", "candidate.model.format"}
)


def purpose(subject: Subject) -> Iterator[Block]:
    """What the model is for, and which one it is."""
    why = subject.annotations.get(PURPOSE, "")
    for line in why.split("\n"):
        if line.strip():
            yield Paragraph((line,))
    if not why.strip():
        yield Paragraph(("Not said: write it into the annotation ", Code(PURPOSE), "."), quiet=True)
    model, status = subject.spec.candidate.model, subject.status
    rows: list[tuple[str, Line]] = [
        ("Model", (model.name,)),
        ("Version", (Code(model.version),)),
        ("Format", (str(model.format),)),
    ]
    if subject.spec.policy_ref is not None:
        rows.append(("Policy", (Code(subject.spec.policy_ref.name),)))
    if status is not None and status.stable is not None:
        rows.append(("Serves now", (status.stable.version,)))
    if status is not None and status.message:
        rows.append(("Where it is", (status.message,)))
    yield Facts(tuple(rows))


ARTIFACT_TERMS = frozenset(f"candidate.artifacts[].{one}" for one in ("role", "uri", "digest"))


def artifacts(subject: Subject) -> Iterator[Block]:
    """Every file with its digest."""
    yield Paragraph(("No pod serves before the bytes of every file have the digest below.",))
    yield Table(
        ("Role", "File", "Digest"),
        tuple(
            Row(((str(one.role),), (Code(one.uri),), (Code(one.digest),)))
            for one in subject.spec.candidate.artifacts
        ),
    )


_PROVENANCE = (
    "git.repo", "git.commit", "data.uri", "data.digest", "seed", "nondeterministic.reason",
    "environment.image", "environment.lockfile",
)  # fmt: skip
_SERVING = (
    "mode", "image", "command", "args", "env[].name", "env[].value", "protocol", "port",
    "metricsPort", "replicas", "resources.cpu", "resources.memory", "gpu.resource", "gpu.count",
    "gpu.product", "gpu.sameAsBaseline", "startup.timeout", "probePath", "priorityClassName",
    "runtimeClassName",
    "nodeSelector", "tolerations[].key", "tolerations[].operator", "tolerations[].value",
    "tolerations[].effect", "tolerations[].tolerationSeconds", "imagePullSecrets[].name",
    "serviceAccountName",
)  # fmt: skip
ENVIRONMENT_TERMS = frozenset(
    {
        *(f"candidate.provenance.{one}" for one in _PROVENANCE),
        *(f"candidate.serving.{one}" for one in _SERVING),
    }
)


def environment(subject: Subject) -> Iterator[Block]:
    """Where it was trained, so that it can be made again, and where it runs."""
    candidate = subject.spec.candidate
    yield Paragraph(("To make it again:",))
    yield Facts(tuple(_trained(candidate)))
    yield Paragraph(("To run it:",))
    yield Facts(tuple(_served(candidate.serving)))


def _trained(candidate: Candidate) -> Iterator[tuple[str, Line]]:
    source = candidate.provenance
    yield "Repository", (Code(source.git.repo),)
    yield "Commit", (Code(source.git.commit),)
    if source.environment.lockfile is not None:
        yield "Lock file", (Code(source.environment.lockfile),)
    if source.environment.image is not None:
        yield "Training image", (Code(source.environment.image),)
    if source.seed is not None:
        yield "Seed", (str(source.seed),)
    if source.nondeterministic is not None:
        yield "No seed", (source.nondeterministic.reason,)
    if source.data is not None:
        yield "Training data", (Code(source.data.uri), " ", Code(source.data.digest))


def _served(serving: Serving) -> Iterator[tuple[str, Line]]:
    yield "Image", (Code(serving.image),)
    yield "Mode and protocol", (f"{serving.mode}, {serving.protocol}",)
    yield "Port of the API", (str(serving.port),)
    yield "Port of /metrics", (str(serving.metrics_port),)
    if serving.probe_path is not None:
        yield "Ready when", (Code(serving.probe_path), " answers 200")
    yield "Pods at full traffic", (str(serving.replicas),)
    yield "Each pod", (f"CPU {serving.resources.cpu}, memory {serving.resources.memory}",)
    yield "GPU per pod", _gpu(serving)
    yield "Time to load", (f"at most {format_duration(serving.startup.timeout)}",)
    if serving.command:
        yield "Command", told(serving.command)
    if serving.args:
        yield "Arguments", told(serving.args)
    for one in serving.env:
        yield "Variable", (Code(f"{one.name}={one.value}"),)
    if serving.node_selector:
        yield "Nodes with", told(serving.node_selector)
    for taint in serving.tolerations:
        yield "Accepts the taint", (_taint(taint),)
    if serving.priority_class_name is not None:
        yield "Priority class", (Code(serving.priority_class_name),)
    if serving.runtime_class_name is not None:
        yield "Runtime class", (Code(serving.runtime_class_name),)
    if serving.image_pull_secrets:
        yield "Pull secrets", told(tuple(one.name for one in serving.image_pull_secrets))
    if serving.service_account_name is not None:
        yield "Service account", (Code(serving.service_account_name), ", token not mounted")


def _gpu(serving: Serving) -> Line:
    if serving.gpu is None:
        return ("none",)
    product = serving.gpu.product
    which: Line = (" of ", *told(product)) if product else ()
    same = (
        ", a product that the baseline runs on too"
        if serving.gpu.same_as_baseline
        else ", whatever the baseline runs on"
    )
    return (f"{serving.gpu.count} x ", Code(serving.gpu.resource), *which, same)


def _taint(taint: Toleration) -> str:
    value = f" {taint.value}" if taint.value is not None else ""
    effect = f", {taint.effect}" if taint.effect is not None else ", any effect"
    stays = f", stays {taint.toleration_seconds} s" if taint.toleration_seconds is not None else ""
    return f"{taint.key or 'any key'} {taint.operator}{value}{effect}{stays}"
