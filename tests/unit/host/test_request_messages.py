# SPDX-License-Identifier: Apache-2.0
"""Requests to rtnetlink are what pyroute2 makes of the same wishes.

That is another implementation, which many have tried.
"""

import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyroute2.netlink import nlmsg
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from kuryr_sriov import model
from kuryr_sriov.host import request_messages

REQUEST, ACK, EXCL, CREATE, APPEND, DUMP = 1, 4, 0x200, 0x400, 0x800, 0x300
MAC = 'fa:16:3e:00:00:07'
indexes = st.integers(1, 2**31 - 1)
names = st.text(
    'abcdefghijklmnopqrstuvwxyz0123456789', min_size=1, max_size=15
)


class VfMessage(nlmsg):
    """ifinfomsg, its VFs in bytes."""

    prefix = 'IFLA_'
    fields = ifinfmsg.fields
    nla_map = (
        (22, 'IFLA_VFINFO_LIST', 'cdata'),
        (29, 'IFLA_EXT_MASK', 'uint32'),
    )


def pyroute2s(message, kind, options, attributes=(), **fields):
    """The message in bytes."""
    message.update(fields)
    message['attrs'] = [list(each) for each in attributes]
    message['header']['type'] = kind
    message['header']['flags'] = REQUEST | options
    message.encode()
    return bytes(message.data)


@pytest.mark.parametrize(
    ('ours', 'message', 'kind'),
    [
        (request_messages.list_links, ifinfmsg, 18),
        (request_messages.list_addresses, ifaddrmsg, 22),
        (request_messages.list_routes, rtmsg, 26),
    ],
)
def test_lists(ours, message, kind):
    assert ours() == pyroute2s(message(), kind, DUMP, family=0)


@given(indexes)
def test_one_interface(index):
    assert request_messages.get_link(index) == pyroute2s(
        ifinfmsg(), 18, 0, index=index
    )
    assert request_messages.get_pf(index) == pyroute2s(
        VfMessage(), 18, 0, [('IFLA_EXT_MASK', 9)], index=index
    )


@given(
    indexes,
    st.none() | st.integers(0, 1 << 20),
    st.fixed_dictionaries(
        {},
        optional={
            'name': names,
            'mac': st.binary(min_size=6, max_size=6).map(lambda b: b.hex(':')),
            'mtu': st.integers(68, 65535),
            'alias': st.text(max_size=40).filter(lambda t: '\0' not in t),
            'up': st.booleans(),
        },
    ),
)
def test_changes_of_an_interface(index, netns, wishes):
    attributes = [
        (kind, wishes[name])
        for name, kind in (
            ('mac', 'IFLA_ADDRESS'),
            ('mtu', 'IFLA_MTU'),
            ('name', 'IFLA_IFNAME'),
            ('alias', 'IFLA_IFALIAS'),
        )
        if name in wishes
    ]
    if netns is not None:
        attributes.append(('IFLA_NET_NS_FD', netns))
    up = wishes.get('up')
    assert request_messages.set_link(index, netns, **wishes) == pyroute2s(
        ifinfmsg(),
        19,
        ACK,
        attributes,
        index=index,
        flags=1 if up else 0,
        change=0 if up is None else 1,
    )


@given(indexes, names, st.binary(max_size=64))
def test_alternative_names_and_settings_of_vfs(index, name, settings):
    inner = {'attrs': [['IFLA_ALT_IFNAME', name]]}
    assert request_messages.remove_altname(index, name) == pyroute2s(
        ifinfmsg(), 109, ACK, [('IFLA_PROP_LIST', inner)], index=index
    )
    settings += bytes(-len(settings) % 4)
    assert request_messages.set_vf(index, settings) == pyroute2s(
        VfMessage(), 19, ACK, [('IFLA_VFINFO_LIST', settings)], index=index
    )


interfaces = st.builds(
    lambda ip, length: f'{ip}/{length if ip.version == 6 else length % 33}',
    st.ip_addresses(),
    st.integers(0, 128),
)


@given(indexes, interfaces)
def test_addresses(index, text):
    interface = ipaddress.ip_interface(text)
    length, ip = interface.network.prefixlen, str(interface.ip)
    attributes = [('IFA_LOCAL', ip), ('IFA_ADDRESS', ip)]
    if interface.version == 4 and length < 31:
        broadcast = str(interface.network.broadcast_address)
        attributes.append(('IFA_BROADCAST', broadcast))
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    made = request_messages.add_address(index, text)
    assert made == pyroute2s(
        *(ifaddrmsg(), 20, ACK | CREATE | EXCL, attributes),
        family=family,
        prefixlen=length,
        index=index,
        flags=2,
    )
    told = request_messages.read_addresses([made], index)
    assert [ipaddress.ip_interface(each) for each in told] == [interface]
    assert request_messages.read_addresses([made], index + 1) == []


@pytest.mark.parametrize(
    ('destination', 'gateway', 'flags', 'more'),
    [
        ('0.0.0.0/0', '192.0.2.1', 0, ()),
        ('10.0.0.0/8', '192.0.2.1', APPEND, ('RTA_DST', '10.0.0.0')),
        ('10.9.0.0/16', '', APPEND, ('RTA_DST', '10.9.0.0')),
        ('::/0', 'fd00::1', EXCL, ('RTA_PRIORITY', 1)),
        ('fd01::/64', 'fd00::1', EXCL, ('RTA_PRIORITY', 1024 + 7)),
        ('fd02::/48', '', EXCL, ('RTA_PRIORITY', 1024 + 7)),
    ],
)
def test_routes(destination, gateway, flags, more):
    route = model.Route(destination, gateway)
    network = ipaddress.ip_network(destination)
    attributes = [('RTA_OIF', 7), *([more] if more else [])]
    if network.version == 6 and network.prefixlen:
        attributes.append(('RTA_DST', str(network.network_address)))
    if gateway:
        attributes.append(('RTA_GATEWAY', gateway))
    made = request_messages.add_route(7, route)
    assert made == pyroute2s(
        *(rtmsg(), 24, ACK | CREATE | flags, attributes),
        family=socket.AF_INET if network.version == 4 else socket.AF_INET6,
        dst_len=network.prefixlen,
        table=254,
        proto=4,
        scope=0 if gateway else 253,
        type=1,
    )


def told(destination, gateway='', oif=7, table=254, proto=4, kind=1):
    """A route as the kernel lists it."""
    network = ipaddress.ip_network(destination)
    attributes = [('RTA_TABLE', table), ('RTA_OIF', oif)]
    if network.prefixlen:
        attributes.append(('RTA_DST', str(network.network_address)))
    if gateway:
        attributes.append(('RTA_GATEWAY', gateway))
    return pyroute2s(
        *(rtmsg(), 24, 0, attributes),
        family=socket.AF_INET if network.version == 4 else socket.AF_INET6,
        dst_len=network.prefixlen,
        proto=proto,
        type=kind,
    )


def test_routes_that_are_listed():
    listed = [
        told('0.0.0.0/0', '192.0.2.1'),
        told('10.9.0.0/16'),
        told('::/0', 'fd00::1'),
        told('fd01::/64', 'fd00::1'),
    ]
    others = [
        told('10.1.0.0/16', oif=8),
        told('10.2.0.0/16', table=255),
        told('10.3.0.0/16', proto=2),
        told('10.4.0.0/16', kind=3),
    ]
    assert request_messages.read_routes([*listed, *others], 7) == [
        model.Route('0.0.0.0/0', '192.0.2.1'),
        model.Route('10.9.0.0/16'),
        model.Route('::/0', 'fd00::1'),
        model.Route('fd01::/64', 'fd00::1'),
    ]
