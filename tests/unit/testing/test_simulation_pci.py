# SPDX-License-Identifier: Apache-2.0
"""The simulated PCI bus answers as Linux does."""

import errno
import os

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.testing.simulation.simulated_node import (
    NO_MAC,
    Pf,
    SimulatedNode,
    Vf,
)

PF = '0000:02:00.0'
VF = '0000:02:10.0'


@pytest.fixture
def node(tmp_path):
    return SimulatedNode(
        tmp_path, [Pf(PF, 'ens6', vfs=2, total_vfs=7)], drivers=('vfio-pci',)
    )


def write(node, path, text):
    """What a process that writes to the node's sysfs gets."""
    pci = node.host.pci
    pci._put(pci.root / 'sys/bus/pci' / path, text)


def refusal(node, path, text):
    with pytest.raises(OSError) as caught:  # noqa: PT011
        write(node, path, text)
    return caught.value.errno


def test_vfs_are_where_an_intel_nic_has_them(tmp_path):
    pfs = [Pf('0000:02:00.0', 'ens6', 2), Pf('0000:02:00.1', 'ens8', 5)]
    node = SimulatedNode(tmp_path, pfs)
    assert node.vfs(PF) == ['0000:02:10.0', '0000:02:10.2']
    assert node.vfs('0000:02:00.1')[-1] == '0000:02:11.1'


def test_vfs_of_many_pfs_have_addresses_of_their_own(tmp_path):
    names = [f'0000:02:00.{number}' for number in range(4)]
    node = SimulatedNode(tmp_path, [Pf(n, f'p{n[-1]}', 64) for n in names])
    assert len({vf for name in names for vf in node.vfs(name)}) == 256


def test_a_driver_takes_only_what_it_knows_or_is_told_to(node):
    write(node, 'drivers/igbvf/unbind', VF)
    assert refusal(node, 'drivers/vfio-pci/bind', VF) == errno.ENODEV
    write(node, f'devices/{VF}/driver_override', 'vfio-pci')
    assert refusal(node, 'drivers/igbvf/bind', VF) == errno.ENODEV
    write(node, 'drivers/vfio-pci/bind', VF)
    assert node.state()[VF].driver == 'vfio-pci'
    assert refusal(node, 'drivers/vfio-pci/bind', VF) == errno.EBUSY


def test_probing_follows_driver_override(node):
    write(node, 'drivers/igbvf/unbind', VF)
    write(node, f'devices/{VF}/driver_override', 'vfio-pci')
    write(node, 'drivers_probe', VF)
    assert node.state()[VF].driver == 'vfio-pci'
    write(node, 'drivers_probe', VF)  # bound already: no error, no change
    assert node.state()[VF].driver == 'vfio-pci'


def test_a_newline_clears_driver_override(node, tmp_path):
    path = tmp_path / f'sys/bus/pci/devices/{VF}/driver_override'
    write(node, f'devices/{VF}/driver_override', 'vfio-pci\n')
    assert path.read_text() == 'vfio-pci\n'
    write(node, f'devices/{VF}/driver_override', '\n')
    assert path.read_text() == '(null)\n'


@pytest.mark.parametrize(
    ('path', 'text', 'number'),
    [
        ('drivers/vfio-pci/unbind', VF, errno.ENODEV),  # another has it
        ('drivers/igbvf/unbind', '0000:02:10.1', errno.ENODEV),
        ('drivers/no_such/bind', VF, errno.ENOENT),
        ('drivers_probe', '0000:02:10.1', errno.ENODEV),
        (f'devices/{PF}/sriov_numvfs', '8', errno.ERANGE),
        (f'devices/{PF}/sriov_numvfs', '3', errno.EBUSY),
        (f'devices/{VF}/vendor', 'x', errno.EACCES),
    ],
)
def test_refusals(node, path, text, number):
    before = node.state()
    assert refusal(node, path, text) == number
    assert node.state() == before


def test_a_rebound_vf_has_a_new_name_and_a_new_mac(node):
    before = node.state()[VF]
    write(node, 'drivers/igbvf/unbind', VF)
    assert node.state()[VF].link is None
    assert not os.path.exists(
        node.host.pci.root / f'sys/bus/pci/devices/{VF}/net'
    )
    write(node, 'drivers/igbvf/bind', VF)
    after = node.state()[VF]
    assert (before.link.name, after.link.name) == ('ens6v0', 'eth0')
    assert before.link.mac != after.link.mac


def test_or_the_mac_that_its_pf_has_set(node):
    pf = node.host.pci.device(PF).ifindex
    settings = model.VfSettings(mac='fa:16:3e:00:00:07')
    node.host.links.set_vf(pf, 0, settings)
    node.host.pci.bind(VF, '', 5)
    node.host.pci.bind(VF, 'igbvf', 5)
    assert node.state()[VF].link.mac == 'fa:16:3e:00:00:07'


def test_vfs_made_anew_know_nothing_of_the_past(node):
    pf = node.host.pci.device(PF).ifindex
    netns = node.add_netns('/run/netns/pod')
    node.host.links.set(node.host.pci.device(VF).ifindex, to=netns)
    node.host.links.set_vf(pf, 0, model.VfSettings(vlan=5, vlan_qos=0))
    node.recreate_vfs(PF)
    state = node.state()[VF]
    assert (state.driver, state.netns) == ('igbvf', '')
    assert state.settings.vlan == 0
    assert node.host.links.find(VF, netns) is None


def test_fewer_vfs_than_before(node):
    node.recreate_vfs(PF, number=1)
    assert node.vfs(PF) == [VF]
    assert node.host.pci.functions.vf_counts(PF) == (1, 7)
    write(node, f'devices/{PF}/sriov_numvfs', '1')  # no change, no error
    assert node.vfs(PF) == [VF]


def test_a_pf_without_driver_makes_no_vfs(node):
    node.recreate_vfs(PF, number=0)
    write(node, 'drivers/igb/unbind', PF)
    assert refusal(node, f'devices/{PF}/sriov_numvfs', '1') == errno.ENOENT


def test_noiommu_groups_come_and_go_with_vfio(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 1)], iommu='noiommu')
    assert node.host.pci.device(VF).iommu_group == ''
    for group in ('1', '2'):
        node.host.pci.bind(VF, 'vfio-pci', 5)
        assert node.host.pci.device(VF).iommu_group == group
        node.host.pci.bind(VF, 'igbvf', 5)
        assert node.host.pci.device(VF).iommu_group == ''


def test_a_driver_that_is_removed_leaves_its_devices(node):
    node.unload('igbvf')
    assert {node.state()[pci].driver for pci in node.vfs(PF)} == {''}
    with pytest.raises(exceptions.KernelError, match='modprobe igbvf'):
        node.host.pci.bind(VF, 'igbvf', 5)
    node.load('igbvf')
    node.host.pci.bind(VF, 'igbvf', 5)
    assert node.state()[VF].driver == 'igbvf'


def test_a_reboot_brings_everything_back_as_it_was_built(node):
    built, boot = node.state(), node.host.boot_id()
    netns = node.add_netns('/run/netns/pod')
    node.host.links.set(node.host.pci.device(VF).ifindex, to=netns)
    node.host.pci.bind(node.vfs(PF)[1], 'vfio-pci', 5)
    node.delay_netdevs(0)
    node.reboot()
    assert node.host.boot_id() != boot
    assert not node.host.links.alive(netns)
    assert {p: (s.driver, s.netns, s.link.name) for p, s in built.items()} == {
        p: (s.driver, s.netns, s.link.name) for p, s in node.state().items()
    }


def test_a_late_netdev_of_a_driver_that_is_gone_again_never_comes(node):
    node.delay_netdevs(0.02)
    node.host.pci.bind(VF, '', 5)
    node.host.pci.bind(VF, 'igbvf', 5)
    node.host.pci.bind(VF, 'vfio-pci', 5)
    with pytest.raises(exceptions.DeviceBusy):
        node.host.pci.wait_netdev(VF, 0.05)


def test_nothing_comes_late_once_the_node_is_closed(node):
    # A second: a busy machine must have closed it by then.
    node.delay_netdevs(1.0)
    node.host.pci.bind(VF, '', 5)
    node.host.pci.bind(VF, 'igbvf', 5)
    node.close()
    with pytest.raises(exceptions.DeviceBusy):
        node.host.pci.wait_netdev(VF, 1.2)


@pytest.mark.parametrize('pinned', [False, True])
def test_a_vf_in_a_vm(tmp_path, pinned):
    node = SimulatedNode(tmp_path, [Vf(PF, 'ens5', pinned=pinned)])
    index = node.host.pci.device(PF).ifindex
    state = node.state()[PF]
    assert (state.driver, state.settings) == ('iavf', None)
    if pinned:
        with pytest.raises(exceptions.KernelError):
            node.host.links.set(index, mac='fa:16:3e:00:00:07')
        assert node.state()[PF] == state
    else:
        node.host.links.set(index, mac='fa:16:3e:00:00:07')
        assert node.state()[PF].link.mac == 'fa:16:3e:00:00:07'


def test_a_pf_that_does_not_know_the_macs_its_vfs_gave_themselves(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', 1, driver='mlx5_core')])
    assert node.state()[VF].settings.mac == NO_MAC
    node.host.links.set(
        node.host.pci.device(VF).ifindex, mac='fa:16:3e:00:00:07'
    )
    assert node.state()[VF].settings.mac == NO_MAC
