# SPDX-License-Identifier: Apache-2.0
"""Which addresses, MAC and gateways a request gets."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Iterator, Sequence

from kuryr_sriov import model
from kuryr_sriov.drivers.local import ip_ranges
from kuryr_sriov.drivers.local.holders import Allocations
from kuryr_sriov.drivers.local.subnets_file import LocalSubnet
from kuryr_sriov.exceptions import ProviderExhausted, ProviderRefused

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface
"""An address with its prefix."""

BASE_MAC = 'fa:16:3e'
"""Neutron's ``base_mac``: locally administered, unicast."""

MAC_TRIES = 64


def choose_addresses(
    allocations: Allocations,
    request: model.NetworkRequest,
    subnets: Sequence[LocalSubnet],
) -> tuple[Interface, ...]:
    """The addresses asked for; of each other subnet, the lowest free one.

    :raises ProviderRefused: one that was asked for cannot be had.
    :raises ProviderExhausted: a subnet's pools are used up, or somebody has
        one that was asked for.
    """
    asked = [_check_asked(request, ip, subnets) for ip in request.ips]
    if len(set(asked)) < len(asked):
        raise _wish_refused(request, 'asks for an address twice', 'ask once')
    for interface in asked:
        network = subnets[0].subnet.network
        holder = allocations.address_holder(
            network, ip_ranges.to_number(interface.ip)
        )
        if holder:
            raise _wish_taken(request, str(interface.ip), holder)
    for subnet in subnets:
        if not any(each.network == subnet.prefix for each in asked):
            asked.append(_lowest_free(allocations, subnet))
    return tuple(asked)


def _check_asked(
    request: model.NetworkRequest, text: str, subnets: Sequence[LocalSubnet]
) -> Interface:
    """The address, if its subnet lets a pod have it."""
    address, _, length = text.partition('/')
    ip = ipaddress.ip_address(address)
    for subnet in subnets:
        if ip in subnet.prefix:
            break
    else:
        raise _wish_refused(
            request,
            f'asks for {ip}, which is not in {_list_cidrs(subnets)}',
            'ask for one that is, or for none',
        )
    if length and int(length) != subnet.prefix.prefixlen:
        raise _wish_refused(
            request,
            f'asks for {text}, but the prefix of its subnet is '
            f'{subnet.prefix}',
            'leave the length out',
        )
    if ip_ranges.to_number(ip) not in ip_ranges.usable_range(subnet.prefix):
        raise _wish_refused(
            request,
            f'asks for {ip}, which no host may have in {subnet.prefix}',
            'ask for another address',
        )
    if str(ip) == subnet.subnet.gateway:
        raise _wish_refused(
            request,
            f'asks for {ip}, the gateway of subnet {subnet.subnet.id}',
            'ask for another address',
        )
    return _with_length(ip, subnet)


def _lowest_free(allocations: Allocations, subnet: LocalSubnet) -> Interface:
    ip = allocations.lowest_free(subnet.subnet.network, subnet.pools)
    if ip is None:
        raise ProviderExhausted(
            f'subnet {subnet.subnet.id} ({subnet.prefix}): all '
            f'{sum(map(ip_ranges.pool_size, subnet.pools))} addresses of its '
            'pools are in use; delete pods, or widen allocation_pools'
        )
    return _with_length(ip_ranges.to_address(ip), subnet)


def _with_length(ip: ip_ranges.Address, subnet: LocalSubnet) -> Interface:
    return ipaddress.ip_interface(f'{ip}/{subnet.prefix.prefixlen}')


def choose_mac(
    allocations: Allocations,
    pod: model.Pod,
    request: model.NetworkRequest,
    network: str,
) -> str:
    """The MAC asked for, or else one that no VIF has on any network.

    :raises ProviderRefused: the one that was asked for cannot be had.
    :raises ProviderExhausted: no free one was found, or somebody has it.
    """
    if not request.mac:
        for mac in generated_macs(pod, request.ifname):
            if not allocations.mac_holder('', mac):
                return mac
        raise ProviderExhausted(
            f'network {network}: {MAC_TRIES} generated MAC addresses are all '
            'in use; delete pods, or ask for a MAC'
        )
    octets = bytes.fromhex(request.mac.replace(':', ''))
    if octets[0] & 1 or not any(octets):
        raise _wish_refused(
            request,
            f'asks for MAC {request.mac}, which is not a unicast address',
            'make its first octet even, or ask for none',
        )
    holder = allocations.mac_holder(network, request.mac)
    if holder:
        raise _wish_taken(request, f'MAC {request.mac}', holder)
    return request.mac


def generated_macs(pod: model.Pod, ifname: str) -> Iterator[str]:
    """MACs to try for an interface, in order; always the same."""
    for count in range(MAC_TRIES):
        seed = f'{pod.uid}/{ifname}/{count}'
        octets = hashlib.sha256(seed.encode()).digest()[:3]
        yield f'{BASE_MAC}:{octets.hex(":")}'


def _list_cidrs(subnets: Sequence[LocalSubnet]) -> str:
    return ' or '.join(subnet.subnet.cidr for subnet in subnets)


def _wish_refused(
    request: model.NetworkRequest, what: str, remedy: str
) -> ProviderRefused:
    return ProviderRefused(f'{request} ({request.ifname}) {what}; {remedy}')


def _wish_taken(
    request: model.NetworkRequest, what: str, holder: object
) -> ProviderExhausted:
    return ProviderExhausted(
        f'{request} ({request.ifname}) asks for {what}, which {holder} has; '
        'ask for another, or delete that pod'
    )
