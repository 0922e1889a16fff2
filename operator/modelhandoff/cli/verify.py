"""``modelhandoff verify``: the checks of the verification Job, on this machine."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Sequence
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from modelhandoff.api.checks import CheckStatus
    from modelhandoff.api.handoff import ModelHandoffSpec
    from modelhandoff.cli.local import Local

MARKS = {"Passed": "ok", "Failed": "FAILED", "Inconclusive": "unknown", "Skipped": "skipped"}
COLOURS = {"Passed": "green", "Failed": "red", "Inconclusive": "yellow", "Skipped": "bright_black"}


class Exit(IntEnum):
    """Exit statuses; those of ``kubectl handoff wait`` for the same ends."""

    PASSED = 0
    REJECTED = 3
    INCONCLUSIVE = 5


class Output(StrEnum):
    """Formats."""

    JSON = "json"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("verify")(verify)


def verify(  # noqa: PLR0917 - typer: one parameter per option
    path: Annotated[Path, typer.Argument(help="A handoff's YAML file, or a folder with it.")],
    policy: Annotated[Path | None, typer.Option(help="YAML file with the HandoffPolicy.")] = None,
    artifacts: Annotated[
        Path | None, typer.Option(help="Folder with the artifacts; the handoff's own by default.")
    ] = None,
    fetch: Annotated[
        bool, typer.Option("--fetch", help="Fetch the artifacts from their addresses instead.")
    ] = False,
    timeout: Annotated[float, typer.Option(help="Seconds for all checks together.")] = 600.0,
    output: Annotated[
        Output | None, typer.Option("-o", "--output", help="json: the results as one object.")
    ] = None,
) -> None:
    """Make the checks of the verification Job on this machine, before anybody else does.

    Exit status: 0 all passed; 1 the handoff or a file cannot be read; 3 a check failed, or the
    policy forbids something; 5 a check could not be made.
    """
    from modelhandoff.cli import inputs, local
    from modelhandoff.errors import InvalidInputError

    if not 1 <= timeout <= 86_400:
        line = InvalidInputError("--timeout", "out of range", timeout, "1 to 86400 seconds")
        inputs.refuse([line])
    _need_libraries()
    file = local.handoff_file(path)
    manifest, spec = inputs.read_handoff(file, policy)
    findings = _forbidden(manifest, policy)
    for finding in findings:
        typer.echo(f"{file}: {finding}", err=True)
    files = local.bundle(spec.candidate.artifacts, artifacts or file.parent)
    with tempfile.TemporaryDirectory(prefix="modelhandoff-verify-") as made:
        folder = Path(made)
        if fetch:
            _fetch(files, folder)
        else:
            wrong = local.missing(files)
            if wrong:
                inputs.refuse(wrong)
            local.gather(files, folder)
        results = _check(spec, files, folder, timeout, _quiet if output else _tell)
    _finish(spec, results, findings, output)


def _forbidden(manifest: dict[str, Any], policy: Path | None) -> list[str]:
    """What the policy does not allow, in the words of ``kubectl handoff lint``."""
    from modelhandoff.cli import inputs
    from modelhandoff.cli.kubectl.lint import handoff_errors

    if policy is None:
        return []
    return [str(line) for line in handoff_errors(manifest, inputs.read_policy(policy))]


def _need_libraries() -> None:
    from importlib.util import find_spec

    from modelhandoff.cli import inputs

    lacking = [name for name in ("onnxruntime", "jsonschema") if find_spec(name) is None]
    if lacking:
        told = f"verify: {', '.join(lacking)} is not installed; pip install 'modelhandoff[verify]'"
        inputs.refuse([told])


def _fetch(files: Sequence[Local], folder: Path) -> None:
    import time

    from modelhandoff.api.addresses import without_tls
    from modelhandoff.cli import inputs
    from modelhandoff.verify.access import Access
    from modelhandoff.verify.fetch import Budget, FetchFailed, fetch_all
    from modelhandoff.verify.manifest import Wanted

    wanted = [
        Wanted(str(one.artifact.role), one.artifact.uri, one.artifact.digest, one.name)
        for one in files
    ]
    access = Access(allow_http=any(without_tls(one.artifact.uri) for one in files))
    try:
        fetch_all(wanted, folder, access, Budget(2 * 1024**3, time.monotonic() + 1800.0))
    except FetchFailed as failure:
        inputs.refuse([failure])
    finally:
        # It leaves everything read-only, which cannot be cleaned up by everybody.
        for made in (folder, *(p for p in folder.rglob("*") if p.is_dir())):
            made.chmod(0o755)


def _check(
    spec: ModelHandoffSpec,
    files: Sequence[Local],
    folder: Path,
    timeout: float,
    tell: Callable[[CheckStatus], None],
) -> tuple[CheckStatus, ...]:
    from modelhandoff.api.verification import spec_document
    from modelhandoff.cluster.verification import checks_memory
    from modelhandoff.verify.check import Limits
    from modelhandoff.verify.check import verify as run_checks

    document = spec_document(
        spec.model_dump(mode="json", by_alias=True), [one.name for one in files]
    )
    limits = Limits(timeout, int(timeout), checks_memory(spec))
    return run_checks(document.encode(), folder, limits, tell)


def _quiet(_: CheckStatus) -> None:
    pass


def _tell(check: CheckStatus) -> None:
    mark = typer.style(f"{MARKS[check.state]:<8}", fg=COLOURS[check.state])
    typer.echo(f"{mark} {check.name:<18} {check.message}")


def _not_run(spec: ModelHandoffSpec) -> list[str]:
    """Jobs in images of the tenant's: they need a cluster."""
    from modelhandoff.api.tenant_jobs import tenant_jobs

    return [one.name for one in tenant_jobs(spec)]


def _checklist(
    spec: ModelHandoffSpec, results: Sequence[CheckStatus]
) -> list[tuple[str, str, str]]:
    """Name, status and message of every point, as the operator would say them now."""
    from modelhandoff.rollout.attempt import AttemptState
    from modelhandoff.rollout.checklist import Matter, points

    state = AttemptState(checks=tuple(c.model_dump(mode="json", by_alias=True) for c in results))
    found = points(Matter(spec, state, asked=True))
    return [(str(kind), status, message) for kind, (status, _, message) in found.items()]


def _finish(
    spec: ModelHandoffSpec,
    results: Sequence[CheckStatus],
    findings: Sequence[str],
    output: Output | None,
) -> None:
    from modelhandoff.api.checks import verdict_of

    verdict = "Failed" if findings else verdict_of(check.state for check in results)
    not_run, checklist = _not_run(spec), _checklist(spec, results)
    if output is Output.JSON:
        body: dict[str, Any] = {
            "verdict": verdict,
            "findings": list(findings),
            "checks": [check.model_dump(mode="json", by_alias=True) for check in results],
            "notRun": not_run,
            "checklist": [
                {"type": kind, "status": status, "message": message}
                for kind, status, message in checklist
            ],
        }
        typer.echo(json.dumps(body, indent=2, ensure_ascii=False))
    else:
        _sum_up(verdict, results, findings, not_run, checklist)
    ends = {"Failed": Exit.REJECTED, "Inconclusive": Exit.INCONCLUSIVE}
    if verdict in ends:
        raise typer.Exit(ends[verdict])


def _sum_up(
    verdict: str,
    results: Sequence[CheckStatus],
    findings: Sequence[str],
    not_run: Sequence[str],
    checklist: Sequence[tuple[str, str, str]],
) -> None:
    missing = [(kind, message) for kind, status, message in checklist if status != "True"]
    done = len(checklist) - len(missing)
    typer.echo(f"Checklist: {done}/{len(checklist)}.{' Not yet:' if missing else ''}")
    for kind, message in missing:
        typer.echo(f"  {kind}: {message}")
    if not_run:
        typer.echo(f"Not run here, but as Jobs of the cluster: {', '.join(not_run)}.")
    passed = sum(check.state == "Passed" for check in results)
    forbidden = f" The policy forbids {len(findings)} things." if findings else ""
    typer.echo(f"{verdict}: {passed} of {len(results)} checks passed.{forbidden}")
