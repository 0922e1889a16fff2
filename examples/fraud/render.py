"""Fill in ``handoff.yaml`` for one of the trained versions.

Writes the YAML to standard output; ``--help`` shows the options.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from string import Template

TEMPLATE = Path(__file__).with_name("handoff.yaml")


def render(models: Path, directory: str, *, uri: str, image: str, namespace: str, repo: str) -> str:
    """The handoff of one version as YAML.

    Args:
        models: what ``train.py --out`` wrote.
        directory: ``v1`` to ``v5``.
        uri: where the version's files can be fetched, without a trailing slash.
        image: serving image, pinned by digest.
        namespace: of the handoff.
        repo: address of the Git repository the commit belongs to.
    """
    index = json.loads((models / "index.json").read_text(encoding="utf-8"))
    entry = index["versions"][directory]
    digest = {name: file["digest"] for name, file in entry["files"].items()}
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        namespace=namespace,
        version=entry["version"],
        uri=uri,
        model_digest=digest["model.onnx"],
        reference_digest=digest["reference.json"],
        golden_digest=digest["golden.jsonl"],
        api_digest=digest["api.json"],
        card_digest=digest["card.md"],
        environment_digest=digest["requirements.lock"],
        sbom_digest=digest["sbom.json"],
        repo=repo,
        commit=index["commit"],
        seed=index["seed"],
        image=image,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description="Render the handoff of one trained version.")
    parser.add_argument("--models", type=Path, required=True)
    parser.add_argument("--version", required=True, choices=["v1", "v2", "v3", "v4", "v5"])
    parser.add_argument("--uri", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--namespace", default="payments")
    parser.add_argument("--repo", default="https://git.example/fraud")
    args = parser.parse_args()
    print(
        render(
            args.models,
            args.version,
            uri=args.uri.rstrip("/"),
            image=args.image,
            namespace=args.namespace,
            repo=args.repo,
        ),
        end="",
    )


if __name__ == "__main__":
    main()
