# SPDX-License-Identifier: Apache-2.0
"""The YAML file that says which subnets there are.

::

    subnets:
    - id: 5b0e8d7e-4b1f-4d0c-9d43-6f2e8f3f6c22
      network: vlan-sriov-net-1
      physnet: physnet22
      cidr: 192.168.2.0/24
      gateway: 192.168.2.1                      # optional, as all below
      vlan: 3501
      mtu: 1500
      allocation_pools:
      - {start: 192.168.2.10, end: 192.168.2.200}
      dns: [192.168.2.1]
      routes:
      - {destination: 10.0.0.0/8, gateway: 192.168.2.254}

Subnets of one network share physnet, VLAN and MTU. Without
``allocation_pools`` every address of the prefix is given out but the
gateway's and those that no host may have.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.config import yaml_file
from kuryr_sriov.drivers.local import ip_ranges, yaml_fields
from kuryr_sriov.drivers.local.yaml_fields import Fields

MIN_MTU, MIN_MTU_IPV6, MAX_MTU = 68, 1280, 65535
"""RFC 791, RFC 8200, and the largest of an IPv4 packet."""


@dataclass(frozen=True, slots=True)
class LocalSubnet:
    """A subnet of the file.

    :param pools: what is given out by itself, as numbers of ``addresses``.
    """

    subnet: model.Subnet
    prefix: ip_ranges.Prefix
    pools: tuple[range, ...]


def read_subnets(path: str) -> Mapping[str, LocalSubnet]:
    """The file's subnets by id.

    :raises ConfigurationError: listing every mistake.
    """
    problems: list[str] = []
    top = Fields(_parse_file(path), path, problems)
    ids: set[str] = set()
    read = [_read_subnet(entry, ids) for entry in top.each('subnets')]
    top.finish()
    if not read and not problems:
        top.wrong('there are no subnets; add some under "subnets:"')
    found = [each for each in read if each]
    for one, two in itertools.combinations(found, 2):
        _check_pair(top, one, two)
    if problems:
        raise exceptions.ConfigurationError(problems)
    return {each.subnet.id: each for each in found}


def _parse_file(path: str) -> dict[Any, Any]:
    try:
        content = yaml_file.read_yaml(path)
    except OSError as error:
        problem = (
            f'[sriov_local] subnets_file {path}: {error.strerror}; point the '
            'option at a file that this process can read'
        )
        raise exceptions.ConfigurationError([problem]) from error
    return content if isinstance(content, dict) else {}


def _read_subnet(entry: Fields, ids: set[str]) -> LocalSubnet | None:
    """The entry, with gaps where it is wrong; None without a prefix."""
    identifier = entry.need('id', yaml_fields.to_text) or ''
    if identifier:
        entry.where += f' ({identifier})'
        if identifier in ids:
            entry.wrong('another subnet has this id; give each its own')
        ids.add(identifier)
    network = entry.need('network', yaml_fields.to_text) or ''
    physnet = entry.need('physnet', yaml_fields.to_text) or ''
    prefix = entry.need('cidr', yaml_fields.to_prefix)
    gateway = entry.take('gateway', yaml_fields.to_address, None)
    vlan = entry.take('vlan', yaml_fields.to_number(0, 4094), 0)
    mtu = entry.take('mtu', yaml_fields.to_number(MIN_MTU, MAX_MTU), 0)
    dns = entry.several('dns', yaml_fields.to_address)
    ranges = [
        _read_pool(each, prefix) for each in entry.each('allocation_pools')
    ]
    routes = tuple(_read_route(each) for each in entry.each('routes'))
    entry.finish()
    if prefix is None:
        return None
    if prefix.version == 6 and 0 < mtu < MIN_MTU_IPV6:
        entry.wrong(f'mtu {mtu}: IPv6 needs {MIN_MTU_IPV6} or more')
    pools = tuple(filter(None, ranges)) or (ip_ranges.usable_range(prefix),)
    _check_disjoint(entry, pools)
    if gateway is not None:
        _check_gateway(entry, prefix, gateway)
        pools = ip_ranges.without_address(pools, ip_ranges.to_number(gateway))
    if not pools:
        entry.wrong('no address is left for pods; enlarge the pools or cidr')
    subnet = model.Subnet(
        identifier,
        network,
        physnet,
        str(prefix),
        gateway=str(gateway or ''),
        vlan=vlan,
        mtu=mtu,
        routes=routes,
        dns=tuple(map(str, dns)),
    )
    return LocalSubnet(subnet, prefix, pools)


def _read_pool(entry: Fields, prefix: ip_ranges.Prefix | None) -> range | None:
    start = entry.need('start', yaml_fields.to_address)
    end = entry.need('end', yaml_fields.to_address)
    entry.finish()
    if start is None or end is None or prefix is None:
        return None
    usable = ip_ranges.usable_range(prefix)
    pool = range(ip_ranges.to_number(start), ip_ranges.to_number(end) + 1)
    if not pool:
        entry.wrong(f'end {end} is before start {start}; swap them')
        return None
    if pool[0] not in usable or pool[-1] not in usable:
        entry.wrong(
            f'{start} to {end} is not within what hosts may have of '
            f'{prefix}: {ip_ranges.to_address(usable.start)} to '
            f'{ip_ranges.to_address(usable.stop - 1)}'
        )
        return None
    return pool


def _read_route(entry: Fields) -> model.Route:
    destination = entry.need('destination', yaml_fields.to_prefix)
    gateway = entry.take('gateway', yaml_fields.to_address, None)
    entry.finish()
    if destination and gateway and destination.version != gateway.version:
        entry.wrong(
            f'destination {destination} and gateway {gateway} are of '
            'different IP versions'
        )
    return model.Route(str(destination), str(gateway or ''))


def _check_disjoint(entry: Fields, pools: Sequence[range]) -> None:
    ordered = sorted(pools, key=lambda pool: pool.start)
    for one, two in itertools.pairwise(ordered):
        if two.start < one.stop:
            entry.wrong(
                'allocation_pools overlap at '
                f'{ip_ranges.to_address(two.start)}; give each address once'
            )


def _check_gateway(
    entry: Fields, prefix: ip_ranges.Prefix, gateway: ip_ranges.Address
) -> None:
    """In the prefix; a router's link-local address will do for IPv6."""
    if gateway.version == prefix.version == 6 and gateway.is_link_local:
        return
    if ip_ranges.to_number(gateway) not in ip_ranges.usable_range(prefix):
        entry.wrong(
            f'gateway {gateway} is no address that a host may have in '
            f'{prefix}; correct it, or leave it out'
        )


def _check_pair(top: Fields, one: LocalSubnet, two: LocalSubnet) -> None:
    """Whether two subnets can be in one file."""
    a, b = one.subnet, two.subnet
    if not (a.network and b.network and a.physnet and b.physnet):
        return  # reported already
    both = f'subnets {a.id} and {b.id}'
    same_wire = (a.physnet, a.vlan) == (b.physnet, b.vlan)
    if a.network != b.network:
        if same_wire:
            top.wrong(
                f'{both} are on networks {a.network} and {b.network}, but '
                f'both on VLAN {a.vlan} of {a.physnet}: that is one network'
            )
    elif not same_wire or a.mtu != b.mtu:
        top.wrong(
            f'{both} of network {a.network} differ in physnet, vlan or mtu; '
            'a network has one of each'
        )
    elif one.prefix.overlaps(two.prefix):
        top.wrong(
            f'{both} of network {a.network} overlap: {a.cidr} and {b.cidr}; '
            'correct one cidr'
        )
