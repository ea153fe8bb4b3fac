# SPDX-License-Identifier: Apache-2.0
"""Nodes that are VMs: a VF is a port already, and the pod gets that one."""

import dataclasses
import itertools
import re

import pytest
from guestworld import ENS6, ENS7, ENS8
from metadata import NETWORK_A, NETWORK_B, NETWORK_C, PORTS, write_config_drive

from kuryr_sriov import exceptions, model
from kuryr_sriov.testing.fixtures.interruption import Killed

SET_BY_PF = 'set_vf'


def one_pod(guest, *devices, vifs=None, **named):
    """A node, and a sandbox that has these VFs."""
    sandbox = guest.sandbox(1, *map(guest.vf, devices), **named)
    return sandbox, vifs or (guest.promise(),)


def test_the_pod_gets_the_port_that_its_vf_is(guest):
    before = guest.node.state()
    node = guest.start()
    sandbox, vifs = one_pod(
        guest, ENS6, vifs=[guest.promise(gateways=('192.168.2.1',))]
    )
    (attached,) = node.attach(sandbox, vifs)
    assert attached.vif == dataclasses.replace(
        vifs[0],
        id=PORTS[0],
        mac=guest.macs[ENS6],
        addresses=('192.168.2.7/24', 'fd00:2::7/64'),
        routes=(model.Route('10.9.0.0/16', '192.168.2.254'),),
        dns=('192.168.2.53',),
        mtu=1450,
    )
    (record,) = node.attachments()
    assert record.vif == attached.vif
    state = guest.node.state()[ENS6]
    assert (state.netns, state.link.name) == (sandbox.netns, 'net1')
    assert (state.link.mac, state.link.mtu) == (guest.macs[ENS6], 1450)
    assert state.addresses == attached.vif.addresses
    assert {route.gateway for route in state.routes} == {
        '192.168.2.254',
        '192.168.2.1',
    }
    node.check(sandbox.container_id)
    node.detach(sandbox.container_id)
    assert guest.node.state() == before


def test_the_default_route_is_the_pods_choice_and_not_the_subnets(guest):
    (attached,) = guest.start().attach(*one_pod(guest, ENS6))
    assert attached.vif.gateways == ()
    assert [str(r.destination) for r in guest.node.state()[ENS6].routes] == [
        '10.9.0.0/16'
    ]


@pytest.mark.parametrize('driver', ['netdevice', 'vfio-pci'])
def test_neither_mac_nor_vlan_is_set(make_guest, driver):
    guest = make_guest(driver=driver)
    node = guest.start()
    requests = []
    original = node._host.links.set

    def noting(*arguments, **named):
        requests.append(named)
        original(*arguments, **named)

    node._host.links.set = noting
    sandbox, vifs = one_pod(guest, ENS6)
    node.attach(sandbox, vifs)
    node.detach(sandbox.container_id)
    assert requests
    assert not any(request.get('mac') for request in requests)
    assert not guest.node.operations[SET_BY_PF]


def test_two_interfaces_on_one_resource_get_the_vfs_of_their_networks(guest):
    for first, second in (
        (NETWORK_A, NETWORK_B),
        (NETWORK_B, NETWORK_A),
    ):
        node = guest.start()
        sandbox, vifs = one_pod(
            guest,
            ENS7,
            ENS6,
            vifs=[guest.promise('net1', first), guest.promise('net2', second)],
        )
        attached = node.attach(sandbox, vifs)
        expected = {NETWORK_A: (ENS6, PORTS[0]), NETWORK_B: (ENS7, PORTS[1])}
        assert [
            (each.location.pci_slot, each.vif.id) for each in attached
        ] == [expected[first], expected[second]]
        node.detach(sandbox.container_id)


def test_a_vf_of_another_network_is_refused_with_both_names(guest):
    before = guest.node.state()
    node = guest.start()
    with pytest.raises(
        exceptions.NotAllocated,
        match=rf'{NETWORK_A}.*{ENS7} is on network {NETWORK_B}',
    ):
        node.attach(*one_pod(guest, ENS7))
    assert guest.node.state() == before
    assert node.attachments() == ()


def test_a_vf_in_no_metadata_is_refused_with_a_remedy(guest):
    guest.tell('fa:16:3e:00:99:99')
    node = guest.start()
    with pytest.raises(
        exceptions.NotAllocated,
        match=f'{ENS6} has MAC {guest.macs[ENS6]}, which no port .* metadata '
        'service',
    ):
        node.attach(*one_pod(guest, ENS6))


def test_a_mac_that_two_ports_have_is_no_proof(guest):
    guest.tell(guest.macs[ENS6], guest.macs[ENS6])
    node = guest.start()
    with pytest.raises(
        exceptions.NotAllocated, match=f'{PORTS[0]}.*{PORTS[1]}'
    ):
        node.attach(*one_pod(guest, ENS6))


def test_addresses_that_the_metadata_does_not_tell_are_refused(guest):
    others = [f'fa:16:3e:00:99:0{number}' for number in range(3)]
    guest.tell(*others, guest.macs[ENS6])
    node = guest.start()
    with pytest.raises(
        exceptions.NotAllocated, match=f'{PORTS[3]}.*ipv4_dhcp.*no-dhcp'
    ):
        node.attach(
            *one_pod(guest, ENS6, vifs=[guest.promise(network=NETWORK_C)])
        )


# What the network provider says, where the metadata tells too little.


ASKING = 'guest_addresses = provider'


def answering(asked, **changes):
    """A way to a controller that answers so."""

    def ask(pod, vif, port_id):
        asked.append((pod.uid, vif.ifname, port_id))
        return dataclasses.replace(vif, id=port_id, **changes)

    return ask


def test_the_provider_is_asked_for_the_port_that_the_vf_is(make_guest):
    """Its subnet has DHCP, so that Nova's metadata tells no address."""
    guest = make_guest(more=ASKING)
    others = [f'fa:16:3e:00:99:0{number}' for number in range(3)]
    guest.tell(*others, guest.macs[ENS6])
    asked = []
    told = {
        'mac': guest.macs[ENS6],
        'addresses': ('192.168.4.7/24',),
        'mtu': 1400,
    }
    node = guest.start(ask_port=answering(asked, **told))
    pod = one_pod(guest, ENS6, vifs=[guest.promise(network=NETWORK_C)])
    (attached,) = node.attach(*pod)
    assert asked == [('uid-1', 'net1', PORTS[3])]
    assert attached.vif == dataclasses.replace(pod[1][0], id=PORTS[3], **told)
    assert guest.node.state()[ENS6].addresses == ('192.168.4.7/24',)
    assert node.attach(*pod) == (attached,)
    assert len(asked) == 1


@pytest.mark.parametrize(
    ('change', 'words'),
    [
        ({'mac': 'fa:16:3e:00:00:bb'}, 'MAC fa:16:3e:00:00:bb'),
        ({'provider_network': NETWORK_B}, f'network {NETWORK_B}'),
    ],
)
def test_an_answer_about_another_port_is_refused(make_guest, change, words):
    guest = make_guest(more=ASKING)
    before = guest.node.state()
    told = {'mac': guest.macs[ENS6], **change}
    node = guest.start(ask_port=answering([], **told))
    with pytest.raises(exceptions.NotAllocated, match=words):
        node.attach(*one_pod(guest, ENS6))
    assert guest.node.state() == before


def test_a_host_that_does_not_ask_is_told(make_guest):
    guest = make_guest(more=ASKING)
    with pytest.raises(exceptions.InvalidInput, match='ask_port'):
        guest.start().attach(*one_pod(guest, ENS6))


def test_metadata_that_cannot_be_read_heals_once_it_can(guest):
    node = guest.start()
    file = guest.drive / 'openstack/latest/network_data.json'
    text = file.read_text()
    for broken in ('', '{"links": 3}', '[]'):
        file.write_text(broken)
        with pytest.raises(
            exceptions.TransientError, match=re.escape(str(guest.drive))
        ):
            node.attach(*one_pod(guest, ENS6))
    file.unlink()
    with pytest.raises(exceptions.TransientError, match='instance_metadata'):
        node.attach(*one_pod(guest, ENS6))
    file.write_text(text)
    node.attach(*one_pod(guest, ENS6))


def test_a_promise_is_not_kept_by_a_vf_whose_pf_is_here(tmp_path, world):
    """A mistaken pattern, on bare metal: nobody would set VLAN or MAC."""
    device = world.vf(1, 0)
    mac = world.node.state()[device.pci].link.mac
    world.text += f'instance_metadata = {tmp_path}\n'
    write_config_drive(tmp_path, [mac])
    node = world.start()
    before = world.node.state()
    promise = dataclasses.replace(
        world.vif('net1', 1), id='', mac='', provider_network=NETWORK_A
    )
    with pytest.raises(exceptions.DeviceMissing, match='node_vif_drivers'):
        node.attach(world.sandbox(1, device), [promise])
    assert world.node.state() == before


# Repeated, and by another process.


def test_a_repeated_add_gives_the_same_and_needs_no_metadata(guest):
    node = guest.start()
    pod = one_pod(guest, ENS6)
    first = node.attach(*pod)
    (guest.drive / 'openstack/latest/network_data.json').unlink()
    assert node.attach(*pod) == first
    assert guest.start().attach(*pod) == first


def test_the_next_sandbox_of_the_pod_gets_its_port_again(guest):
    """Its VF is in the old sandbox still, where its MAC is not seen."""
    node = guest.start()
    (first,) = node.attach(*one_pod(guest, ENS6))
    sandbox, vifs = one_pod(guest, ENS6, generation=2)
    assert guest.node.state()[ENS6].netns != sandbox.netns
    (second,) = node.attach(sandbox, vifs)
    assert second == first
    assert guest.node.state()[ENS6].netns == sandbox.netns


def test_del_needs_nothing_but_the_ledger(guest):
    before = guest.node.state()
    sandbox, vifs = one_pod(guest, ENS6)
    guest.start().attach(sandbox, vifs)
    (guest.drive / 'openstack/latest/network_data.json').unlink()
    guest.allocated.clear()
    node = guest.start()
    node.detach(sandbox.container_id)
    assert guest.node.state() == before
    assert node.attachments() == ()


@pytest.mark.parametrize('driver', ['netdevice', 'vfio-pci'])
def test_a_kill_at_any_point_of_attach(make_guest, driver):
    """Completion among them: the next process finds the same port."""
    guest = make_guest(driver=driver)
    before = guest.node.state()
    pod = one_pod(guest, ENS6, ENS7, vifs=[guest.promise()])
    seen = []

    def die_after(left):
        passed = []

        def pass_by(name):
            if len(passed) >= left:
                raise Killed(name)
            passed.append(name)

        return passed, pass_by

    changes = []
    guest.node.on_change(lambda name: [act(name) for act in changes])
    for left in itertools.count():
        passed, pass_by = die_after(left)
        changes[:] = [pass_by]
        try:
            with guest.start(observe_beginnings=pass_by) as node:
                node.attach(*pod)
        except Killed:
            seen += passed
        else:
            break
        finally:
            changes.clear()
        with guest.start() as node:
            (attached,) = node.attach(*pod)
            assert attached.vif.id == PORTS[0]
            node.check(pod[0].container_id)
            node.detach(pod[0].container_id)
            assert guest.node.state() == before
            assert node.attachments() == ()
    assert {'identify', 'pair', 'complete', 'record', 'connect'} <= set(seen)


# VFs without a netdev.


def test_a_vf_that_shows_no_mac_is_refused_unless_the_operator_tells(
    make_guest,
):
    mac = 'fa:16:3e:00:00:aa'
    for more in ('', f'guest_macs = {ENS6}={mac}'):
        guest = make_guest(driver='vfio-pci', vf_driver='vfio-pci', more=more)
        guest.tell(mac)
        node = guest.start()
        pod = one_pod(guest, ENS6)
        if more:
            (attached,) = node.attach(*pod)
            assert (attached.vif.id, attached.vif.mac) == (PORTS[0], mac)
        else:
            with pytest.raises(
                exceptions.NotAllocated, match=f'{ENS6}=MAC.*guest_macs'
            ):
                node.attach(*pod)


def test_a_mac_that_the_operator_told_wrongly_is_not_set(make_guest):
    """The netdev shows another one, once the kernel driver is bound."""
    mac = 'fa:16:3e:00:00:aa'
    guest = make_guest(vf_driver='vfio-pci', more=f'guest_macs = {ENS6}={mac}')
    guest.tell(mac)
    before = guest.node.state()
    node = guest.start()
    with pytest.raises(exceptions.UnsupportedSetting, match='guest_macs'):
        node.attach(*one_pod(guest, ENS6))
    assert guest.node.state() == before


def test_a_vf_that_a_program_drives_is_known_by_its_record(make_guest):
    """From the netdev that it had when the pod came."""
    guest = make_guest(driver='vfio-pci')
    node = guest.start()
    (first,) = node.attach(*one_pod(guest, ENS8))
    assert guest.node.state()[ENS8].driver == 'vfio-pci'
    (second,) = node.attach(*one_pod(guest, ENS8, generation=2))
    assert second.vif.id == first.vif.id == PORTS[2]


def test_what_a_pod_made_of_the_mac_does_not_count(make_guest):
    """It comes home with the MAC that the pod gave it, and its record."""
    guest = make_guest(pinned=False)
    node = guest.start()
    sandbox, vifs = one_pod(guest, ENS6)
    node.attach(sandbox, vifs)
    link = guest.node.host.links.find(ENS6, sandbox.netns)
    guest.node.host.links.set(link.index, sandbox.netns, up=False)
    stolen = guest.macs[ENS8]
    guest.node.host.links.set(link.index, sandbox.netns, mac=stolen)
    guest.node.delete_netns(sandbox.netns)
    (attached,) = node.attach(*one_pod(guest, ENS6, generation=2))
    assert attached.vif.id == PORTS[0]
