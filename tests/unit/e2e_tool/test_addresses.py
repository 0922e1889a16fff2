"""No two instances can be given the same port or address."""

from __future__ import annotations

import ipaddress
import itertools

import pytest

from e2e.cluster.addresses import FIRST_PORT, MAX_INSTANCES, Addresses, allocate
from e2e.cluster.errors import ClusterError

EPHEMERAL_FROM = 32768


def network(text: str) -> ipaddress.IPv4Network:
    return ipaddress.IPv4Network(text)


def test_no_two_instances_share_a_port_or_an_address() -> None:
    every = [Addresses(i, 200) for i in range(MAX_INSTANCES)]
    ports = [p for a in every for p in a.ports]
    assert len(set(ports)) == len(ports)
    ranges = [r for a in every for r in a.ranges]
    assert not any(a.overlaps(b) for a, b in itertools.combinations(ranges, 2))


def test_ports_stay_below_those_the_kernel_gives_to_clients() -> None:
    assert min(Addresses(0, 200).ports) == FIRST_PORT
    assert max(Addresses(MAX_INSTANCES - 1, 200).ports) < EPHEMERAL_FROM


def test_the_lowest_free_index_is_taken() -> None:
    assert allocate({0, 1, 3}, []).index == 2


def test_a_route_of_the_machine_moves_the_instance_to_other_addresses() -> None:
    busy = network("10.201.0.0/16")
    given = allocate((), [busy])
    assert given.index == 0
    assert not any(r.overlaps(busy) for r in given.ranges)


def test_a_route_to_one_instance_does_not_move_the_next() -> None:
    assert allocate({0}, Addresses(0, 200).ranges) == Addresses(1, 200)


def test_the_default_route_overlaps_nothing() -> None:
    assert allocate((), [network("0.0.0.0/0")]) == Addresses(0, 200)


def test_an_index_with_a_taken_port_is_passed_over() -> None:
    taken = Addresses(0, 200).ports[3]
    assert allocate((), [], port_free=lambda port: port != taken).index == 1


def test_when_nothing_is_free_the_error_says_how_to_make_room() -> None:
    with pytest.raises(ClusterError, match="down --all"):
        allocate((), [network("10.0.0.0/8")])


def test_well_known_addresses_lie_in_their_ranges() -> None:
    a = Addresses(7, 120)
    assert (a.host_ip, a.node_ip) == ("10.120.7.1", "10.120.7.2")
    assert str(a.pod_range) == "10.121.7.0/24"
    assert (a.api_service_ip, a.dns_ip) == ("10.122.7.1", "10.122.7.10")
