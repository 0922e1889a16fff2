"""A whole cluster: a control plane and one node that runs containers."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

import yaml

from . import build, imagestore, node
from .controlplane import Audit, LocalCluster
from .errors import ClusterError
from .external import ExternalCluster
from .instance import Instance, require
from .progress import SILENT, Progress
from .registry import Level

GPU = "nvidia.com/gpu"
GPU_PRODUCT = "nvidia.com/gpu.product"
_numbers = itertools.count(1)


class Cluster(LocalCluster):
    """Control plane, scheduler, containerd, kubelet and kube-proxy in namespaces of their own."""

    @classmethod
    def start(
        cls,
        name: str | None = None,
        *,
        images: Sequence[Path] = (),
        gpus: Mapping[str, int] | None = None,
        apiserver_args: Sequence[str] = (),
        audit: Audit = "writes",
        attached: bool = True,
        keep: bool = False,
        progress: Progress = SILENT,
    ) -> Self:
        """Start one and wait until its node is ready and pods can be created.

        Args:
            name: of the instance and of its node; made up when None.
            images: archives whose images the node shall have; unpacked once, then linked.
            gpus: product -> how many the node has, e.g. `{"Tesla-T4": 2}`; one product at most.
            apiserver_args: more flags for the API server.
            audit: see `controlplane.audit_policy`.
            attached: end with the calling process, however that ends.
            keep: leave what runs when the start fails, to look at it.
            progress: told about phases.

        Raises:
            ClusterError: no root, or a part did not start; its logs are kept below `logs/NAME`.
        """
        gpus = dict(gpus or {})
        if len(gpus) > 1:
            raise ClusterError(f"gpus: one product on a node; got {', '.join(gpus)}")
        require("openssl", "ip", "nsenter", "unshare", "iptables", "containerd", "ctr", "runc")
        if not (node.CNI_PROGRAMS / "bridge").exists():
            raise ClusterError(
                f"no CNI programs in {node.CNI_PROGRAMS}; run: python -m e2e.cluster prepare"
            )
        build.binaries("kube", progress=progress)
        name = name or f"c-{os.getpid()}-{next(_numbers)}"
        instance = Instance.create(
            name, Level.FULL, attached=attached, setup=node.setup(), progress=progress
        )
        try:
            self = cls(instance)
            self._start(images, apiserver_args, audit, progress)
            for product, count in gpus.items():
                with progress.phase(f"Give the node {count} x {product}"):
                    self.set_gpus(product, count)
            instance.mark_ready()
        except BaseException:
            if keep:
                instance.mark_ready()
            else:
                instance.destroy(keep_logs=True)
            raise
        return self

    def _start(
        self,
        images: Sequence[Path],
        apiserver_args: Sequence[str],
        audit: Audit,
        progress: Progress,
    ) -> None:
        with ThreadPoolExecutor(1) as pool:
            with progress.phase("Start the control plane"):
                self._write_node_files()
                # Images are mostly disk, starting the API server is mostly processor.
                containers = pool.submit(self._start_containerd, images, progress)
                self._prepare(audit, node=self.node)
                self._start_control_plane(
                    scheduler=True, controllers="*", apiserver_args=apiserver_args
                )
            with progress.phase("Start the node"):
                # A kubelet that finds no containerd or no API server ends at once, without a word.
                containers.result()
                self._start_program("kubelet", self._kubelet_arguments())
                folder = self.instance.folder
                self._start_program("kube-proxy", [f"--config={folder / 'proxy.yaml'}"])
                self.wait_node()
                self.wait_controllers()

    def _write_node_files(self) -> None:
        folder, scope = self.instance.folder, self.instance.record.scope
        (folder / "cni.d").mkdir()
        (folder / "cni.d" / "10-pods.conflist").write_text(
            json.dumps(node.cni_configuration(self.addresses))
        )
        (folder / "containerd.toml").write_text(
            node.containerd_configuration(folder, folder / "containerd")
        )
        kubelet = node.kubelet_configuration(self.addresses, folder, scope)
        (folder / "kubelet.yaml").write_text(yaml.safe_dump(kubelet))
        proxy = node.proxy_configuration(self.addresses, folder, self.node)
        (folder / "proxy.yaml").write_text(yaml.safe_dump(proxy))

    def _start_containerd(self, images: Sequence[Path], progress: Progress) -> None:
        folder = self.instance.folder
        imagestore.make(images, folder / "containerd", progress)
        config = folder / "containerd.toml"
        self.instance.start_part("containerd", ["containerd", "--config", config])
        self.instance.wait_part("containerd", self._containerd_answers, "its socket")

    def _kubelet_arguments(self) -> list[str]:
        folder = self.instance.folder
        return [
            f"--config={folder / 'kubelet.yaml'}",
            f"--kubeconfig={folder / 'kubelet-client.kubeconfig'}",
            f"--hostname-override={self.node}",
            f"--node-ip={self.node_ip}",
        ]

    def _containerd_answers(self) -> bool:
        done = subprocess.run(self._ctr("version"), capture_output=True, check=False)
        return done.returncode == 0

    def wait_node(self, timeout: float = 60) -> None:
        """Wait until the node is Ready."""

        def ready() -> bool:
            try:
                found = self.get("node", self.node)
            except ClusterError:
                return False
            conditions = found["status"].get("conditions", [])
            return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

        self.instance.wait_part("kubelet", ready, "the node to be Ready", timeout)

    # -- using

    @property
    def node(self) -> str:
        """The node's name."""
        return self.name

    @property
    def node_ip(self) -> str:
        return self.addresses.node_ip

    @property
    def dns_ip(self) -> str:
        """Address that pods ask for names; nothing answers there until an add-on does."""
        return self.addresses.dns_ip

    @property
    def pod_range(self) -> str:
        return str(self.addresses.pod_range)

    @property
    def service_range(self) -> str:
        return str(self.addresses.service_range)

    @property
    def netns(self) -> str:
        """Name of the node's network namespace."""
        return self.instance.record.scope

    def _ctr(self, *args: str | Path) -> list[str]:
        socket = self.instance.folder / "containerd.sock"
        return ["ctr", "--address", str(socket), "--namespace", "k8s.io", *map(str, args)]

    def ctr(self, *args: str | Path, timeout: float = 300) -> str:
        """Run containerd's client in the namespace of the kubelet; its output.

        Raises:
            ClusterError: it failed.
        """
        done = subprocess.run(
            self._ctr(*args), capture_output=True, text=True, timeout=timeout, check=False
        )
        if done.returncode != 0:
            raise ClusterError(f"ctr {' '.join(map(str, args))}: {done.stderr.strip()[-600:]}")
        return done.stdout

    def import_images(self, paths: Sequence[Path]) -> None:
        """Import docker or OCI archives.

        Raises:
            ClusterError: containerd refused one.
        """
        for path in paths:
            self.ctr("images", "import", path)

    def set_gpus(self, product: str, count: int, *, timeout: float = 30) -> None:
        """Give the node `count` GPUs of `product`, 0 makes them vanish; returns when in effect."""
        patch_gpus(self, product, count, timeout)

    def down(self) -> None:
        """The same as `stop`."""
        self.stop()


def patch_gpus(
    cluster: Cluster | ExternalCluster, product: str, count: int, timeout: float
) -> None:
    """Write GPUs into the node's status, which scheduler and kubelet then count like real ones."""
    node = cluster.node
    cluster.kubectl("label", "--overwrite", "node", node, f"{GPU_PRODUCT}={product}")
    patch = json.dumps({"status": {"capacity": {GPU: str(count)}}})
    cluster.kubectl("patch", "node", node, "--subresource=status", "--type=merge", "-p", patch)
    cluster.wait(
        lambda: cluster.get("node", node)["status"]["allocatable"].get(GPU) == str(count),
        f"{count} allocatable GPUs",
        timeout,
    )
