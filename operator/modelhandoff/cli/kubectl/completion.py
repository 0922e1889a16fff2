"""Completion: in the shell by typer, and under kubectl as ``kubectl_complete-handoff``."""

from __future__ import annotations

import os
import sys
from typing import Any

from modelhandoff.cli.kubectl.problem import Trouble

_LIMIT = 200


def handoffs(ctx: Any, incomplete: str) -> list[str]:
    """Names of handoffs in the namespace of the command line."""
    from modelhandoff.cluster.kinds import HANDOFF

    return _names(ctx, HANDOFF, incomplete, namespaced=True)


def roles(ctx: Any, incomplete: str) -> list[str]:
    """Roles that have to approve the handoff on the command line."""
    from modelhandoff.cli.kubectl import lookup

    try:
        api = _api(ctx)
        # Before the value of an option is there, click has not sorted out the plain words.
        typed = [str(ctx.params.get("name") or ""), *ctx.args] if ctx is not None else []
        handoff = lookup.find(api, next((word for word in typed if word), ""))
        attempt = lookup.current_attempt(api, handoff)
        asked = lookup.frozen_spec(attempt) if attempt else handoff["spec"]
        found = ((asked or {}).get("approvals") or {}).get("roles") or ()
    except (Trouble, OSError, ValueError, KeyError, TypeError):
        return []
    return [role for role in found if role.startswith(incomplete)]


def namespaces(ctx: Any, incomplete: str) -> list[str]:
    """Names of namespaces."""
    from modelhandoff.cluster.kinds import Kind

    kind = Kind("", "v1", "namespaces", "Namespace", namespaced=False)
    return _names(ctx, kind, incomplete, namespaced=False)


def contexts(incomplete: str) -> list[str]:
    """Contexts of the kubeconfig."""
    from pathlib import Path

    import yaml

    found: list[str] = []
    for path in (os.environ.get("KUBECONFIG") or "~/.kube/config").split(os.pathsep):
        try:
            config = yaml.safe_load(Path(path).expanduser().read_text(encoding="utf-8"))
            found += [str(one["name"]) for one in config["contexts"]]
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue
    return [name for name in found if name.startswith(incomplete)]


def _names(ctx: Any, kind: Any, incomplete: str, *, namespaced: bool) -> list[str]:
    """Best effort and silent: a completion must never disturb the line that is being typed."""
    given = ctx.params if ctx is not None else {}
    try:
        api = _api(ctx)
        space = api.namespace if namespaced and not given.get("everywhere") else None
        found = api.list(kind, space, limit=_LIMIT)
    except (Trouble, OSError, ValueError):
        return []
    return sorted(
        {
            str(one["metadata"]["name"])
            for one in found
            if one["metadata"]["name"].startswith(incomplete)
        }
    )


def _api(ctx: Any) -> Any:
    """The cluster that the command line names."""
    from modelhandoff.cli.kubectl.api import Api
    from modelhandoff.cli.kubectl.kubeconfig import Target

    given = ctx.params if ctx is not None else {}
    return Api.connect(
        Target(
            given.get("kubeconfig") or "",
            given.get("context") or "",
            given.get("namespace") or "",
        )
    )


def complete() -> None:
    """Entry point that kubectl calls for ``kubectl handoff ...<TAB>``.

    Prints one candidate a line and, last, ``:4`` (no file names instead), as kubectl's plugins do.
    """
    from modelhandoff.cli.kubectl.app import command

    words = sys.argv[1:] or [""]
    for line in candidates(command(), words[:-1], words[-1]):
        sys.stdout.write(line + "\n")
    sys.stdout.write(":4\n")


def candidates(root: Any, words: list[str], incomplete: str) -> list[str]:
    """What may stand next on the line, each with its help after a tab."""
    found = _asker()(root, {}, "kubectl handoff", "_").get_completions(words, incomplete)
    return [f"{item.value}\t{item.help}" if item.help else str(item.value) for item in found]


def _asker() -> Any:
    """Click's completion without a shell; newer releases of typer carry click inside."""
    try:
        from typer._click import shell_completion
    except ImportError:
        from click import shell_completion  # type: ignore[no-redef]
    base: Any = shell_completion.ShellComplete
    # What a shell would need; kubectl asks with plain words.
    unused = {"source_vars": None, "get_completion_args": None, "format_completion": None}
    return type("Asker", (base,), unused)
