"""Configuration of the parts that make a node: containerd, CNI, kubelet, kube-proxy.

Pure functions from addresses and folders to texts and documents; `cluster.py` writes and starts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .addresses import Addresses
from .pauseimage import PAUSE_IMAGE

CNI_PROGRAMS = Path("/usr/lib/cni")
DNS_DOMAIN = "cluster.local"

_SETUP = """
mkdir -p /run/containerd /run/netns /var/lib/cni /var/lib/kubelet {folder}/kubelet {folder}/cni
mount -t tmpfs -o mode=0755 tmpfs /run/containerd
mount -t tmpfs -o mode=0755 tmpfs /run/netns
mount -t tmpfs -o mode=0755 tmpfs /var/log
mount --bind {folder}/cni /var/lib/cni
mount --bind {folder}/kubelet /var/lib/kubelet
mount --make-rshared /var/lib/kubelet
echo 1 > /proc/sys/net/ipv4/ip_forward
if [ -e /proc/sys/net/bridge/bridge-nf-call-iptables ]; then
  echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables
fi
"""


def setup() -> list[list[str]]:
    """Commands for the instance's own mount namespace, before any part starts.

    The folders are fixed in the programs: sockets of the shims and state of runc, network
    namespaces of pods, address files of CNI, sockets of device plugins, links to container logs. As
    mounts of this namespace they are the instance's own, and gone with it.
    """
    return [["sh", "-ec", _SETUP]]


def containerd_configuration(folder: Path, root: Path) -> str:
    """The `config.toml` (version 2) of containerd.

    Args:
        folder: the instance's, for sockets and CNI configuration.
        root: where images and containers are kept.
    """
    return f"""\
version = 2
root = "{root}"
state = "/run/containerd"
# "opt" would make a folder below /opt; the other snapshotters are probed for nothing.
disabled_plugins = [
  "io.containerd.internal.v1.opt",
  "io.containerd.snapshotter.v1.aufs",
  "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.zfs",
]

[grpc]
  address = "{folder}/containerd.sock"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  # Without CAP_SYS_RESOURCE no process may lower its score, and every sandbox would die of trying.
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{CNI_PROGRAMS}"
    conf_dir = "{folder}/cni.d"
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
"""


def cni_configuration(addresses: Addresses) -> dict[str, Any]:
    """One bridge for the node's pods; packets to elsewhere are routed, not translated."""
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [
            {
                "type": "bridge",
                "bridge": "cni0",
                "isDefaultGateway": True,
                "hairpinMode": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": str(addresses.pod_range)}]],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }


def kubelet_configuration(addresses: Addresses, folder: Path, scope: str) -> dict[str, Any]:
    """KubeletConfiguration.

    Args:
        addresses: of the instance.
        folder: of the instance.
        scope: the cgroup all pods go below; two kubelets under one would remove each other's.
    """
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(folder / "pki" / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "tlsCertFile": str(folder / "pki" / "kubelet.crt"),
        "tlsPrivateKeyFile": str(folder / "pki" / "kubelet.key"),
        "containerRuntimeEndpoint": f"unix://{folder}/containerd.sock",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{scope}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "resolvConf": "",
        "clusterDomain": DNS_DOMAIN,
        "clusterDNS": [addresses.dns_ip],
        "podLogsDir": str(folder / "logs" / "pods"),
        "oomScoreAdj": 0,
        # Images are imported, not pulled: one that was collected would never come back.
        "imageGCHighThresholdPercent": 100,
        # The disk is the machine's; how full it is says nothing about this cluster.
        "evictionHard": {
            "memory.available": "100Mi",
            "nodefs.available": "1%",
            "nodefs.inodesFree": "1%",
            "imagefs.available": "1%",
        },
        # How soon a change of GPUs shows in the node's status.
        "nodeStatusUpdateFrequency": "2s",
        "kubeAPIQPS": 200,
        "kubeAPIBurst": 400,
    }


def proxy_configuration(addresses: Addresses, folder: Path, node: str) -> dict[str, Any]:
    """KubeProxyConfiguration: iptables, the machine's connection tracking limits left alone."""
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "clientConnection": {"kubeconfig": str(folder / "proxy.kubeconfig")},
        "mode": "iptables",
        "clusterCIDR": str(addresses.pod_range),
        "hostnameOverride": node,
        "oomScoreAdj": 0,
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    }
