# SPDX-License-Identifier: Apache-2.0
"""Which VF a pod gets, and what is done to it.

kuryr-kubernetes failed in each of these ways.
"""

import errno
import socket
import tempfile

import pytest
from values import kubelet_conf

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations.podresources import PodResources
from kuryr_sriov.testing.fixtures.interruption import Killed
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode, Vf

PHYSNET23 = 'intel.com/physnet23'


def held_by_pf(world, pf, index):
    """What the PF holds for its VF, as ``ip link show`` has it."""
    host = world.node.host
    pf = host.pci.device(f'0000:02:00.{pf}')
    return host.links.pf(pf.ifindex).vfs[index]


@pytest.fixture
def kubelet():
    # Not tmp_path: the path of a unix socket is short.
    with tempfile.TemporaryDirectory() as root, Kubelet(root) as kubelet:
        yield kubelet


@pytest.mark.parametrize('get', ['yes', 'no'])
def test_a_pod_is_known_by_namespace_and_name(world, kubelet, get):
    kubelet.get = get
    pcis = [world.vf(1, 0).pci, world.vf(1, 1).pci]
    kubelet.plug(PHYSNET23, pcis)
    for namespace in ('other', 'default'):
        kubelet.allocate(namespace, 'pod1', namespace, {PHYSNET23: 1})
    client = PodResources(kubelet_conf(kubelet.root))
    theirs, ours = (
        client.list_devices(model.Pod(namespace, 'pod1', ''))
        for namespace in ('other', 'default')
    )
    assert theirs != ours
    node = world.start(allocations=client.list_devices)
    (attached,) = node.attach(world.sandbox(1), [world.vif('net1', 1)])
    assert [attached.location.pci_slot] == [device.pci for device in ours]


@pytest.mark.parametrize('pf', [0, 1])
def test_vf_zero_is_a_vf_like_any_other(world, pf):
    vif = world.vif('net1', pf)
    world.start().attach(world.sandbox(1, world.vf(pf, 0)), [vif])
    held = held_by_pf(world, pf, 0)
    assert (held.mac, held.vlan) == (vif.mac, vif.vlan)


def test_in_a_vm_the_vf_itself_gets_the_mac(world):
    world.node = SimulatedNode(world.path / 'vm', [Vf('0000:00:05.0', 'ens5')])
    before = world.node.state()
    node = world.start(allocations=None)
    sandbox, vif = world.sandbox(1), world.vif('net1', 1)
    node.attach(sandbox, [vif], [model.Device(PHYSNET23, '0000:00:05.0')])
    link = world.node.host.links.find('0000:00:05.0', sandbox.netns)
    assert (link.name, link.mac) == ('net1', vif.mac)
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_no_vf_is_an_error(world):
    node = world.start()
    with pytest.raises(exceptions.NotAllocated, match='allocated 0 to'):
        node.attach(world.sandbox(1), [world.vif('net1', 1)])
    assert node.ledger.all() == ()


def test_del_restores_vlan_mac_name_and_mtu(world):
    before = held_by_pf(world, 1, 0)
    device = world.node.host.pci.device(world.vf(1, 0).pci)
    link = world.node.host.links.get(device.ifindex)
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    node.attach(sandbox, [world.vif('net1', 1, mtu=1400)])
    node.detach(sandbox.container_id)
    now = world.node.host.pci.device(device.pci)
    assert world.node.host.links.get(now.ifindex) == link
    held = held_by_pf(world, 1, 0)
    assert (held.vlan, held.mac) == (before.vlan, before.mac)


def test_a_retry_still_knows_the_original_driver(world):
    def die(step):
        if step == 'report':
            raise Killed

    sandbox = world.sandbox(1, world.vf(0, 0))
    vif = world.vif('net1', 0)
    with pytest.raises(Killed):
        world.start(observe_beginnings=die).attach(sandbox, [vif])
    assert world.node.state()[world.vf(0, 0).pci].driver == 'vfio-pci'
    node = world.start()
    node.attach(sandbox, [vif])
    assert node.ledger.all()[0].original.driver == 'igbvf'
    node.detach(sandbox.container_id)
    assert world.node.state()[world.vf(0, 0).pci].driver == 'igbvf'


def test_a_failed_bind_gives_the_vf_back_and_pins_nothing(world):
    before = world.node.state()
    node = world.start()
    world.node.fail('bind', errno.EINVAL)
    with pytest.raises(exceptions.KernelError, match='IOMMU'):
        node.attach(world.sandbox(1, world.vf(0, 0)), [world.vif('net1', 0)])
    after = world.node.state()[world.vf(0, 0).pci]
    assert (after.driver, after.driver_override) == ('igbvf', '')
    assert world.node.state() == before


def test_a_bifurcated_vf_is_configured_and_given_back(world):
    pf = Pf('0000:02:00.1', 'ens8', vfs=2, driver='mlx5_core')
    world.node = SimulatedNode(world.path / 'mlx5', [pf])
    world.text = world.text.replace(
        'physnet23:netdevice', 'physnet23:mlx5_core'
    )
    before = world.node.state()
    node = world.start()
    sandbox, vif = world.sandbox(1, world.vf(1, 0)), world.vif('net1', 1)
    (attached,) = node.attach(sandbox, [vif])
    assert attached.device_info.rdma_device
    assert held_by_pf(world, 1, 0).vlan == vif.vlan
    assert world.node.operations['unbind'] == 0
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_root_writes_only_to_what_the_kubelet_allocated(world):
    """What a pod's author can edit, its annotations, the node never sees."""
    assert model.Pod.__slots__ == (
        *('namespace', 'name', 'uid', 'node', 'containers'),
    )
    foreign = world.vf(1, 1)
    touched = set()
    put = world.node.host.pci._put
    world.node.host.pci._put = lambda path, text: (
        touched.update((path.parent.name, text)),
        put(path, text),
    )
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    node.attach(sandbox, world.both())
    node.detach(sandbox.container_id)
    assert world.vf(0, 0).pci in touched
    assert foreign.pci not in touched


def test_an_unknown_vf_is_named(world):
    node = world.start()
    device = model.Device(PHYSNET23, '0000:7f:10.3')
    with pytest.raises(exceptions.DeviceMissing, match=device.pci):
        node.attach(world.sandbox(1), [world.vif('net1', 1)], [device])
    assert node.ledger.all() == ()


def test_the_nodes_name_is_not_the_host_name(world, monkeypatch):
    monkeypatch.setattr(socket, 'gethostname', lambda: 'localhost')
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    (attached,) = node.attach(sandbox, [world.vif('net1', 1)])
    assert attached.location.node == 'node1'
