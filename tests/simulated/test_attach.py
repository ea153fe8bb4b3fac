# SPDX-License-Identifier: Apache-2.0
"""ADD: a pod has all its VFs, or none and the node is as before."""

import dataclasses
import errno

import pytest

from kuryr_sriov import exceptions, model, plugins
from kuryr_sriov.binding.netdevice import NetdeviceDriver
from kuryr_sriov.host.locks import PfLocks


def test_a_pod_gets_its_two_vfs(world):
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 1))
    first, second = node.attach(sandbox, world.both())
    assert first.location.pci_slot == world.vf(0, 0).pci
    assert first.location.physical_network == 'physnet22'
    assert first.location.pci_vendor_info == '8086:10ca'
    assert first.location.node == 'node1'
    assert first.driver == 'vfio-pci'
    assert first.device_info.device_nodes[0] == '/dev/vfio/vfio'
    assert second.location.pci_slot == world.vf(1, 1).pci
    state = world.node.state()
    assert state[world.vf(0, 0).pci].driver == 'vfio-pci'
    assert state[world.vf(1, 1).pci].netns == sandbox.netns
    assert [record.done for record in node.ledger.all()] == [True, True]


def test_it_is_given_back_exactly(world):
    before = world.node.state()
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 1))
    node.attach(sandbox, world.both())
    assert world.node.state() != before
    node.detach(sandbox.container_id)
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_the_wire_that_is_reported_is_the_vfs_and_not_the_vifs(world):
    """Told its own word back, the controller would see no contradiction."""
    sandbox = world.sandbox(1, world.vf(1, 0))
    wrong = dataclasses.replace(world.vif('net1', 1), physnet='physnet22')
    (attached,) = world.start().attach(sandbox, [wrong])
    assert attached.vif.physnet == 'physnet22'
    assert attached.location.physical_network == 'physnet23'


def test_devices_the_host_names_are_taken_without_asking_the_kubelet(world):
    node = world.start(allocations=None)
    sandbox = world.sandbox(1)
    device = world.vf(1, 0)
    (attached,) = node.attach(sandbox, [world.vif('net1', 1)], [device])
    assert attached.location.pci_slot == device.pci


def test_too_few_vfs_leave_no_trace(world):
    before = world.node.state()
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0))
    with pytest.raises(exceptions.NotAllocated, match='physnet23'):
        node.attach(sandbox, world.both())
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_one_refused_setting_takes_back_the_whole_pod(world):
    world.node.refuse('0000:02:00.1', {'vlan': errno.EINVAL})
    before = world.node.state()
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    with pytest.raises(exceptions.UnsupportedSetting, match='vlan') as raised:
        node.attach(sandbox, world.both())
    assert raised.value.setting == 'vlan'
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_what_cannot_be_taken_back_stays_on_record_and_is_said(world):
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    before = world.node.state()

    def break_undo(operation):
        if operation == 'add_address':
            world.node.fail('pf', errno.EIO, times=99)

    world.node.on_change(break_undo)
    world.node.fail('add_address', errno.EIO)
    with pytest.raises(exceptions.KernelError, match='add_address'):
        node.attach(sandbox, [world.vif('net1', 1)])
    world.node.heal()
    (record,) = node.ledger.all()
    assert 'could not be restored' in record.owed
    assert (record.pci, record.done) == (world.vf(1, 0).pci, False)
    assert node.reconcile().restored == (record,)
    assert world.node.state() == before


def test_a_repeated_add_wires_the_same_vf_anew(world):
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0), world.vf(1, 1))
    vif = world.vif('net1', 1)
    first = node.attach(sandbox, [vif])
    assert node.attach(sandbox, [vif]) == first
    assert len(node.ledger.all()) == 1
    node.check(sandbox.container_id)


def test_interfaces_may_come_one_by_one(world):
    """As Multus does; each gets a VF of its own."""
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0), world.vf(1, 1))
    first = node.attach(sandbox, [world.vif('net1', 1)])
    second = node.attach(sandbox, [world.vif('net2', 1)])
    assert first[0].location.pci_slot != second[0].location.pci_slot
    node.detach(sandbox.container_id, 'net1')
    assert [a.vif.ifname for a in node.ledger.all()] == ['net2']
    node.check(sandbox.container_id)


def test_an_interface_name_that_the_pod_has_already_is_refused(world):
    before = world.node.state()
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    world.node.add_interface('net1', sandbox.netns)
    with pytest.raises(exceptions.KernelError, match='net1 exists already'):
        node.attach(sandbox, [world.vif('net1', 1)])
    assert world.node.state() == before


def test_a_netdev_that_appears_late_is_waited_for(world):
    world.node.delay_netdevs(0.05)
    node = world.start()
    sandbox = world.sandbox(1, world.vf(0, 0), world.vf(1, 0))
    before = world.node.state()
    node.attach(sandbox, world.both())
    node.detach(sandbox.container_id)
    assert world.node.state() == before


def test_a_netdev_that_never_appears_is_an_error_that_names_the_vf(world):
    world.timeout = 0.05
    node = world.start()
    device = world.vf(1, 0)
    world.node.host.pci.bind(device.pci, '', 1)
    world.node.delay_netdevs(3600)
    with pytest.raises(exceptions.DeviceBusy, match=device.pci):
        node.attach(world.sandbox(1, device), [world.vif('net1', 1)])


def test_a_mac_the_vf_may_not_set_takes_a_rebind(world):
    """The NIC insists on the PF's MAC until the VF's driver starts anew."""
    node = world.start()
    device = world.vf(1, 0)
    host = world.node.host
    pf = host.pci.device('0000:02:00.1')
    host.links.set_vf(pf.ifindex, 0, model.VfSettings(mac='02:00:00:00:99:01'))
    sandbox = world.sandbox(1, device)
    vif = world.vif('net1', 1)
    node.attach(sandbox, [vif])
    link = host.links.find(device.pci, sandbox.netns)
    assert link.mac == vif.mac
    before = world.node.operations['unbind']
    assert before == 1
    node.detach(sandbox.container_id)
    settings = world.node.state()[device.pci].settings
    assert settings.mac == '02:00:00:00:99:01'


def test_an_mtu_too_large_is_named(world):
    before = world.node.state()
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    with pytest.raises(exceptions.UnsupportedSetting, match='mtu 60000'):
        node.attach(sandbox, [world.vif('net1', 1, mtu=60000)])
    assert world.node.state() == before


def test_neighbours_that_cannot_be_told_do_not_stop_the_pod(world, caplog):
    node = world.start()
    world.node.fail('announce', errno.ENETDOWN)
    sandbox = world.sandbox(1, world.vf(1, 0))
    node.attach(sandbox, [world.vif('net1', 1)])
    node.announce(sandbox.container_id)
    (line,) = [r.message for r in caplog.records if r.levelname == 'ERROR']
    assert line.startswith('announce failed after 0.')
    assert 'interface net1, port port-1, pod default/pod1' in line
    assert world.node.announced == []


def test_a_driver_that_cannot_announce_does_not_keep_the_next(
    world, monkeypatch
):
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0), world.vf(1, 1))
    node.attach(sandbox, [world.vif('net1', 1), world.vif('net2', 1)])
    announce = NetdeviceDriver.announce

    def breaks(driver, attachment):
        if attachment.vif.ifname == 'net1':
            raise ZeroDivisionError
        announce(driver, attachment)

    monkeypatch.setattr(NetdeviceDriver, 'announce', breaks)
    node.announce(sandbox.container_id)
    assert len(world.node.announced) == 1


def test_no_pod_waits_for_the_carrier_of_another(world):
    locks = PfLocks(world.path / 'state' / 'locks', timeout=0)
    told = []

    def look(event):
        if (event.step, event.phase) == ('announce', 'started'):
            with locks.hold(['0000:02:00.1']):
                told.append(node.ledger.all()[0].done)

    node = world.start(observe=look)
    sandbox = world.sandbox(1, world.vf(1, 0))
    node.attach(sandbox, [world.vif('net1', 1)])
    node.announce(sandbox.container_id)
    assert told == [True]


def test_a_driver_that_breaks_at_the_end_leaves_nothing(world, monkeypatch):
    before = world.node.state()
    node = world.start()

    def breaks(driver, attachment):
        raise ZeroDivisionError

    monkeypatch.setattr(NetdeviceDriver, 'device_info', breaks)
    with pytest.raises(ZeroDivisionError):
        node.attach(world.sandbox(1, world.vf(1, 0)), [world.vif('net1', 1)])
    assert world.node.state() == before
    assert node.ledger.all() == ()


def test_a_pf_without_link_and_rates(world):
    """igb and ixgbe set none then; with the link it goes on."""
    before = world.node.state()
    node = world.start()
    sandbox = world.sandbox(1, world.vf(1, 0))
    vif = world.vif('net1', 1, max_tx_rate=100)
    world.node.unplug('0000:02:00.1')
    with pytest.raises(exceptions.DeviceBusy, match=r'ens8 .* has no link'):
        node.attach(sandbox, [vif])
    assert node.ledger.all() == ()
    world.node.plug('0000:02:00.1')
    assert world.node.state() == before
    node.attach(sandbox, [vif])

    world.node.unplug('0000:02:00.1')
    node.detach(sandbox.container_id)
    (record,) = node.ledger.all()
    assert 'has no link' in record.owed

    successor = world.sandbox(2, world.vf(1, 0))
    node.attach(successor, [world.vif('net1', 1)])
    world.node.plug('0000:02:00.1')
    node.detach(successor.container_id)
    assert node.ledger.all() == ()
    assert world.node.state() == before


def test_a_driver_with_a_section_of_its_own_has_the_device_timeout(
    world, monkeypatch
):
    waits = []

    class OfAcme(NetdeviceDriver):
        contract = 1
        group = 'acme'
        kernel_driver = 'igbvf'

        def connect(self, attachment):
            waits.append(self.device_timeout)
            super().connect(attachment)

    monkeypatch.setattr(plugins, 'load_plugin', lambda *_: OfAcme)
    world.timeout = 1.25
    node = world.start()
    node.attach(world.sandbox(1, world.vf(1, 0)), [world.vif('net1', 1)])
    assert waits == [1.25]


def test_a_vif_that_has_no_driver_names_the_option(world):
    node = world.start()
    world.text = ''
    sandbox = world.sandbox(1)
    vif = world.vif('net1', 1, resource='intel.com/other')
    device = model.Device('intel.com/other', world.vf(1, 0).pci)
    with pytest.raises(
        exceptions.ConfigurationError, match='resource_driver_mappings'
    ):
        node.attach(sandbox, [vif], [device])
    assert node.ledger.all() == ()


def test_a_node_does_not_start_with_mistakes_in_its_configuration(world):
    world.text = world.text.replace('physnet22:vfio-pci', 'physnet22:nothing')
    with pytest.raises(exceptions.ConfigurationError, match="'nothing'"):
        world.start()
