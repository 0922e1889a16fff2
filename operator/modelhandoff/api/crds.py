"""CustomResourceDefinitions from the models: the only source of ``crds/*.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from modelhandoff.api import names
from modelhandoff.api.approval import ApprovalSpec, ApprovalStatus, HandoffApproval
from modelhandoff.api.attempt import AttemptSpec, AttemptStatus, HandoffAttempt
from modelhandoff.api.base import SpecModel, StatusModel
from modelhandoff.api.handoff import ModelHandoff, ModelHandoffSpec, ModelHandoffStatus
from modelhandoff.api.policy import HandoffPolicy, PolicySpec
from modelhandoff.api.schema import structural, summary, without_hints

HEADER = "# Written by `modelhandoff crds` from the models; edit those instead.\n"


@dataclass(frozen=True)
class Column:
    """A column of ``kubectl get``; wide ones show with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False

    def as_printer_column(self) -> dict[str, Any]:
        """The column as an entry of ``additionalPrinterColumns``."""
        entry: dict[str, Any] = {"name": self.name, "type": self.type, "jsonPath": self.path}
        return entry | ({"priority": 1} if self.wide else {})


@dataclass(frozen=True)
class Kind:
    """One resource kind: its models, names and columns."""

    top: type[StatusModel]
    spec: type[SpecModel] | type[StatusModel]
    plural: str
    short: str
    columns: tuple[Column, ...]
    status: type[StatusModel] | None = None
    scope: str = "Namespaced"
    categories: tuple[str, ...] = ("modelhandoff",)
    metadata: dict[str, Any] | None = None

    @property
    def file_name(self) -> str:
        """Name of its file under ``crds/``."""
        return f"{names.GROUP}_{self.plural}.yaml"


def _metric(kind: str) -> str:
    return f'.status.metrics[?(@.type=="{kind}")].candidate'


KINDS = (
    Kind(
        top=ModelHandoff,
        spec=ModelHandoffSpec,
        status=ModelHandoffStatus,
        plural=names.HANDOFFS,
        short="mho",
        categories=("all", "modelhandoff"),
        # Names of pods and Services are made from this one (see names.py).
        metadata={
            "type": "object",
            "properties": {
                "name": {
                    "type": "string",
                    "maxLength": names.MAX_HANDOFF_NAME,
                    "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$",
                }
            },
        },
        columns=(
            Column("Phase", ".status.phase"),
            Column("Step", ".status.step.label"),
            Column("Weight", ".status.step.weight", "integer"),
            Column("Verdict", ".status.verdict.decision"),
            Column("Checklist", ".status.checklist.label"),
            Column("Model", ".spec.candidate.model.version"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Baseline", ".status.stable.version", wide=True),
            Column("GPU", ".status.gpu", wide=True),
            Column("P95", _metric("Latency"), "number", wide=True),
            Column("Err", _metric("ErrorRate"), "number", wide=True),
            Column("KL", _metric("Drift"), "number", wide=True),
            Column("Message", ".status.message", wide=True),
        ),
    ),
    Kind(
        top=HandoffAttempt,
        spec=AttemptSpec,
        status=AttemptStatus,
        plural=names.ATTEMPTS,
        short="mha",
        columns=(
            Column("Handoff", ".spec.handoffRef.name"),
            Column("Kind", ".spec.kind"),
            Column("Phase", ".status.phase"),
            Column("Weight", ".status.weight", "integer"),
            Column("Verdict", ".status.verdict.decision"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Reason", ".status.verdict.reason", wide=True),
            Column("Revision", ".spec.revision", wide=True),
        ),
    ),
    Kind(
        top=HandoffApproval,
        spec=ApprovalSpec,
        status=ApprovalStatus,
        plural=names.APPROVALS,
        short="mhap",
        columns=(
            Column("Handoff", ".spec.handoffRef.name"),
            Column("Role", ".spec.role"),
            Column("Decision", ".spec.decision"),
            Column("Approver", ".spec.approver"),
            Column("Valid", ".status.valid", "boolean"),
            Column("Reason", ".status.reason"),
            Column("Age", ".metadata.creationTimestamp", "date"),
            Column("Bundle", ".spec.bundleHash", wide=True),
            Column("Comment", ".spec.comment", wide=True),
        ),
    ),
    Kind(
        top=HandoffPolicy,
        spec=PolicySpec,
        plural=names.POLICIES,
        short="mhp",
        scope="Cluster",
        columns=(Column("Age", ".metadata.creationTimestamp", "date"),),
    ),
)


def crd(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind, as the API server takes it."""
    word = kind.top.__name__
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{names.GROUP}",
            "labels": {names.LABEL_PART_OF: names.MANAGED_BY},
        },
        "spec": {
            "group": names.GROUP,
            "scope": kind.scope,
            "names": {
                "kind": word,
                "listKind": f"{word}List",
                "plural": kind.plural,
                "singular": word.lower(),
                "shortNames": [kind.short],
                "categories": list(kind.categories),
            },
            "versions": [_version(kind)],
        },
    }


def _version(kind: Kind) -> dict[str, Any]:
    version: dict[str, Any] = {
        "name": names.VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [column.as_printer_column() for column in kind.columns],
        "schema": {"openAPIV3Schema": _root(kind)},
    }
    if kind.status is not None:
        version["subresources"] = {"status": {}}
    return version


def _root(kind: Kind) -> dict[str, Any]:
    properties: dict[str, Any] = {
        "apiVersion": {"type": "string"},
        "kind": {"type": "string"},
        "metadata": kind.metadata or {"type": "object"},
        "spec": structural(kind.spec),
    }
    if kind.status is not None:
        properties["status"] = structural(kind.status)
    if kind.status is ModelHandoffStatus:
        # Nothing may take an object that was never visited for a finished one. Defaults
        # under spec are never allowed: they would become part of what the user wrote.
        unseen = {"observedGeneration": -1}
        properties["status"]["default"] = unseen
        properties["status"]["properties"]["observedGeneration"]["default"] = -1
    schema: dict[str, Any] = {
        "description": summary(kind.top),
        "type": "object",
        "required": ["spec"],
        "properties": without_hints(properties),
    }
    if kind.top.rules:
        schema["x-kubernetes-validations"] = [rule.as_validation() for rule in kind.top.rules]
    return schema


def render() -> dict[str, str]:
    """File name -> text of every CRD."""
    return {kind.file_name: HEADER + _yaml(crd(kind)) for kind in KINDS}


def _yaml(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        """Write every object out: YAML anchors are noise in a CRD."""
        return True


def write(folder: Path) -> list[Path]:
    """Write every CRD below ``folder``; the files that changed."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, text in render().items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            changed.append(path)
    return changed


def drift(folder: Path) -> list[str]:
    """One line per file below ``folder`` that is not what the models say."""
    wanted = render()
    there = {path.name for path in folder.glob("*.yaml")}
    found = [f"{folder / name}: missing" for name in sorted(wanted.keys() - there)]
    found += [f"{folder / name}: no model writes it" for name in sorted(there - wanted.keys())]
    found += [
        f"{folder / name}: differs from the models"
        for name in sorted(there & wanted.keys())
        if (folder / name).read_text(encoding="utf-8") != wanted[name]
    ]
    return found
