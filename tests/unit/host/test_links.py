# SPDX-License-Identifier: Apache-2.0
"""Interfaces of the running kernel: veth pairs in network netns."""

import dataclasses
import errno
import os
import sys
import threading
import types
from concurrent import futures

import pytest
import xdp

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import ethtool, netns, wait, workers
from kuryr_sriov.host import links as links_module
from kuryr_sriov.host.links import Netlink
from kuryr_sriov.host.pci_functions import PciFunctions

MAC = '02:00:00:00:00:07'


@pytest.fixture
def links():
    return Netlink()


@pytest.fixture
def veth(netnses):
    """A veth pair: netns and index of one end, netns of the other."""
    return netnses.veth('va', 'vb')


def without_traits(link):
    """What a test can know of it beforehand."""
    return dataclasses.replace(link, traits=())


def addressed(links, veth, *addresses):
    here, index, _ = veth
    links.set(index, here, up=True)
    for address in addresses:
        links.add_address(index, address, here)


def test_all_in_one_request(links, veth, netnses):
    here, index, _ = veth
    there = netnses()
    links.set(
        index,
        here,
        to=there,
        name='net1',
        mac=MAC,
        mtu=1400,
        alias='ens6v0',
        up=True,
    )
    assert links.requests == {'set': 1}
    link = model.Link(index, 'net1', MAC, 1400, up=True, alias='ens6v0')
    assert without_traits(links.get(index, there)) == link


def test_what_is_not_given_stays(links, veth):
    here, index, _ = veth
    before = links.get(index, here)
    links.set(index, here, mtu=1400)
    links.set(index, here, alias='x')
    links.set(index, here, up=True)
    assert without_traits(links.get(index, here)) == model.Link(
        index, before.name, before.mac, 1400, up=True, alias='x'
    )
    links.set(index, here, alias='', up=False)
    after = links.get(index, here)
    assert after == dataclasses.replace(before, mtu=1400)


def test_a_taken_name_is_evaded_by_the_new_one(links, netnses):
    here, index, there = netnses.veth('net1', 'other')
    taken = netnses.index(there, 'other')
    links.set(taken, there, name='net1')
    links.set(index, here, to=there, name='free')
    names = {links.get(i, there).name for i in netnses.indices(there)}
    assert {'net1', 'free'} <= names


def test_a_name_that_is_taken_leaves_it_where_it_is(links, netnses):
    here, index, there = netnses.veth('net1', 'other')
    taken = netnses.index(there, 'other')
    links.set(taken, there, name='net1')
    with pytest.raises(exceptions.KernelError) as caught:
        links.set(index, here, to=there)
    assert caught.value.errno == errno.EEXIST
    assert links.get(index, here).name == 'net1'


def test_the_index_may_change_on_the_way(links, netnses):
    here, index, there = netnses.veth('va', 'vb')
    assert netnses.index(there, 'vb') == index  # both are the first there
    links.set(index, here, to=there, name='net1')
    assert links.get(index, there).name == 'vb'
    assert netnses.index(there, 'net1') != index


def test_the_kernels_own_words_are_told(links, veth):
    here, index, _ = veth
    with pytest.raises(exceptions.KernelError) as caught:
        links.set(index, here, mtu=100_000)
    assert caught.value.errno == errno.EINVAL
    assert f'set of interface {index} in {here}' in str(caught.value)
    assert 'mtu greater than device maximum' in str(caught.value)


def test_an_interface_that_is_gone(links, netnses):
    here = netnses()
    for ask in (links.get, links.set):
        with pytest.raises(exceptions.KernelError, match='is gone') as caught:
            ask(99, here)
        assert caught.value.errno == errno.ENODEV


def test_a_netns_that_is_gone(links, netnses):
    here = netnses()
    assert links.alive(here)
    netnses.delete(here)
    assert not links.alive(here)
    for ask in (
        lambda: links.find('0000:02:10.0', here),
        lambda: links.set(1, to=here),
    ):
        with pytest.raises(exceptions.KernelError) as caught:
            ask()
        assert caught.value.errno == errno.ENOENT


def test_addresses_of_both_versions_are_usable_at_once(links, veth):
    addresses = ['192.0.2.7/24', '2001:db8::7/64']
    addressed(links, veth, *addresses)
    here, index, _ = veth
    assert links.addresses(index, here) == addresses
    with netns.open_socket(here, 10, 2) as opened:
        opened.bind(('2001:db8::7', 0))  # not while it is tentative


def test_addresses_of_others_are_not_the_interfaces(links, veth, netnses):
    here, index, _ = veth
    netnses.up(here, 'lo')
    assert links.addresses(index, here) == []


@pytest.mark.parametrize('address', ['192.0.2.7/32', '192.0.2.7/31'])
def test_an_address_without_a_broadcast_address(links, veth, address):
    addressed(links, veth, address)
    here, index, _ = veth
    assert links.addresses(index, here) == [address]


def test_an_address_twice(links, veth):
    addressed(links, veth, '192.0.2.7/24')
    here, index, _ = veth
    with pytest.raises(exceptions.KernelError) as caught:
        links.add_address(index, '192.0.2.7/24', here)
    assert caught.value.errno == errno.EEXIST


def test_routes_of_both_versions_but_no_on_link_prefixes(links, veth):
    addressed(links, veth, '192.0.2.7/24', '2001:db8::7/64')
    here, index, _ = veth
    routes = [
        model.Route('0.0.0.0/0', '192.0.2.1'),
        model.Route('198.51.100.0/24'),
        model.Route('203.0.113.0/24', '192.0.2.9'),
        model.Route('2001:db8:1::/48', '2001:db8::9'),
        model.Route('::/0', '2001:db8::1'),
    ]
    for route in routes:
        links.add_route(index, route, here)
    assert set(links.routes(index, here)) == set(routes)
    assert links.routes(1, here) == []


def test_a_gateway_out_of_reach(links, veth):
    addressed(links, veth, '192.0.2.7/24')
    here, index, _ = veth
    with pytest.raises(exceptions.KernelError, match='in no subnet') as caught:
        links.add_route(index, model.Route('0.0.0.0/0', '10.9.9.1'), here)
    assert caught.value.errno == errno.ENETUNREACH


def test_what_is_moved_loses_its_addresses(links, veth, netnses):
    addressed(links, veth, '192.0.2.7/24', '2001:db8::7/64')
    here, index, _ = veth
    there = netnses()
    links.set(index, here, to=there, name='net1')
    links.set(index, there, to=here, name='va')
    assert links.addresses(index, here) == []
    assert not links.get(index, here).up


@pytest.mark.parametrize(
    ('address', 'broadcast'),
    [
        ('192.0.2.5/30', 'brd 192.0.2.7'),
        ('192.0.2.6/31', ''),
        ('192.0.2.7/32', ''),
    ],
)
def test_a_broadcast_address_is_of_a_subnet_that_has_one(
    links, veth, netnses, address, broadcast
):
    """A link of two, a /31, has none (RFC 3021)."""
    here, _, _ = veth
    addressed(links, veth, address)
    shown = netnses.ip('-n', netnses.name(here), '-4', 'addr', 'show', 'va')
    assert address in shown
    assert ('brd' in shown) == bool(broadcast)
    assert broadcast in shown


def test_the_peer_is_told_whose_the_addresses_are(links, veth, netnses):
    here, index, there = veth
    netnses.up(there, 'vb')
    links.set(index, here, mac=MAC)
    addressed(links, veth, '192.0.2.7/24', '2001:db8::7/64')
    mac = bytes.fromhex(MAC.replace(':', ''))
    with netnses.listen(there, 'vb') as peer:
        links.announce(index, ['192.0.2.7/24'], here)
        arp = peer(lambda frame: frame[12:14] == b'\x08\x06')
        assert arp[:12] == b'\xff' * 6 + mac
        assert arp[22:28] == mac
        assert arp[28:32] == arp[38:42] == bytes((192, 0, 2, 7))
        links.announce(index, ['2001:db8::7/64'], here)
        advert = peer(
            lambda frame: frame[12:14] == b'\x86\xdd' and frame[54] == 136
        )
        assert advert[:12] == bytes.fromhex('333300000001') + mac
        assert advert[-6:] == mac


def test_a_link_without_carrier_is_waited_for(links, veth, monkeypatch):
    monkeypatch.setattr(links_module, 'CARRIER_TIMEOUT', 0.05)
    addressed(links, veth, '192.0.2.7/24')
    here, index, _ = veth
    with pytest.raises(exceptions.DeviceBusy, match='carrier'):
        links.announce(index, ['192.0.2.7/24'], here)


def test_a_neighbour_learns_the_address_from_it(links, veth, netnses):
    here, index, there = veth
    on = '-n', netnses.name(there)
    multicast = 'show', 'table', 'local', 'type', 'multicast', 'dev', 'vb'
    netnses.up(there, 'vb')
    links.set(index, here, mac=MAC)
    addressed(links, veth, '2001:db8::7/64')
    # Until it has this route, the neighbour hears nothing that is for all.
    wait.wait_for(
        lambda: 'ff00::/8' in netnses.ip(*on, '-6', 'route', *multicast),
        timeout=5,
        what='the neighbour to listen',
    )
    netnses.ip(
        *on,
        'neigh',
        'add',
        '2001:db8::7',
        'lladdr',
        '02:00:00:00:00:99',
        'nud',
        'reachable',
        'dev',
        'vb',
    )
    links.announce(index, ['2001:db8::7/64'], here)
    # The frame is on its way through the other namespace's queue by now.
    wait.wait_for(
        lambda: (
            f'2001:db8::7 dev vb lladdr {MAC}'
            in netnses.ip(*on, 'neigh', 'show')
        ),
        timeout=5,
        what='the neighbour to learn the address',
    )


CHANGES = {
    'flags': ('arp', 'off'),
    'flags promiscuity': ('promisc', 'on'),
    'allmulti flags': ('allmulticast', 'on'),
    'txqueuelen': ('txqueuelen', '5'),
    'group': ('group', '9'),
    'broadcast': ('broadcast', 'ff:ff:ff:ff:ff:00'),
    'gso_max_size': ('gso_max_size', '9000'),
}


@pytest.mark.parametrize(('traits', 'change'), CHANGES.items())
def test_what_a_pod_can_change_shows_in_the_traits(
    links, veth, netnses, traits, change
):
    here, index, _ = veth
    before = links.get(index, here)
    netnses.ip('-n', netnses.name(here), 'link', 'set', 'va', *change)
    # newer kernels have gso_ipv4_max_size, which goes along
    assert set(traits.split()) <= changed(before, links.get(index, here))


def test_an_xdp_program_shows_in_the_traits(links, veth, netnses):
    here, index, _ = veth
    before = links.get(index, here)
    netnses.ip(
        *('netns', 'exec', netnses.name(here)),
        *(sys.executable, xdp.__file__, 'va'),
    )
    assert changed(before, links.get(index, here)) == {'xdp'}


def test_use_alone_changes_no_trait(links, veth, netnses):
    """Else every VF would be bound anew on its way home."""
    here, index, there = veth
    before = links.get(index, here)
    netnses.up(there, 'vb')
    addressed(links, veth, '192.0.2.7/24', '2001:db8::7/64')
    links.announce(index, ['192.0.2.7/24'], here)
    links.set(index, here, up=False, mtu=1400, alias='x', mac=MAC)
    assert links.get(index, here).traits == before.traits


def changed(before, after):
    """Names of the traits that differ."""
    differing = set(before.traits) ^ set(after.traits)
    return {trait.partition('=')[0] for trait in differing}


def test_alternative_names_are_listed(links, veth, netnses):
    here, index, _ = veth
    name = netnses.name(here)
    for altname in ('net2', 'a-name-of-more-than-15-letters'):
        netnses.ip(
            *('-n', name, 'link', 'property', 'add', 'dev', 'va'),
            *('altname', altname),
        )
    assert sorted(links.get(index, here).altnames) == [
        'a-name-of-more-than-15-letters',
        'net2',
    ]


def test_an_alternative_name_is_removed(links, netnses):
    here, _, _ = netnses.veth('ka0', 'vb')
    index = netnses.take_home(here, 'ka0')
    netnses.ip('link', 'property', 'add', 'dev', 'ka0', 'altname', 'ka1')
    with pytest.raises(exceptions.KernelError) as caught:
        links.set(index, name='ka1')
    assert caught.value.errno == errno.EEXIST
    assert links.remove_altname(index, 'ka1')
    assert not links.remove_altname(index, 'ka1')
    assert not links.remove_altname(index, 'ka0')
    with pytest.raises(exceptions.KernelError) as caught:
        links.remove_altname(99_999, 'ka1')
    assert caught.value.errno == errno.ENODEV


def test_a_pf_without_vfs_has_none(links):
    pf = links.pf(1)
    assert (pf.link.name, pf.vfs) == ('lo', ())


def test_a_pf_that_cannot_have_vfs_refuses_settings(links, netnses):
    with pytest.raises(exceptions.KernelError) as caught:
        links.set_vf(1, 0, model.VfSettings(spoofchk=True))
    assert caught.value.errno == errno.EOPNOTSUPP
    assert 'set_vf of interface 1 vf 0' in str(caught.value)


@pytest.fixture
def function():
    """A PCI function with an interface, often of virtio."""
    found = [f for f in PciFunctions().list_all() if f.ifname]
    if not found:
        pytest.skip('THIS MACHINE HAS NO PCI NETWORK INTERFACE')
    return found[0]


@pytest.mark.parametrize('netlink_tells', [True, False])
def test_a_pci_functions_interface_is_found(
    monkeypatch, function, netlink_tells
):
    """Also on kernels before 5.14, whose netlink does not tell whose it is."""
    monkeypatch.setattr(ethtool, 'netlink_tells_parent', lambda: netlink_tells)
    links = Netlink()
    link = links.find(function.pci, '')
    assert link is not None
    assert (link.index, link.name) == (function.ifindex, function.ifname)
    assert link.pci == function.pci
    assert links.get(function.ifindex) == link
    assert links.get(1).pci == ''


@pytest.mark.parametrize(
    ('release', 'tells'),
    [
        ('4.18.0-553.el8_10.x86_64', False),
        ('5.13.19-2-pve', False),
        ('5.14.0-427.el9.x86_64', True),
        ('6.1-rc3', True),
        ('6.12.41+deb13-amd64', True),
    ],
)
def test_kernels_that_tell_whose_an_interface_is(monkeypatch, release, tells):
    uname = types.SimpleNamespace(release=release)
    monkeypatch.setattr(os, 'uname', lambda: uname)
    assert ethtool.netlink_tells_parent() == tells


def test_a_thread_comes_back_from_the_namespace_that_it_asked(
    links, veth, monkeypatch
):
    monkeypatch.setattr(workers, '_idle', [])
    here, index, _ = veth
    assert links.find('0000:02:10.0', here) is None
    (worker,) = workers._idle
    seen = []
    wait.run_within(lambda: seen.append(netns.identify('')), 60, 'it')
    assert workers._idle == [worker]
    assert seen == [netns.identify('')]
    assert seen != [links.identify(here)]
    assert links.get(index, here)


def test_a_thread_that_cannot_come_back_ends(links, veth, monkeypatch):
    """Its next request would be in a pod."""
    monkeypatch.setattr(workers, '_idle', [])
    here, index, _ = veth
    move = netns._move_thread

    def move_there_only(file, path):
        if path != here:
            raise exceptions.KernelError('cannot enter', errno.EPERM)
        move(file, path)

    monkeypatch.setattr(netns, '_move_thread', move_there_only)
    with pytest.raises(exceptions.KernelError, match='cannot enter'):
        links.get(index, here)
    assert workers._idle == []


def test_nothing_is_left_open_and_every_request_is_counted(links, veth):
    """kuryr-kubernetes never closed its netlink sockets."""
    here, index, _ = veth
    links.get(index, here)
    before = os.listdir('/proc/self/fd'), threading.active_count()

    def work(_):
        links.get(index, here)
        links.find('0000:02:10.0', here)
        with pytest.raises(exceptions.KernelError):
            links.get(99, here)

    with futures.ThreadPoolExecutor(16) as pool:
        list(pool.map(work, range(64)))
    after = os.listdir('/proc/self/fd'), threading.active_count()
    assert after[0] == before[0]
    assert after[1] <= before[1] + workers.MOST_IDLE
    assert links.requests == {'get': 129, 'find': 64}
