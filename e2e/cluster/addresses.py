"""Which ports and address ranges an instance may use.

Every instance has a small index, unique on the machine for one user, and everything else follows
from it: instances cannot collide, and an address in a log tells which instance it belongs to.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from .errors import ClusterError

MAX_INSTANCES = 128
# Below the kernel's range for outgoing connections (32768 and up), so no
# client on the machine can take a port between its allocation and its use.
FIRST_PORT = 21000
PORTS_PER_INSTANCE = 8

Network = ipaddress.IPv4Network


@dataclass(frozen=True)
class Addresses:
    """Ports and ranges of one instance."""

    index: int
    block: int
    """Second byte of the first of three neighbouring 10.x.0.0/16 blocks: nodes, pods, Services."""

    @property
    def ports(self) -> range:
        """The loopback ports of an instance without a network namespace."""
        first = FIRST_PORT + self.index * PORTS_PER_INSTANCE
        return range(first, first + PORTS_PER_INSTANCE)

    @property
    def node_range(self) -> Network:
        return Network((f"10.{self.block}.{self.index}.0", 24))

    @property
    def pod_range(self) -> Network:
        return Network((f"10.{self.block + 1}.{self.index}.0", 24))

    @property
    def service_range(self) -> Network:
        return Network((f"10.{self.block + 2}.{self.index}.0", 24))

    @property
    def host_ip(self) -> str:
        return str(self.node_range[1])

    @property
    def node_ip(self) -> str:
        return str(self.node_range[2])

    @property
    def api_service_ip(self) -> str:
        return str(self.service_range[1])

    @property
    def dns_ip(self) -> str:
        return str(self.service_range[10])

    @property
    def ranges(self) -> tuple[Network, Network, Network]:
        return (self.node_range, self.pod_range, self.service_range)


def allocate(
    used: Collection[int],
    routes: Iterable[Network],
    *,
    port_free: object = None,
    blocks: Iterable[int] = (200, 120, 60, 230),
) -> Addresses:
    """The lowest free index and the first block that no route of the machine overlaps.

    Args:
        used: indexes of instances that exist.
        routes: destinations the machine already has routes to.
        port_free: `callable(port) -> bool`; an index with a taken port is passed over.
        blocks: candidates for `Addresses.block`, in order of preference.

    Raises:
        ClusterError: nothing is free.
    """
    taken = [r for r in routes if r.prefixlen > 0]
    blocks = tuple(blocks)
    for index in range(MAX_INSTANCES):
        if index in used:
            continue
        for block in blocks:
            candidate = Addresses(index, block)
            if any(a.overlaps(b) for a in candidate.ranges for b in taken):
                continue
            if callable(port_free) and not all(port_free(p) for p in candidate.ports):
                break
            return candidate
    raise ClusterError(
        f"no free addresses: {len(used)} instances exist, and routes of this machine overlap "
        "the rest; remove instances with: python -m e2e.cluster down --all"
    )
