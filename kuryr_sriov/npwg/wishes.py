# SPDX-License-Identifier: Apache-2.0
"""What a pod may not choose, even where its NAD lets it choose.

Neutron holds a project's members to this; we make ports with role
``service``, for whoever may write a pod's annotation.
"""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation
from kuryr_sriov.npwg.annotation import NETWORKS

VIRTUAL_ROUTERS = '00:00:5e:00:01:', '00:00:5e:00:02:'
"""MACs of VRRP (RFC 9568, 7.3): who has one takes the routers' traffic."""


def check_wishes(request: model.NetworkRequest) -> None:
    """Refuse a choice of addresses, MAC or gateways that is not the pod's.

    :param request: with its ``subnets``.
    :raises InvalidAnnotation: naming the choice and the remedy.
    """
    for what, remedy in _find_faults(request):
        raise InvalidAnnotation(
            f'network {request} ({request.ifname}): {what}; {remedy} in the '
            f'annotation {NETWORKS}.'
        )


def _find_faults(
    request: model.NetworkRequest,
) -> Iterator[tuple[str, str]]:
    yield from _find_wrong_ips(request)
    if request.mac.lower().startswith(VIRTUAL_ROUTERS):
        yield (
            f'mac {request.mac} is one of virtual routers',
            'choose another one, or none,',
        )
    subnets = [ipaddress.ip_network(net.cidr) for net in request.subnets]
    routers = {net.gateway for net in request.subnets}
    for text in request.gateways or ():
        gateway = ipaddress.ip_address(text)
        if str(gateway) not in routers and not any(
            gateway in net for net in subnets
        ):
            yield (
                f'default-route {gateway} is not in '
                f'{" or ".join(map(str, subnets))}',
                'name a router of the subnet',
            )


def _find_wrong_ips(
    request: model.NetworkRequest,
) -> Iterator[tuple[str, str]]:
    chosen = [ipaddress.ip_interface(text).ip for text in request.ips]
    gateways = {
        ipaddress.ip_address(net.gateway): net.id
        for net in request.subnets
        if net.gateway
    }
    for address in chosen:
        if address in gateways:
            yield (
                f'{address} is the gateway of subnet {gateways[address]}',
                'choose another address',
            )
    subnets = [ipaddress.ip_network(net.cidr) for net in request.subnets]
    homes = Counter(
        net for address in chosen for net in subnets if address in net
    )
    for net, count in homes.items():
        if count > 1:
            yield (
                f'it asks for {count} addresses of {net}',
                'choose one of each subnet',
            )
