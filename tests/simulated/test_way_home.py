# SPDX-License-Identifier: Apache-2.0
"""DEL: the VF comes home from wherever it is by then."""

import dataclasses
import errno

import pytest

from kuryr_sriov import model
from kuryr_sriov.testing.simulation.simulated_node import Pf

PF = '0000:02:00.1'


@pytest.fixture
def node(world):
    return world.start()


@pytest.fixture
def device(world):
    return world.vf(1, 0)


@pytest.fixture
def before(world):
    return world.node.state()


@pytest.fixture
def sandbox(world, node, device, before):
    sandbox = world.sandbox(1, device)
    node.attach(sandbox, [world.vif('net1', 1)])
    return sandbox


@pytest.fixture
def detach_restores(world, node, sandbox, before, caplog):
    """Whether a DEL puts everything back, and a second one is harmless."""

    def detach_restores(by_the_first_way=True):
        node.detach(sandbox.container_id)
        tried_another = 'is not home yet' in caplog.text
        assert tried_another is not by_the_first_way
        node.detach(sandbox.container_id)
        assert node.ledger.all() == ()
        return world.node.state() == before

    return detach_restores


def test_from_a_netns_that_is_alive(detach_restores):
    assert detach_restores()


def test_when_the_netns_is_gone(world, sandbox, detach_restores):
    world.node.delete_netns(sandbox.netns)
    assert detach_restores()


def test_when_the_netns_is_gone_and_the_pods_name_is_taken(
    world, sandbox, detach_restores
):
    """The kernel then calls it dev7 or the like."""
    world.node.add_interface('net1')
    world.node.delete_netns(sandbox.netns)
    assert detach_restores()


def test_when_the_netns_goes_while_it_is_looked_into(
    world, sandbox, detach_restores, monkeypatch
):
    links = world.node.host.links
    find = links.find

    def find_too_late(pci, netns):
        if links.alive(netns):
            world.node.delete_netns(netns)
        return find(pci, netns)

    monkeypatch.setattr(links, 'find', find_too_late)
    assert detach_restores()


def test_when_the_netns_goes_just_before_it_is_moved(
    world, sandbox, detach_restores
):
    def delete_netns(operation):
        if operation == 'set' and world.node.host.links.alive(sandbox.netns):
            world.node.delete_netns(sandbox.netns)

    world.node.on_change(delete_netns)
    assert detach_restores()


def test_when_its_netns_has_no_name_any_more(
    world, node, sandbox, device, before, monkeypatch
):
    """Unmounted, but kept by a process: nothing can reach into it."""
    alive = world.node.host.links.alive
    monkeypatch.setattr(
        world.node.host.links,
        'alive',
        lambda netns: netns != sandbox.netns and alive(netns),
    )
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_when_the_pod_has_renamed_it(world, device, detach_restores):
    world.node.rename(device.pci, 'eth0')
    assert detach_restores()


def test_when_the_pod_has_given_it_another_name_and_the_host_has_that(
    world, device, sandbox, detach_restores
):
    world.node.rename(device.pci, 'ens8')
    assert detach_restores()


@pytest.mark.parametrize('name', ['net1', 'dev5', 'eth0'])
def test_when_the_host_has_another_interface_of_the_pods_name(
    world, sandbox, name, detach_restores
):
    world.node.add_interface(name)
    assert detach_restores()


def test_when_its_index_is_taken(world, device, sandbox, detach_restores):
    links = world.node.host.links
    index = links.find(device.pci, sandbox.netns).index
    world.node.add_interface('other0', index=index)
    assert detach_restores()


@pytest.mark.parametrize('up', [False, True])
def test_when_its_own_name_is_taken_all_else_is_restored(
    world, node, device, up
):
    host = world.node.host
    host.links.set(host.pci.device(device.pci).ifindex, up=up)
    before = world.node.state()
    sandbox = world.sandbox(1, device)
    node.attach(sandbox, [world.vif('net1', 1)])
    world.node.add_interface('ens8v0')
    node.detach(sandbox.container_id)
    node.reconcile()  # still taken
    (record,) = node.attachments()
    assert 'is vf000002101, for another interface has' in record.owed
    state = world.node.state()
    link = state[device.pci].link
    assert link.name == 'vf000002101'
    original = before[device.pci]
    assert state == {
        **before,
        device.pci: dataclasses.replace(
            original, link=dataclasses.replace(original.link, name=link.name)
        ),
    }
    world.node.remove_interface('ens8v0')
    node.reconcile()
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_when_another_pods_vf_has_come_home_with_its_name(
    world, node, device, sandbox, before
):
    """The other pod has renamed it, and its netns was deleted before DEL."""
    thief = world.vf(1, 1)
    other = world.sandbox(2, thief)
    node.attach(other, [world.vif('net1', 1)])
    world.node.rename(thief.pci, 'ens8v0')
    world.node.delete_netns(other.netns)
    node.detach(sandbox.container_id)
    # The VF can be had all the same, also while its name cannot.
    third = world.sandbox(3, device)
    node.attach(third, [world.vif('net1', 1)])
    node.check(third.container_id)
    node.detach(third.container_id)
    owing = {r.pci: bool(r.owed) for r in node.attachments()}
    assert owing == {device.pci: True, thief.pci: False}
    node.detach(other.container_id)
    node.reconcile()
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_when_the_netdev_is_not_there_yet(
    world, device, sandbox, detach_restores
):
    world.node.host.pci.bind(device.pci, '', 5)
    world.node.delay_netdevs(0.05)
    world.node.host.pci.bind(device.pci, 'igbvf', 5)
    assert detach_restores()


def test_when_somebody_has_unbound_the_driver(
    world, device, sandbox, detach_restores
):
    world.node.host.pci.bind(device.pci, '', 5)
    assert detach_restores()


def test_when_somebody_has_bound_another_driver(
    world, device, sandbox, detach_restores
):
    world.node.host.pci.bind(device.pci, 'vfio-pci', 5)
    assert detach_restores()


def test_when_somebody_has_unbound_a_userspace_driver(world, node, before):
    device = world.vf(0, 0)
    sandbox = world.sandbox(1, device)
    node.attach(sandbox, [world.vif('net1', 0)])
    world.node.host.pci.bind(device.pci, '', 5)
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_when_another_sandbox_owns_it_by_now(world, node, device, sandbox):
    world.node.delete_netns(sandbox.netns)
    second = world.sandbox(2, device)
    node.attach(second, [world.vif('net1', 1)])
    running = world.node.state()
    node.detach(sandbox.container_id)
    assert world.node.state() == running
    node.check(second.container_id)


@pytest.mark.parametrize('pf', [0, 1])
def test_when_the_vfs_were_created_anew(world, node, before, pf):
    """``sriov_numvfs`` went to 0 and back while the pod ran."""
    sandbox = world.sandbox(1, world.vf(pf, 0))
    node.attach(sandbox, [world.vif('net1', pf)])
    world.node.recreate_vfs(f'0000:02:00.{pf}')
    node.detach(sandbox.container_id)
    assert node.ledger.all() == ()
    pci = world.vf(pf, 0).pci
    assert world.node.state()[pci] == before[pci]


def test_when_there_are_fewer_vfs_by_now(world, node, sandbox):
    world.node.recreate_vfs(PF, 0)
    after = world.node.state()
    node.detach(sandbox.container_id)
    assert node.ledger.all() == ()
    assert world.node.state() == after


def test_when_the_pf_was_renamed(world, node, device, sandbox, before):
    """By udev or its firmware: the PF is its PCI address."""
    world.node.rename(PF, 'enp2s0f1')
    node.check(sandbox.container_id)
    node.detach(sandbox.container_id)
    world.node.rename(PF, 'ens8')
    assert world.node.state() == before


@pytest.mark.parametrize(
    ('pf', 'driver'), [(0, 'vfio-pci'), (0, 'igbvf'), (1, 'igbvf')]
)
def test_a_driver_that_an_operator_has_pinned_it_to_stays_pinned(
    world, pf, driver
):
    """As the how-to does, by writing to driver_override and probing."""
    pci, host = world.vf(pf, 0).pci, world.node.host
    host.pci.bind(pci, driver, 5)
    host.pci.set_override(pci, driver, 5)
    before = world.node.state()
    assert before[pci].driver_override == driver
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(pf, 0))
        node.attach(sandbox, [world.vif('net1', pf)])
        node.detach(sandbox.container_id)
    assert world.node.state() == before


@pytest.mark.parametrize('way', ['reset', 'rebind'])
def test_it_stays_pinned_also_where_the_vf_comes_home_the_harder_way(
    world, way
):
    pci, host = world.vf(1, 0).pci, world.node.host
    host.pci.set_override(pci, 'igbvf', 5)
    before = world.node.state()
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(1, 0))
        node.attach(sandbox, [world.vif('net1', 1)])
        if way == 'rebind':
            world.node.delete_netns(sandbox.netns)
            world.node.spoil(pci, altname='net2', flags='0x1082')
        else:
            world.node.fail('set', errno.EIO)
            world.node.fail('unbind', errno.EIO, times=2)
        node.detach(sandbox.container_id)
    assert world.node.operations[way if way == 'reset' else 'unbind']
    assert world.node.state() == before


@pytest.mark.parametrize('own', [True, False])
@pytest.mark.parametrize('nic', ['igb', 'i40e', 'mlx5_core'])
def test_a_mac_that_the_pf_had_set_comes_back(world, tmp_path, nic, own):
    """As operators do, who copy the VF's own MAC or choose another."""
    pfs = [Pf('0000:02:00.0', 'ens6', 1, nic), Pf(PF, 'ens8', 1, nic)]
    world = type(world)(tmp_path / nic, pfs)
    host = world.node.host
    for pf in (0, 1):
        vf = host.pci.device(world.vf(pf, 0).pci)
        mac = host.links.get(vf.ifindex).mac if own else '02:00:00:00:99:01'
        index = host.pci.device(vf.pf).ifindex
        host.links.set_vf(index, 0, model.VfSettings(mac=mac))
    before = shown(world)
    with world.start() as node:
        sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
        node.attach(sandbox, world.both())
        node.check(sandbox.container_id)
        node.detach(sandbox.container_id)
    assert shown(world) == before


def shown(world):
    """Interfaces and settings, as the kernel tells them."""
    return {
        pci: (state.driver, state.link, state.settings)
        for pci, state in world.node.state().items()
    }
