# SPDX-License-Identifier: Apache-2.0
"""What a container runtime is answered: CNI results and error objects.

CNI specification 1.1.0, "Section 5: Result Types", and what versions before
it had otherwise.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from kuryr_sriov import (
    AttachedVif,
    ConfigurationError,
    DeviceMissing,
    Drifted,
    InvalidAnnotation,
    InvalidInput,
    KernelError,
    LedgerError,
    NotAllocated,
    PluginError,
    ProviderRefused,
    TransientError,
    UnsupportedSetting,
)
from kuryr_sriov_daemon.node.cni_request import (
    CONFIG,
    ENVIRONMENT,
    CniError,
)

TRY_AGAIN_LATER = 11
NOT_AVAILABLE = 50
INTERNAL = 999
"""A defect of ours."""

CODES: tuple[tuple[type[Exception], int], ...] = (
    (TransientError, TRY_AGAIN_LATER),
    (ConfigurationError, CONFIG),
    (InvalidInput, ENVIRONMENT),
    (InvalidAnnotation, 101),
    (NotAllocated, 102),
    (DeviceMissing, 103),
    (UnsupportedSetting, 104),
    (KernelError, 105),
    (Drifted, 106),
    (ProviderRefused, 107),
    (LedgerError, 108),
    (PluginError, 109),
)
"""CNI's code of each error; those from 100 on are a plugin's own."""

OTHER = 100


def code_of(error: BaseException) -> int:
    """CNI's code of an error."""
    if isinstance(error, CniError):
        return error.code
    for kind, code in CODES:
        if isinstance(error, kind):
            return code
    return OTHER


def error_object(version: str, code: int, message: str) -> dict[str, Any]:
    """A CNI error object."""
    return {'cniVersion': version, 'code': code, 'msg': message}


def result_of(
    version: str,
    attached: Sequence[AttachedVif],
    netns: str,
    previous: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The result of ADD.

    :param previous: the result of the plugins before this one, to which
        our interfaces and addresses are added. Its routes and its DNS are
        those of the pod, and stay; without one they are ours.
    """
    before = dict(previous or {})
    interfaces = list(before.get('interfaces') or ())
    ips = list(before.get('ips') or ())
    for each in attached:
        ips += _ip_entries(version, each, len(interfaces))
        interfaces.append(_interface_entry(version, each, netns))
    added = {'interfaces': interfaces, 'ips': ips}
    result = {**before, 'cniVersion': version}
    result |= {key: value for key, value in added.items() if value}
    if previous is None:
        result |= {
            'routes': [
                route for each in attached for route in _route_entries(each)
            ],
            'dns': _dns_entry(attached),
        }
    return result


def _interface_entry(
    version: str, attached: AttachedVif, netns: str
) -> dict[str, Any]:
    """An entry of ``interfaces``; before 1.1.0 they had no ``pciID``.

    A VF that a userspace driver has is no interface in the sandbox, and is
    listed as if it were: Multus leaves out what has no sandbox.
    """
    vif = attached.vif
    interface: dict[str, Any] = {
        'name': vif.ifname,
        'mac': vif.mac,
        'sandbox': netns,
    }
    if version >= '1.1.0':
        interface['pciID'] = attached.location.pci_slot
        if vif.mtu:
            interface['mtu'] = vif.mtu
    return interface


def _ip_entries(
    version: str, attached: AttachedVif, interface: int
) -> list[dict[str, Any]]:
    addresses = []
    for text in attached.vif.addresses:
        network = ipaddress.ip_interface(text).network
        gateway = next(
            (
                gateway
                for gateway in attached.vif.gateways
                if ipaddress.ip_address(gateway) in network
            ),
            '',
        )
        address: dict[str, Any] = {'address': text, 'interface': interface}
        if gateway:
            address['gateway'] = gateway
        # CNI 1.0.0 removed it.
        if version < '1.0.0':
            address['version'] = str(network.version)
        addresses.append(address)
    return addresses


def _route_entries(attached: AttachedVif) -> list[dict[str, Any]]:
    routes = [
        {'dst': route.destination, 'gw': route.gateway}
        for route in attached.vif.routes
    ]
    for gateway in attached.vif.gateways:
        v4 = ipaddress.ip_address(gateway).version == 4
        routes.append({'dst': '0.0.0.0/0' if v4 else '::/0', 'gw': gateway})
    return [
        {key: value for key, value in route.items() if value}
        for route in routes
    ]


def _dns_entry(attached: Sequence[AttachedVif]) -> dict[str, Any]:
    servers = dict.fromkeys(
        server for each in attached for server in each.vif.dns
    )
    return {'nameservers': list(servers)} if servers else {}
