"""The network namespace of an instance and its one cable to the machine."""

from __future__ import annotations

import ipaddress
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path

from .addresses import Addresses, Network
from .errors import ClusterError

PREFIX = "mh-"
"""First letters of every network namespace, link and cgroup that the tool makes."""


def _ip(*args: str, batch: Sequence[str] = (), check: bool = True) -> str:
    command = ["ip", *args]
    if batch:
        command += ["-batch", "-"]
    done = subprocess.run(
        command, input="\n".join(batch), capture_output=True, text=True, check=False
    )
    if check and done.returncode != 0:
        raise ClusterError(f"{' '.join(command)} failed: {done.stderr.strip()}")
    return done.stdout


def routes() -> list[Network]:
    """Destinations that the machine has routes to, the default route left out."""
    found = json.loads(_ip("-4", "-json", "route") or "[]")
    return [ipaddress.IPv4Network(r["dst"]) for r in found if r["dst"] != "default"]


def links() -> list[str]:
    return [entry["ifname"] for entry in json.loads(_ip("-json", "link") or "[]")]


def indexes_in_use() -> set[int]:
    """Indexes that links of this machine show as taken, whoever made them."""
    return {int(n[len(PREFIX) :]) for n in links() if n.startswith(PREFIX) and n[3:].isdigit()}


def namespaces() -> list[str]:
    """Named network namespaces that this tool made."""
    folder = Path("/run/netns")
    if not folder.is_dir():
        return []
    return sorted(p.name for p in folder.iterdir() if p.name.startswith(PREFIX))


def create(scope: str, link: str, addresses: Addresses) -> None:
    """A namespace whose `eth0` is the other end of `link`, and routes to pods and Services."""
    _ip("netns", "add", scope)
    _ip(
        batch=[
            f"link add {link} type veth peer name eth0 netns {scope}",
            f"address add {addresses.host_ip}/24 dev {link}",
            f"link set {link} up",
        ]
    )
    _ip(
        "-n",
        scope,
        batch=[
            "link set lo up",
            f"address add {addresses.node_ip}/24 dev eth0",
            "link set eth0 up",
            f"route add default via {addresses.host_ip}",
        ],
    )
    _ip(
        batch=[
            f"route add {addresses.pod_range} via {addresses.node_ip}",
            f"route add {addresses.service_range} via {addresses.node_ip}",
        ]
    )


def remove(scope: str, link: str | None) -> None:
    """Remove both; nothing happens when they do not exist."""
    if link is not None:
        _ip("link", "delete", link, check=False)
    if (Path("/run/netns") / scope).exists():
        _ip("netns", "delete", scope)
