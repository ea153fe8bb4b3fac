# SPDX-License-Identifier: Apache-2.0
"""The simulated network answers as Linux does."""

import dataclasses
import errno

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.testing.simulation.simulated_node import (
    NICS,
    NO_MAC,
    Pf,
    SimulatedNode,
)

PF = '0000:02:00.0'
VF = '0000:02:10.0'
MAC = 'fa:16:3e:00:00:07'
POD = '/run/netns/pod'


@pytest.fixture
def node(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2)])
    node.add_netns(POD)
    return node


@pytest.fixture
def links(node):
    return node.host.links


@pytest.fixture
def index(node):
    return node.host.pci.device(VF).ifindex


@pytest.fixture
def pf(node):
    return node.host.pci.device(PF).ifindex


def refusal(function, *arguments, **settings):
    with pytest.raises(exceptions.KernelError) as caught:
        function(*arguments, **settings)
    return caught.value.errno


def rebind(node):
    node.host.pci.bind(VF, '', 5)
    node.host.pci.bind(VF, 'igbvf', 5)
    return node.host.pci.device(VF).ifindex


def test_all_in_one_request(node, links, index):
    settings = {'mac': MAC, 'mtu': 9000, 'alias': 'ens6v0', 'up': True}
    traits = links.get(index).traits
    links.set(index, to=POD, name='net1', **settings)
    link = model.Link(
        index,
        'net1',
        pci=VF,
        carrier=True,
        traits=traits,
        **settings,
    )
    assert links.find(VF, POD) == links.get(index, POD) == link
    assert links.find(VF, '') is None
    assert links.requests == {'set': 1, 'find': 2, 'get': 2}


def test_what_precedes_a_refusal_stays_done(node, links, index):
    """do_setlink: netns, MAC, MTU, name, alias, flags."""
    before = links.get(index)
    number = refusal(
        links.set, index, to=POD, name='net1', mac=MAC, mtu=10_000, up=True
    )
    assert number == errno.EINVAL
    after = links.find(VF, POD)
    assert after == dataclasses.replace(before, mac=MAC)


def test_a_taken_name_is_evaded_by_the_new_one(node, links, index):
    node.add_interface('ens6v0', POD)
    links.set(index, to=POD, name='net1')
    assert links.find(VF, POD).name == 'net1'


@pytest.mark.parametrize('name', ['', 'net1'])
def test_a_name_that_is_taken_leaves_it_where_it_is(node, links, index, name):
    node.add_interface('ens6v0', POD)
    node.add_interface('net1', POD)
    before = node.state()
    number = refusal(links.set, index, to=POD, name=name)
    assert number == errno.EEXIST
    assert node.state() == before


def test_a_name_taken_at_home(node, links, index):
    before = node.state()
    assert refusal(links.set, index, name='ens6') == errno.EEXIST
    with pytest.raises(OSError, match='ens6'):
        node.add_interface('ens6')
    assert node.state() == before


def test_an_index_that_is_taken_changes_on_the_way(node, links, index):
    node.add_interface('other', POD, index=index)
    links.set(index, to=POD)
    link = links.find(VF, POD)
    assert link.index != index
    links.set(link.index, POD, to='')
    assert node.host.pci.device(VF).ifindex == link.index


@pytest.mark.parametrize('name', ['sixteen-letters!', 'a/b'])
def test_names_the_kernel_does_not_take(links, index, name):
    assert refusal(links.set, index, name=name) == errno.EINVAL


def test_its_own_name_is_no_change(links, index):
    links.set(index, up=True)
    links.set(index, name='ens6v0')


def test_an_interface_that_is_up_cannot_be_renamed(links, index, monkeypatch):
    monkeypatch.setattr(links, '_busy_timeout', 0.01)
    links.set(index, up=True)
    with pytest.raises(exceptions.DeviceBusy, match=r'0\.01 s'):
        links.set(index, name='new')


@pytest.mark.parametrize('mtu', [67, 9217])
def test_an_mtu_out_of_range(links, index, mtu):
    assert refusal(links.set, index, mtu=mtu) == errno.EINVAL


def test_an_alias_too_long(links, index):
    assert refusal(links.set, index, alias='x' * 256) == errno.EINVAL


@pytest.mark.parametrize('mac', [NO_MAC, '01:00:5e:00:00:01', 'x', '02:00'])
def test_a_mac_no_interface_can_have(links, index, mac):
    assert refusal(links.set, index, mac=mac) == errno.EADDRNOTAVAIL


def test_what_is_not_there(node, links):
    assert refusal(links.get, 99) == errno.ENODEV
    assert refusal(links.set, 99, mtu=1400) == errno.ENODEV
    assert refusal(links.find, VF, '/run/netns/none') == errno.ENOENT
    assert not links.alive('/run/netns/none')
    with pytest.raises(OSError, match=POD):
        node.add_netns(POD)


def test_a_target_that_is_gone_leaves_it_where_it_is(node, links, index):
    before = node.state()
    assert refusal(links.set, index, to='/run/netns/none') == errno.ENOENT
    assert node.state() == before


def test_a_deleted_netns_sends_it_home_with_the_pods_settings(
    node, links, index
):
    """sriov-cni#126: netns gone before DEL."""
    links.set(index, to=POD, name='net1', mac=MAC, mtu=1450, up=True)
    links.add_address(index, '192.0.2.7/24', POD)
    node.add_interface('lo', POD)
    node.delete_netns(POD)
    state = node.state()[VF]
    assert state.netns == ''
    assert (state.link.name, state.link.mac) == ('net1', MAC)
    assert (state.link.mtu, state.link.up) == (1450, False)
    assert state.addresses == ()
    assert node.host.pci.device(VF).ifname == 'net1'


def test_or_under_another_name_if_the_pods_is_taken(node, links, index):
    node.add_interface('net1')
    links.set(index, to=POD, name='net1')
    node.delete_netns(POD)
    assert node.state()[VF].link.name == f'dev{index}'


def test_l3_is_lost_on_the_way(node, links, index):
    links.set(index, to=POD, up=True)
    links.add_address(index, '192.0.2.7/24', POD)
    route = model.Route('0.0.0.0/0', '192.0.2.1')
    links.add_route(index, route, POD)
    assert links.addresses(index, POD) == ('192.0.2.7/24',)
    assert links.routes(index, POD) == (route,)
    links.set(index, POD, to='')
    assert links.addresses(index, '') == links.routes(index, '') == ()


def test_a_link_that_goes_down_keeps_its_ipv4_addresses_only(links, index):
    links.set(index, up=True)
    for address in ('192.0.2.7/24', '2001:db8::7/64'):
        links.add_address(index, address, '')
    links.add_route(index, model.Route('::/0', '2001:db8::1'), '')
    links.set(index, up=False)
    assert links.addresses(index, '') == ('192.0.2.7/24',)
    assert links.routes(index, '') == ()


def test_an_address_or_route_twice(links, index):
    links.set(index, up=True)
    links.add_address(index, '192.0.2.7/24', '')
    route = model.Route('198.51.100.0/24')
    links.add_route(index, route, '')
    again = refusal(links.add_address, index, '192.0.2.7/24', '')
    assert again == errno.EEXIST
    assert refusal(links.add_route, index, route, '') == errno.EEXIST


def test_a_route_needs_a_link_and_a_gateway_in_reach(links, index):
    route = model.Route('0.0.0.0/0', '198.51.100.1')
    assert refusal(links.add_route, index, route, '') == errno.ENETDOWN
    links.set(index, up=True)
    assert refusal(links.add_route, index, route, '') == errno.ENETUNREACH
    links.add_route(index, model.Route('198.51.100.0/24'), '')
    links.add_route(index, route, '')


def test_announcements(node, links, index):
    number = refusal(links.announce, index, '192.0.2.7/24', '')
    assert number == errno.ENETDOWN
    links.set(index, mac=MAC, up=True)
    links.announce(index, ['192.0.2.7/24'], '')
    assert node.announced == [(MAC, '192.0.2.7/24')]


def test_settings_are_what_was_set(links, pf):
    settings = model.VfSettings(
        mac=MAC,
        vlan=5,
        vlan_qos=3,
        max_tx_rate=100,
        spoofchk=False,
        trust=True,
    )
    links.set_vf(pf, 1, settings)
    assert links.pf(pf).vfs[1] == model.VfSettings(
        mac=MAC,
        vlan=5,
        vlan_qos=3,
        vlan_proto='802.1q',
        min_tx_rate=0,
        max_tx_rate=100,
        spoofchk=False,
        trust=True,
        link_state='auto',
    )


def test_they_are_applied_in_the_kernels_order_up_to_a_refusal(links, pf):
    """do_setvfinfo: MAC, VLAN, rates, spoofchk, link state, trust."""
    before = links.pf(pf).vfs[0]
    settings = model.VfSettings(
        mac=MAC,
        vlan=5,
        vlan_qos=0,
        spoofchk=False,
        link_state='enable',
        trust=True,
    )
    assert refusal(links.set_vf, pf, 0, settings) == errno.EOPNOTSUPP
    assert links.pf(pf).vfs[0] == dataclasses.replace(
        before, mac=MAC, vlan=5, spoofchk=False
    )


@pytest.mark.parametrize(
    ('settings', 'number'),
    [
        ({'vlan': 4095}, errno.EINVAL),
        ({'vlan': 5, 'vlan_qos': 8}, errno.EINVAL),
        ({'vlan': 5, 'vlan_proto': '802.1ad'}, errno.EPROTONOSUPPORT),
        ({'min_tx_rate': 100}, errno.EINVAL),
        ({'link_state': 'auto'}, errno.EOPNOTSUPP),
        ({'mac': '01:00:5e:00:00:01'}, errno.EINVAL),
    ],
)
def test_what_an_82576_refuses(node, links, pf, settings, number):
    before = node.state()
    wanted = model.VfSettings(**settings)
    assert refusal(links.set_vf, pf, 0, wanted) == number
    assert node.state() == before


def test_what_this_pf_is_told_to_refuse(node, links, pf):
    node.refuse(PF, {'trust': errno.EOPNOTSUPP})
    wanted = model.VfSettings(trust=False)
    assert refusal(links.set_vf, pf, 0, wanted) == errno.EOPNOTSUPP


def test_what_is_no_vf(links, pf, index):
    wanted = model.VfSettings(trust=True)
    assert refusal(links.set_vf, pf, 2, wanted) == errno.EINVAL
    assert refusal(links.set_vf, index, 0, wanted) == errno.EINVAL
    assert (len(links.pf(pf).vfs), links.pf(index).vfs) == (2, ())


def test_what_a_nic_does_not_report_is_none(tmp_path):
    nic = dataclasses.replace(
        NICS['igb'],
        unreported=('trust', 'spoofchk'),
    )
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', nic=nic)])
    settings = node.host.links.pf(node.host.pci.device(PF).ifindex).vfs[0]
    assert (settings.trust, settings.spoofchk) == (None, None)
    assert settings.link_state == 'auto'


def test_a_pinned_mac_is_not_the_vfs_to_change(node, links, pf, index):
    own = links.get(index).mac
    links.set_vf(pf, 0, model.VfSettings(mac=MAC))
    assert links.get(index).mac == own  # until the driver is bound anew
    number = refusal(links.set, index, mac=MAC)
    assert number == errno.EADDRNOTAVAIL
    index = rebind(node)
    assert links.get(index).mac == MAC
    assert refusal(links.set, index, mac=own) == errno.EADDRNOTAVAIL
    links.set(index, mac=MAC)


def test_refused_it_falls_back_to_the_one_it_started_with(links, pf, index):
    """igbvf: e1000_rar_set_vf."""
    first = links.get(index).mac
    links.set(index, mac='fa:16:3e:00:00:08')
    links.set_vf(pf, 0, model.VfSettings(mac=MAC))
    links.set(index, mac=first)
    assert (links.get(index).mac, links.pf(pf).vfs[0].mac) == (first, MAC)


def test_a_pf_knows_the_macs_it_was_told(node, links, pf, index):
    """An 82576: not the random one that igbvf takes when it is bound."""
    assert links.pf(pf).vfs[0].mac == NO_MAC
    own = links.get(index).mac
    links.set(index, up=True)
    assert links.pf(pf).vfs[0].mac == NO_MAC
    links.set(index, up=False)
    assert links.pf(pf).vfs[0].mac == own
    rebind(node)
    assert links.pf(pf).vfs[0].mac == NO_MAC


@pytest.mark.parametrize('trust', [False, True])
def test_a_vf_that_is_closed_takes_the_mac_its_pf_has_set(
    node, links, pf, index, trust
):
    links.set(index, mac='fa:16:3e:00:00:08', to=POD, up=True)
    links.set_vf(pf, 0, model.VfSettings(mac=MAC, trust=trust))
    node.delete_netns(POD)
    mac = 'fa:16:3e:00:00:08' if trust else MAC
    assert links.get(index).mac == links.pf(pf).vfs[0].mac == mac


def test_the_vfs_own_mac_first_needs_no_rebinding(links, pf, index):
    links.set(index, mac=MAC)
    assert links.pf(pf).vfs[0].mac == MAC
    links.set_vf(pf, 0, model.VfSettings(mac=MAC))
    assert links.get(index).mac == links.pf(pf).vfs[0].mac == MAC


def test_a_trusted_vf_may_change_it(links, pf, index):
    links.set_vf(pf, 0, model.VfSettings(mac=MAC, trust=True))
    links.set(index, mac='fa:16:3e:00:00:08')
    assert links.pf(pf).vfs[0].mac == 'fa:16:3e:00:00:08'


def test_no_mac_unpins_it(node, links, pf, index):
    links.set_vf(pf, 0, model.VfSettings(mac=MAC))
    assert node.state()[VF].pinned
    links.set_vf(pf, 0, model.VfSettings(mac=NO_MAC))
    assert not node.state()[VF].pinned
    links.set(index, mac='fa:16:3e:00:00:08')
    assert links.pf(pf).vfs[0].mac == 'fa:16:3e:00:00:08'


@pytest.mark.parametrize('bound', [True, False])
def test_an_avf_takes_its_pfs_mac_at_once(tmp_path, bound):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', driver='i40e')])
    if not bound:
        node.host.pci.bind(VF, '', 5)
    pf = node.host.pci.device(PF).ifindex
    node.host.links.set_vf(pf, 0, model.VfSettings(mac=MAC))
    node.host.pci.bind(VF, 'iavf', 5)
    assert node.state()[VF].link.mac == MAC


def test_what_udev_or_a_pod_does(node, links, index):
    node.rename(VF, 'enp2s16')
    assert node.host.pci.device(VF).ifname == 'enp2s16'
    links.set(index, to=POD)
    node.rename(VF, 'mine')
    assert links.get(index, POD).name == 'mine'
    node.host.pci.bind(VF, '', 5)
    with pytest.raises(ValueError, match=VF):
        node.rename(VF, 'enp2s16')


def test_an_alternative_name_is_taken_too(node, links, index):
    """sriov-cni#250: altname collision blocks rename."""
    node.add_altname(VF, 'enp2s16')
    assert refusal(links.set, index, name='enp2s16') == errno.EEXIST
    assert links.remove_altname(index, 'enp2s16')
    links.set(index, name='enp2s16')
    with pytest.raises(OSError, match='ens6'):
        node.add_altname(VF, 'ens6')


@pytest.mark.parametrize('name', ['nobodys', 'ens6', 'ens6v0'])
def test_only_an_own_alternative_name_is_removed(links, index, name):
    assert links.remove_altname(index, name) is False


def test_another_error_of_that_is_told(node, links, index):
    node.fail('remove_altname', errno.EPERM)
    assert refusal(links.remove_altname, index, 'x') == errno.EPERM


def test_alternative_names_travel_with_it(node, links, index):
    node.add_altname(VF, 'enp2s16')
    node.add_interface('enp2s16', POD)
    assert refusal(links.set, index, to=POD) == errno.EEXIST
    other = node.add_netns('/run/netns/other')
    links.set(index, to=other)
    node.add_interface('enp2s16')
    node.delete_netns(other)  # without those that are taken at home
    assert node.state()[VF].link.name == 'ens6v0'


def test_somebody_elses_interface_is_no_pci_functions(node, links):
    node.add_interface('dummy0', index=99)
    links.set(99, name='dummy1', mac=MAC)
    links.set(99, to=POD)
    links.set(99, POD, to='')
    link = links.get(99)
    assert (link.name, link.mac, link.pci) == ('dummy1', MAC, '')


def test_a_pf_changes_its_own_mac_as_it_likes(node, links, pf):
    links.set(pf, mac=MAC)
    assert node.state()[PF].link.mac == MAC
