"""buildah with a store of its own, and a look at the layers it made."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from e2e.cluster.errors import ClusterError


@dataclass(frozen=True)
class BuiltLayer:
    """One layer of a built image.

    Attributes:
        identity: names the layer's content for ever.
        folder: its files as overlayfs keeps them (deleted ones are 0/0 character devices).
    """

    identity: str
    folder: Path


class Store:
    """A private buildah store below `root`; nothing else on the machine sees its images."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._graph = root / "storage"
        self._config = root / "storage.conf"
        for folder in (self._graph, root / "run", root / "tmp"):
            folder.mkdir(parents=True, exist_ok=True)
        self._config.write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'graphroot = "{self._graph}"\nrunroot = "{root / "run"}"\n'
        )
        self._policy = root / "policy.json"
        self._policy.write_text('{"default": [{"type": "insecureAcceptAnything"}]}\n')

    def build(
        self, context: Path, image: str, *, args: Mapping[str, str], target: str = ""
    ) -> None:
        """Build the Dockerfile in `context`; steps already done are taken from the cache.

        Args:
            context: folder with the Dockerfile and all it copies.
            image: name the result gets.
            args: build arguments.
            target: stop after this stage.
        """
        command = ["bud", "--layers", "--signature-policy", str(self._policy), "-t", image]
        for name, value in args.items():
            command += ["--build-arg", f"{name}={value}"]
        if target:
            command += ["--target", target]
        old = self.image_id(image)
        self._buildah([*command, str(context)])
        if old and old != self.image_id(image):
            # Frees the layer of the previous build; refused while another image stands on it.
            self._buildah(["rmi", old], may_fail=True)

    def clean(self) -> None:
        """Remove what builds that failed or were killed have left; no build may be running."""
        self._buildah(["rm", "--all"])

    def image_id(self, image: str) -> str | None:
        """The image's identity, or None when there is no such image."""
        done = self._buildah(
            ["images", "-q", "--no-trunc", "--filter", f"reference={image}"], may_fail=True
        )
        return done.strip() or None

    def config(self, image: str) -> dict[str, Any]:
        """The image's configuration in OCI form."""
        loaded: dict[str, Any] = json.loads(self._buildah(["inspect", "--type", "image", image]))
        config: dict[str, Any] = loaded["OCIv1"]
        return config

    def layers(self, image: str) -> list[BuiltLayer]:
        """The image's layers, lowest first.

        Read from the store's own index: `buildah push` would write (and compress) every layer each
        time, 20 s for a change of one file.
        """
        identity = self.image_id(image)
        images = json.loads((self._graph / "overlay-images/images.json").read_text())
        records = json.loads((self._graph / "overlay-layers/layers.json").read_text())
        by_id = {record["id"]: record for record in records}
        top = next(r.get("layer") for r in images if f"sha256:{r['id']}" == identity)
        chain: list[BuiltLayer] = []
        while top:
            record = by_id[top]
            chain.append(BuiltLayer(record["diff-digest"], self._graph / "overlay" / top / "diff"))
            top = record.get("parent")
        return chain[::-1]

    def _buildah(self, arguments: Sequence[str], *, may_fail: bool = False) -> str:
        environment = {
            **os.environ,
            "CONTAINERS_STORAGE_CONF": str(self._config),
            "BUILDAH_ISOLATION": "chroot",
            "TMPDIR": str(self._root / "tmp"),
        }
        try:
            done = subprocess.run(
                # A build that fails or is killed leaves its layers mounted; in a mount namespace of
                # its own they are gone with it.
                ["unshare", "--mount", "buildah", *arguments],
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        except FileNotFoundError as error:
            raise ClusterError("unshare is missing; run: python -m e2e.cluster prepare") from error
        if done.returncode and not may_fail:
            tail = "\n".join((done.stdout + done.stderr).splitlines()[-25:])
            raise ClusterError(
                f"buildah {' '.join(arguments[:1])} failed ({arguments[-1]}):\n{tail}"
            )
        return "" if done.returncode else done.stdout
