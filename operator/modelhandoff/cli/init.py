"""``modelhandoff init``: a handoff folder from a model file, with what is not known left open."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from modelhandoff.verify.preview import Preview

TODO: Final = "TODO"
"""Stands where nobody but the author knows; hardly a field takes it, so lint names it."""
CASES: Final = 5
_NAME: Final = re.compile(r"[^a-z0-9]+")
_FEATURE_TYPES: Final = {
    "double": "Float", "float": "Float", "long": "Integer", "integer": "Integer",
    "boolean": "Boolean", "string": "String", "datetime": "Timestamp",
}  # fmt: skip
_CARD: Final = """# {name} {version}

<!-- Text below every heading; comments and TODO do not count. -->

## Intended use

TODO

## Limitations

TODO

## Biases

TODO

## Mitigations

TODO
"""
_HANDOFF: Final = """\
# Made by `modelhandoff init`. Every TODO here and in card.md is for you; `kubectl handoff lint`
# names those that no handoff may have.
apiVersion: modelhandoff.dev/v1alpha1
kind: ModelHandoff
metadata: {{name: {name}, namespace: default}}
spec:
  candidate:
    model: {{name: {name}, version: "{version}"}}
    artifacts:  # where each file will be fetched; `modelhandoff pack` keeps the digests right
      - {{role: Model, uri: "{todo}/{model}", digest: "{model_digest}"}}
      - {{role: TestData, uri: "{todo}/golden.jsonl", digest: "{golden_digest}"}}
      - {{role: ModelCard, uri: "{todo}/card.md", digest: "{card_digest}"}}
    provenance:
      git: {{repo: "{repo}", commit: "{commit}"}}
      seed: {seed}  # or nondeterministic: {{reason: ...}}
      environment: {{lockfile: requirements.lock}}
    serving: {{image: "{todo} IMAGE@sha256:..."}}  # add gpu: {{count: 1}} where it needs one
  contracts:
    api:
      path: /v2/models/{name}/infer
      latency: {{p95: {todo}}}  # such as 50ms
      inputs: {inputs}
      outputs: {outputs}
{data}  acceptance:
    # golden.jsonl holds what this file answers to made-up inputs: put real ones in their place.
    smoke: {{}}
  governance: {{modelCard: {{}}}}
  rollout:
    route: {{gateway: {{name: {todo}}}, hostnames: [{name}.example]}}
    steps: [{{weight: 10, minDuration: 1h}}, {{weight: 50, minDuration: 1h}}]
  monitoring:
    metrics:
      - {{name: errors, type: ErrorRate, max: 0.01}}
      - {{name: latency, type: Latency, quantile: 0.95, budget: {todo}}}
  runbook: {{url: "{todo}", owners: {{team: {todo}, escalation: ["{todo}"]}}}}
"""


@dataclass(frozen=True, slots=True)
class Known:
    """What was found beside the model: in its metadata, in Git, in an MLmodel file."""

    name: str
    version: str
    seed: str
    repo: str
    commit: str
    features: tuple[tuple[str, str], ...]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("init")(init)


def init(
    model: Annotated[Path, typer.Argument(help="An ONNX file.")],
    into: Annotated[
        Path | None, typer.Option("--dir", help="Folder to make; NAME-handoff by default.")
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the model; the file's by default.")] = "",
    force: Annotated[bool, typer.Option("--force", help="Write over files that exist.")] = False,
) -> None:
    """Start a handoff folder from a model file.

    Reads the graph, its metadata, the Git repository around it and an MLflow MLmodel file beside
    it; runs the model on made-up inputs for a first set of golden cases. What nobody but you can
    know is written as TODO.
    """
    from modelhandoff.cli import inputs
    from modelhandoff.errors import InvalidInputError

    try:
        from modelhandoff.verify.preview import Unusable, preview
    except ImportError:
        told = "init: onnxruntime is not installed; pip install 'modelhandoff[verify]'"
        inputs.refuse([told])
    try:
        seen = preview(model, CASES)
    except Unusable as failure:
        inputs.refuse([failure])
    known = _known(model, name, seen.metadata)
    folder = into or Path(f"{known.name}-handoff")
    files = _files(model, known, seen)
    taken = [folder / file for file in files if (folder / file).exists()]
    if taken and not force:
        inputs.refuse(
            InvalidInputError(str(path), "is there already", "a file", "--force, or another --dir")
            for path in taken
        )
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / model.name).exists() or not (folder / model.name).samefile(model):
        shutil.copyfile(model, folder / model.name)
    for file, text in files.items():
        if file != model.name:
            (folder / file).write_text(text, encoding="utf-8")
    typer.echo(f"{folder}: {', '.join(sorted(files))}")
    typer.echo(
        f"next: kubectl handoff lint {folder}/handoff.yaml   # what is still to be filled in"
    )
    typer.echo(f"then: modelhandoff pack {folder} && modelhandoff verify {folder}")


def _known(model: Path, name: str, metadata: Mapping[str, str]) -> Known:
    called = _NAME.sub("-", (name or model.stem).lower()).strip("-")[:40].strip("-") or "model"
    if not called[0].isalpha():
        called = f"m-{called}"[:40]
    seed, commit = metadata.get("seed", ""), metadata.get("commit", "") or _git(model, "HEAD")
    return Known(
        name=called,
        version=metadata.get("version", "") or "0.1.0",
        seed=seed if re.fullmatch(r"-?\d{1,15}", seed) else TODO,
        repo=_git(model, "remote") or f"{TODO} address",
        commit=commit if re.fullmatch("[0-9a-f]{40}", commit) else TODO,
        features=_mlflow(model.with_name("MLmodel")),
    )


def _git(model: Path, what: str) -> str:
    """The commit or the address of the repository around a file; "" without one."""
    command = {"HEAD": ["rev-parse", "HEAD"], "remote": ["remote", "get-url", "origin"]}[what]
    try:
        done = subprocess.run(
            ["git", "-C", str(model.resolve().parent), *command],
            capture_output=True, text=True, check=False, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return ""
    # An address may carry a password, and spaces are in none.
    found = re.sub(r"//[^/@]*@", "//", done.stdout.strip())
    return found if done.returncode == 0 and re.fullmatch(r"\S{1,512}", found) else ""


def _mlflow(path: Path) -> tuple[tuple[str, str], ...]:
    """Names and types of the columns in the signature of an MLmodel file; none without one."""
    import yaml

    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        columns = json.loads(document["signature"]["inputs"])
        found = [(str(one["name"]), _FEATURE_TYPES[one["type"]]) for one in columns]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError):
        return ()
    plain = all(re.fullmatch(r"[A-Za-z0-9][-A-Za-z0-9_.]{0,62}", name) for name, _ in found)
    return tuple(found) if plain and len(found) <= 200 else ()


def _files(model: Path, known: Known, seen: Preview) -> dict[str, str]:
    golden = "".join(
        json.dumps(one, separators=(",", ":"), allow_nan=False) + "\n" for one in seen.cases
    )
    card = _CARD.format(name=known.name, version=known.version)
    handoff = _HANDOFF.format(
        todo=TODO,
        name=known.name,
        version=known.version,
        model=model.name,
        model_digest=f"sha256:{hashlib.sha256(model.read_bytes()).hexdigest()}",
        golden_digest=_digest(golden),
        card_digest=_digest(card),
        repo=known.repo,
        commit=known.commit,
        seed=known.seed,
        inputs=_tensors(seen.inputs),
        outputs=_tensors(seen.outputs),
        data=_data(known.features),
    )
    return {model.name: "", "golden.jsonl": golden, "card.md": card, "handoff.yaml": handoff}


def _digest(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def _tensors(found: Sequence[Mapping[str, Any]]) -> str:
    # JSON is YAML, and quotes every name.
    return json.dumps([dict(one) for one in found])


def _data(features: Sequence[tuple[str, str]]) -> str:
    if not features:
        return "    # data: {features: [{name: amount, type: Float}]}  # what the inputs mean\n"
    rows = "".join(f"        - {{name: {name}, type: {kind}}}\n" for name, kind in features)
    return f"    data:  # from MLmodel; add ranges, units and categories\n      features:\n{rows}"
