# SPDX-License-Identifier: Apache-2.0
"""CHECK: healthy pods pass, and whatever has drifted is named."""

import pytest

from kuryr_sriov import exceptions, model


@pytest.fixture
def node(world):
    return world.start()


@pytest.fixture
def sandbox(world, node):
    """A pod with a vfio-pci VF (net1) and a netdevice VF (net2)."""
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    node.attach(sandbox, world.both())
    return sandbox


def link_of(world, sandbox):
    return world.node.host.links.find(world.vf(1, 0).pci, sandbox.netns)


def test_a_healthy_pod_passes_and_nothing_is_changed(world, node, sandbox):
    changes = []
    world.node.on_change(changes.append)
    node.check(sandbox.container_id)
    node.check(sandbox.container_id, 'net1')
    node.check(sandbox.container_id, 'net2')
    assert changes == []


@pytest.mark.parametrize('ifname', ['', 'net9'])
def test_what_was_never_attached_is_said(node, ifname):
    with pytest.raises(exceptions.Drifted, match='nothing is attached'):
        node.check('sandbox9', ifname)


@pytest.mark.parametrize(
    ('pf', 'settings', 'drift'),
    [
        (0, model.VfSettings(vlan=99, vlan_qos=0), 'vlan is 99, not 3501'),
        (1, model.VfSettings(vlan=0, vlan_qos=0), 'vlan is 0, not 3502'),
        (1, model.VfSettings(mac='02:00:00:00:99:01'), 'mac is 02:00'),
    ],
)
def test_what_somebody_set_on_the_pf_is_named(
    world, node, sandbox, pf, settings, drift
):
    host = world.node.host
    index = host.pci.device(f'0000:02:00.{pf}').ifindex
    host.links.set_vf(index, 0, settings)
    with pytest.raises(exceptions.Drifted, match=drift):
        node.check(sandbox.container_id)


@pytest.mark.parametrize(
    ('settings', 'drift'),
    [
        ({'mtu': 1400}, 'mtu is 1400, not 1450'),
        ({'up': False}, 'it is down'),
    ],
)
def test_what_the_pod_did_to_its_interface_is_named(
    world, node, sandbox, settings, drift
):
    index = link_of(world, sandbox).index
    world.node.host.links.set(index, sandbox.netns, **settings)
    with pytest.raises(exceptions.Drifted, match=drift):
        node.check(sandbox.container_id)
    node.check(sandbox.container_id, 'net1')


def test_another_name_is_named(world, node, sandbox):
    world.node.rename(world.vf(1, 0).pci, 'lan0')
    with pytest.raises(exceptions.Drifted, match='name is lan0, not net2'):
        node.check(sandbox.container_id)


def test_an_address_that_is_gone_is_named(world, node):
    sandbox = world.sandbox(1, world.vf(1, 0))
    vif = world.vif('net1', 1, addresses=('fd00:2::7/64',))
    node.attach(sandbox, [vif])
    index = link_of(world, sandbox).index
    for up in (False, True):  # an interface that is closed loses them
        world.node.host.links.set(index, sandbox.netns, up=up)
    with pytest.raises(exceptions.Drifted, match='fd00:2::7/64 is gone'):
        node.check(sandbox.container_id)


def test_a_netns_that_is_gone_is_named(world, node, sandbox):
    world.node.delete_netns(sandbox.netns)
    with pytest.raises(exceptions.Drifted, match=sandbox.netns):
        node.check(sandbox.container_id)


def test_another_driver_is_named(world, node, sandbox):
    world.node.host.pci.bind(world.vf(0, 0).pci, 'igbvf', 5)
    with pytest.raises(exceptions.Drifted, match='driver is igbvf, not vfio'):
        node.check(sandbox.container_id)


def test_each_difference_is_named(world, node, sandbox):
    host, pf = world.node.host, '0000:02:00.1'
    settings = model.VfSettings(vlan=99, vlan_qos=0)
    host.links.set_vf(host.pci.device(pf).ifindex, 0, settings)
    index = link_of(world, sandbox).index
    host.links.set(index, sandbox.netns, mtu=1400)
    with pytest.raises(exceptions.Drifted) as raised:
        node.check(sandbox.container_id, 'net2')
    for part in ('vlan is 99', 'mtu is 1400', 'default/pod1', 'delete the'):
        assert part in str(raised.value)


def test_a_vf_that_is_no_more_is_named(world, node, sandbox):
    world.node.recreate_vfs('0000:02:00.1', 0)
    with pytest.raises(exceptions.DeviceMissing, match='no PCI device'):
        node.check(sandbox.container_id)
