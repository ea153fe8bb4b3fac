# SPDX-License-Identifier: Apache-2.0
"""Requests to rtnetlink as bytes, and the addresses and routes it lists.

pyroute2 writes and reads these messages. Links are read by
``link_messages``, and the settings of VFs by ``vf_settings``. Follows
``rtnetlink(7)`` and the kernel's ``net/core/rtnetlink.c``.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Any

from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl import (
    RTM_DELLINKPROP,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTM_NEWADDR,
    RTM_NEWROUTE,
    RTM_SETLINK,
)
from pyroute2.netlink.rtnl.ifaddrmsg import IFA_F_NODAD, ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kuryr_sriov import model
from kuryr_sriov.host.netlink_socket import (
    ACK,
    APPEND,
    CREATE,
    DUMP,
    EXCL,
    REQUEST,
)

# What to list with a link (linux/rtnetlink.h): its VFs, but no counters,
# which would not fit for many VFs.
RTEXT_FILTER_VF, RTEXT_FILTER_SKIP_STATS = 0x1, 0x8
RT_TABLE_MAIN = 254
RTPROT_KERNEL, RTPROT_STATIC = 2, 4
IP6_RT_PRIO_USER = 1024
UNIVERSE, RT_SCOPE_LINK = 0, 253
RTN_UNICAST = 1
FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
DEFAULTS = {socket.AF_INET: '0.0.0.0', socket.AF_INET6: '::'}


class _VfMessage(nlmsg):  # type: ignore[misc]
    """ifinfomsg, its VFs left to ``vf_settings``."""

    prefix = 'IFLA_'
    fields = ifinfmsg.fields
    nla_map = (
        (22, 'IFLA_VFINFO_LIST', 'cdata'),
        (29, 'IFLA_EXT_MASK', 'uint32'),
    )


def list_links() -> bytes:
    """All interfaces."""
    return _list_all(ifinfmsg(), RTM_GETLINK)


def list_addresses() -> bytes:
    """All addresses, of both versions."""
    return _list_all(ifaddrmsg(), RTM_GETADDR)


def list_routes() -> bytes:
    """All routes, of both versions."""
    return _list_all(rtmsg(), RTM_GETROUTE)


def get_link(index: int) -> bytes:
    """The interface with that index."""
    message = ifinfmsg()
    message['index'] = index
    return _encode(message, RTM_GETLINK, 0)


def get_pf(index: int) -> bytes:
    """The interface with that index, and what it holds for its VFs."""
    message = _VfMessage()
    message['index'] = index
    mask = RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS
    message['attrs'] = [['IFLA_EXT_MASK', mask]]
    return _encode(message, RTM_GETLINK, 0)


def set_link(
    index: int,
    netns: int | None,
    *,
    name: str = '',
    mac: str = '',
    mtu: int = 0,
    alias: str | None = None,
    up: bool | None = None,
) -> bytes:
    """Change all that is given.

    :param netns: descriptor of the namespace to move it to; None to leave
        it where it is.
    """
    wanted = {
        'IFLA_ADDRESS': mac,
        'IFLA_MTU': mtu,
        'IFLA_IFNAME': name,
    }
    attributes: list[Any] = [[k, v] for k, v in wanted.items() if v]
    if alias is not None:
        attributes.append(['IFLA_IFALIAS', alias])
    if netns is not None:
        # By descriptor: a PID could be another process's by now.
        attributes.append(['IFLA_NET_NS_FD', netns])
    message = ifinfmsg()
    message['index'] = index
    # With flags and mask 0 the kernel leaves the flags alone (do_setlink).
    message['flags'] = IFF_UP if up else 0
    message['change'] = 0 if up is None else IFF_UP
    message['attrs'] = attributes
    return _encode(message, RTM_SETLINK, ACK)


def remove_altname(index: int, name: str) -> bytes:
    """Remove an alternative name of an interface."""
    message = ifinfmsg()
    message['index'] = index
    names = {'attrs': [['IFLA_ALT_IFNAME', name]]}
    message['attrs'] = [['IFLA_PROP_LIST', names]]
    return _encode(message, RTM_DELLINKPROP, ACK)


def set_vf(pf_index: int, settings: bytes) -> bytes:
    """Set what a PF holds for a VF, as ``vf_settings`` encodes it."""
    message = _VfMessage()
    message['index'] = pf_index
    message['attrs'] = [['IFLA_VFINFO_LIST', settings]]
    return _encode(message, RTM_SETLINK, ACK)


def add_address(index: int, address: str) -> bytes:
    """Add an address (with prefix), usable at once; no DAD."""
    interface = ipaddress.ip_interface(address)
    ip = str(interface.ip)
    message = ifaddrmsg()
    message['family'] = FAMILIES[interface.version]
    message['prefixlen'] = interface.network.prefixlen
    # Else IPv6 addresses are tentative for a second, and no program can bind
    # to them. The provider has given each to one port only.
    message['flags'] = IFA_F_NODAD
    message['index'] = index
    # An IFA_ADDRESS of its own would be that of a peer.
    message['attrs'] = [['IFA_LOCAL', ip], ['IFA_ADDRESS', ip]]
    if interface.version == 4 and interface.network.prefixlen < 31:
        # ip(8) adds it, but the kernel does not. A /31 has none (RFC 3021).
        broadcast = str(interface.network.broadcast_address)
        message['attrs'].append(['IFA_BROADCAST', broadcast])
    return _encode(message, RTM_NEWADDR, ACK | CREATE | EXCL)


def add_route(index: int, route: model.Route) -> bytes:
    """Add a route through the interface, beside those of others.

    A default route comes before any other, any other route after those
    that are there.
    """
    network = ipaddress.ip_network(route.destination)
    is_default = not network.prefixlen
    message = rtmsg()
    message['family'] = FAMILIES[network.version]
    message['dst_len'] = network.prefixlen
    message['table'] = RT_TABLE_MAIN
    message['proto'] = RTPROT_STATIC
    # A gateway has to be reached by a route of a narrower scope
    # (fib_check_nh).
    message['scope'] = UNIVERSE if route.gateway else RT_SCOPE_LINK
    message['type'] = RTN_UNICAST
    message['attrs'] = [['RTA_OIF', index]]
    flags = ACK | CREATE
    if network.version == 6:
        # Routes of the same metric would share the traffic (ECMP). Those
        # without have 1024 (IP6_RT_PRIO_USER); 1 precedes them all.
        flags |= EXCL
        metric = 1 if is_default else IP6_RT_PRIO_USER + index
        message['attrs'].append(['RTA_PRIORITY', metric])
    elif not is_default:
        # Without the flag, a route precedes its equals (fib_table_insert),
        # which no metric could do: they have 0.
        flags |= APPEND
    if network.prefixlen:
        destination = str(network.network_address)
        message['attrs'].append(['RTA_DST', destination])
    if route.gateway:
        message['attrs'].append(['RTA_GATEWAY', route.gateway])
    return _encode(message, RTM_NEWROUTE, flags)


def read_addresses(listed: Iterable[bytes], index: int) -> list[str]:
    """Global addresses of an interface, with prefix, of those listed."""
    found = []
    for data in listed:
        message = _decode(ifaddrmsg, data)
        if (message['index'], message['scope']) == (index, UNIVERSE):
            # IPv6 has IFA_LOCAL only where there is a peer
            # (inet6_fill_ifaddr).
            local = message.get_attr('IFA_LOCAL')
            address = local or message.get_attr('IFA_ADDRESS')
            found.append(f'{address}/{message["prefixlen"]}')
    return found


def read_routes(listed: Iterable[bytes], index: int) -> list[model.Route]:
    """Routes through an interface, of those listed, but the on-link ones."""
    found = []
    for data in listed:
        message = _decode(rtmsg, data)
        if (
            message.get_attr('RTA_OIF') == index
            and message.get_attr('RTA_TABLE') == RT_TABLE_MAIN
            # The kernel adds the on-link prefix of each address by itself.
            and message['proto'] != RTPROT_KERNEL
            and message['type'] == RTN_UNICAST
        ):
            default = DEFAULTS[message['family']]
            prefix = message.get_attr('RTA_DST') or default
            gateway = message.get_attr('RTA_GATEWAY') or ''
            destination = f'{prefix}/{message["dst_len"]}'
            found.append(model.Route(destination, gateway))
    return found


def _list_all(message: Any, kind: int) -> bytes:
    # Sets the whole fixed part: without it IPv6 routes are left out.
    message['family'] = socket.AF_UNSPEC
    return _encode(message, kind, DUMP)


def _encode(message: Any, kind: int, flags: int) -> bytes:
    message['header']['type'] = kind
    message['header']['flags'] = REQUEST | flags
    message.encode()
    return bytes(message.data)


def _decode(kind: Any, data: bytes) -> Any:
    message = kind(data)
    message.decode()
    return message
