# SPDX-License-Identifier: Apache-2.0
"""Requests to rtnetlink as bytes, and the addresses and routes it lists.

By hand: a library that knows all of rtnetlink takes longer to be imported
than a VF takes to be attached. Links are read by ``link_messages``, and the
settings of VFs by ``vf_settings``. Follows ``rtnetlink(7)`` and the kernel's
``net/core/rtnetlink.c``.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterable

from kuryr_sriov import model
from kuryr_sriov.host import link_messages
from kuryr_sriov.host.link_messages import (
    HEADER,
    IFF_UP,
    encode_attribute,
    split_attributes,
)
from kuryr_sriov.host.netlink_socket import (
    ACK,
    APPEND,
    CREATE,
    DUMP,
    EXCL,
    REQUEST,
)

# linux/rtnetlink.h
RTM_GETLINK, RTM_SETLINK, RTM_DELLINKPROP = 18, 19, 109
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
# struct ifinfomsg, struct ifaddrmsg, struct rtmsg
_LINK = struct.Struct('=BxHiII')
_ADDRESS = struct.Struct('=BBBBI')
_ROUTE = struct.Struct('=BBBBBBBBI')
_NUMBER = struct.Struct('=I')

# linux/if_link.h
IFLA_NET_NS_FD, IFLA_EXT_MASK = 28, 29
NESTED = 0x8000
# linux/if_addr.h
IFA_ADDRESS, IFA_LOCAL, IFA_BROADCAST = 1, 2, 4
IFA_F_NODAD = 0x02
# linux/rtnetlink.h
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY, RTA_TABLE = 1, 4, 5, 6, 15

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


def list_links() -> bytes:
    """All interfaces."""
    return _encode(RTM_GETLINK, DUMP, _LINK.pack(0, 0, 0, 0, 0))


def list_addresses() -> bytes:
    """All addresses, of both versions."""
    return _encode(RTM_GETADDR, DUMP, _ADDRESS.pack(0, 0, 0, 0, 0))


def list_routes() -> bytes:
    """All routes, of both versions."""
    # The whole fixed part: without it IPv6 routes are left out.
    return _encode(RTM_GETROUTE, DUMP, _ROUTE.pack(*[0] * 9))


def get_link(index: int) -> bytes:
    """The interface with that index."""
    return _encode(RTM_GETLINK, 0, _LINK.pack(0, 0, index, 0, 0))


def get_pf(index: int) -> bytes:
    """The interface with that index, and what it holds for its VFs."""
    mask = RTEXT_FILTER_VF | RTEXT_FILTER_SKIP_STATS
    return _encode(
        RTM_GETLINK,
        0,
        _LINK.pack(0, 0, index, 0, 0),
        (IFLA_EXT_MASK, _NUMBER.pack(mask)),
    )


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
    attributes = []
    if mac:
        attributes.append(
            (link_messages.ADDRESS, bytes.fromhex(mac.replace(':', '')))
        )
    if mtu:
        attributes.append((link_messages.MTU, _NUMBER.pack(mtu)))
    if name:
        attributes.append((link_messages.IFNAME, _text(name)))
    if alias is not None:
        attributes.append((link_messages.IFALIAS, _text(alias)))
    if netns is not None:
        # By descriptor: a PID could be another process's by now.
        attributes.append((IFLA_NET_NS_FD, _NUMBER.pack(netns)))
    # With flags and mask 0 the kernel leaves the flags alone (do_setlink).
    flags, mask = IFF_UP if up else 0, 0 if up is None else IFF_UP
    fixed = _LINK.pack(0, 0, index, flags, mask)
    return _encode(RTM_SETLINK, ACK, fixed, *attributes)


def remove_altname(index: int, name: str) -> bytes:
    """Remove an alternative name of an interface."""
    names = encode_attribute(link_messages.ALT_IFNAME, _text(name))
    return _encode(
        RTM_DELLINKPROP,
        ACK,
        _LINK.pack(0, 0, index, 0, 0),
        (link_messages.PROP_LIST | NESTED, names),
    )


def set_vf(pf_index: int, settings: bytes) -> bytes:
    """Set what a PF holds for a VF, as ``vf_settings`` encodes it."""
    return _encode(
        RTM_SETLINK,
        ACK,
        _LINK.pack(0, 0, pf_index, 0, 0),
        (link_messages.VFINFO_LIST, settings),
    )


def add_address(index: int, address: str) -> bytes:
    """Add an address (with prefix), usable at once; no DAD."""
    interface = ipaddress.ip_interface(address)
    network = interface.network
    # Without the flag IPv6 addresses are tentative for a second, and no
    # program can bind to them. The provider has given each to one port only.
    fixed = _ADDRESS.pack(
        *(FAMILIES[interface.version], network.prefixlen),
        *(IFA_F_NODAD, UNIVERSE, index),
    )
    # An IFA_ADDRESS of its own would be that of a peer.
    ip = interface.ip.packed
    attributes = [(IFA_LOCAL, ip), (IFA_ADDRESS, ip)]
    if interface.version == 4 and network.prefixlen < 31:
        # ip(8) adds it, but the kernel does not. A /31 has none (RFC 3021).
        attributes.append((IFA_BROADCAST, network.broadcast_address.packed))
    return _encode(RTM_NEWADDR, ACK | CREATE | EXCL, fixed, *attributes)


def add_route(index: int, route: model.Route) -> bytes:
    """Add a route through the interface, beside those of others.

    A default route comes before any other, any other route after those
    that are there.
    """
    network = ipaddress.ip_network(route.destination)
    is_default = not network.prefixlen
    # A gateway has to be reached by a route of a narrower scope
    # (fib_check_nh).
    scope = UNIVERSE if route.gateway else RT_SCOPE_LINK
    fixed = _ROUTE.pack(
        *(FAMILIES[network.version], network.prefixlen, 0, 0),
        *(RT_TABLE_MAIN, RTPROT_STATIC, scope, RTN_UNICAST, 0),
    )
    attributes = [(RTA_OIF, _NUMBER.pack(index))]
    flags = ACK | CREATE
    if network.version == 6:
        # Routes of the same metric would share the traffic (ECMP). Those
        # without have 1024 (IP6_RT_PRIO_USER); 1 precedes them all.
        flags |= EXCL
        metric = 1 if is_default else IP6_RT_PRIO_USER + index
        attributes.append((RTA_PRIORITY, _NUMBER.pack(metric)))
    elif not is_default:
        # Without the flag, a route precedes its equals (fib_table_insert),
        # which no metric could do: they have 0.
        flags |= APPEND
    if network.prefixlen:
        attributes.append((RTA_DST, network.network_address.packed))
    if route.gateway:
        gateway = ipaddress.ip_address(route.gateway)
        attributes.append((RTA_GATEWAY, gateway.packed))
    return _encode(RTM_NEWROUTE, flags, fixed, *attributes)


def read_addresses(listed: Iterable[bytes], index: int) -> list[str]:
    """Global addresses of an interface, with prefix, of those listed."""
    found = []
    for data in listed:
        family, prefixlen, _, scope, owner = _ADDRESS.unpack_from(
            data, HEADER.size
        )
        if (owner, scope) == (index, UNIVERSE):
            told = dict(split_attributes(data[HEADER.size + _ADDRESS.size :]))
            # IPv6 has IFA_LOCAL only where there is a peer
            # (inet6_fill_ifaddr).
            packed = told.get(IFA_LOCAL) or told[IFA_ADDRESS]
            found.append(f'{socket.inet_ntop(family, packed)}/{prefixlen}')
    return found


def read_routes(listed: Iterable[bytes], index: int) -> list[model.Route]:
    """Routes through an interface, of those listed, but the on-link ones."""
    found = []
    for data in listed:
        family, length, _, _, _, protocol, _, kind, _ = _ROUTE.unpack_from(
            data, HEADER.size
        )
        told = dict(split_attributes(data[HEADER.size + _ROUTE.size :]))
        if (
            told.get(RTA_OIF) == _NUMBER.pack(index)
            and told.get(RTA_TABLE) == _NUMBER.pack(RT_TABLE_MAIN)
            # The kernel adds the on-link prefix of each address by itself.
            and protocol != RTPROT_KERNEL
            and kind == RTN_UNICAST
        ):
            prefix, gateway = (
                socket.inet_ntop(family, told[each]) if each in told else ''
                for each in (RTA_DST, RTA_GATEWAY)
            )
            destination = f'{prefix or DEFAULTS[family]}/{length}'
            found.append(model.Route(destination, gateway))
    return found


def _text(value: str) -> bytes:
    return value.encode() + b'\0'


def _encode(
    kind: int, flags: int, fixed: bytes, *attributes: tuple[int, bytes]
) -> bytes:
    body = fixed + b''.join(encode_attribute(*each) for each in attributes)
    length = HEADER.size + len(body)
    return HEADER.pack(length, kind, REQUEST | flags, 0, 0) + body
