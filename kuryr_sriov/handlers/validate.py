# SPDX-License-Identifier: Apache-2.0
"""Checks of what a host passes in, before anything is done with it.

The names are those of the CNI specification 1.1.0, section 2, and of the
kernel's ``dev_valid_name()``.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Collection, Iterator, Sequence

from kuryr_sriov import exceptions, model

_CONTAINER_ID = re.compile(r'[a-zA-Z0-9][a-zA-Z0-9_.-]*', re.ASCII)
_IFNAME = re.compile(r'[^/:\s\0]{1,15}')
_MAC = re.compile('[0-9a-f]{2}(:[0-9a-f]{2}){5}', re.ASCII)
_LARGEST_VLAN, _LARGEST_QOS = 4094, 7


def check_sandbox(sandbox: model.Sandbox) -> None:
    """Refuse a sandbox that cannot be told from others.

    :raises InvalidInput: naming what is wrong.
    """
    check_container_ids([sandbox.container_id])
    if not sandbox.netns.startswith('/'):
        # An empty path is the node's own namespace to the host's calls.
        raise exceptions.InvalidInput(
            f'sandbox {sandbox.container_id} of pod {sandbox.pod} has the '
            f'network namespace {sandbox.netns!r}; pass the absolute path of '
            'CNI_NETNS',
            'netns',
        )
    pod = sandbox.pod
    if not (pod.namespace and pod.name and pod.uid):
        raise exceptions.InvalidInput(
            f'pod {pod} of sandbox {sandbox.container_id} has the uid '
            f'{pod.uid!r}; a pod is known by namespace, name and uid: pass '
            'all three',
            'pod',
        )


def check_container_ids(container_ids: Collection[str]) -> None:
    """Refuse anything that is not a container id.

    :raises InvalidInput: naming the first.
    """
    if isinstance(container_ids, str | bytes):
        raise exceptions.InvalidInput(
            f'{container_ids!r} is one string; pass a list of container ids',
            'container_id',
        )
    for container_id in container_ids:
        if not isinstance(container_id, str) or not _CONTAINER_ID.fullmatch(
            container_id
        ):
            raise exceptions.InvalidInput(
                f'{container_id!r} is no container id; pass the strings that '
                'CNI_CONTAINERID and the containerID of '
                'cni.dev/valid-attachments hold',
                'container_id',
            )


def check_vifs(vifs: Sequence[model.Vif]) -> None:
    """Refuse VIFs from which no interface can be made.

    :raises InvalidInput: naming the first that is wrong.
    """
    seen: set[str] = set()
    for vif in vifs:
        check_ifname(vif.ifname)
        if vif.ifname in seen:
            raise exceptions.InvalidInput(
                f'two VIFs are called {vif.ifname}; pass each once', 'ifname'
            )
        seen.add(vif.ifname)
        for field, value in _wrong_fields(vif):
            raise exceptions.InvalidInput(
                f'VIF {vif.id!r} for {vif.ifname} has {field} {value!r}, '
                'which no interface can have; pass it as the controller '
                'published it',
                'vif',
            )


def check_ifname(ifname: str) -> None:
    """Refuse what cannot be the name of a VF in a pod.

    :raises InvalidInput: it cannot.
    """
    if ifname in model.RESERVED_IFNAMES:
        raise exceptions.InvalidInput(
            f'{ifname} is an interface that every pod has already; ask for '
            'another name in the networks annotation (name@ifname)',
            'ifname',
        )
    if not _IFNAME.fullmatch(ifname) or ifname in ('.', '..'):
        raise exceptions.InvalidInput(
            f'{ifname!r} cannot name an interface; use 1 to 15 characters '
            'other than / and : and white space',
            'ifname',
        )


def _wrong_fields(vif: model.Vif) -> Iterator[tuple[str, object]]:
    if not (vif.id or vif.is_promise):
        yield 'id', vif.id
    if not vif.resource:
        yield 'resource', vif.resource
    if not (_MAC.fullmatch(vif.mac) or (vif.is_promise and not vif.mac)):
        yield 'mac', vif.mac
    for address in vif.addresses:
        if not _can_parse(ipaddress.ip_interface, address):
            yield 'address', address
    for gateway in vif.gateways:
        if not _can_parse(ipaddress.ip_address, gateway):
            yield 'gateway', gateway
    for route in vif.routes:
        if not _can_parse(ipaddress.ip_network, route.destination):
            yield 'route', route.destination
    if not 0 <= vif.vlan <= _LARGEST_VLAN:
        yield 'vlan', vif.vlan
    if not 0 <= vif.vlan_qos <= _LARGEST_QOS:
        yield 'vlan_qos', vif.vlan_qos
    for name in ('mtu', 'min_tx_rate', 'max_tx_rate'):
        if (getattr(vif, name) or 0) < 0:
            yield name, getattr(vif, name)


def _can_parse(parse: Callable[[str], object], text: str) -> bool:
    try:
        parse(text)
    except ValueError:
        return False
    return True
