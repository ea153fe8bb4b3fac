# SPDX-License-Identifier: Apache-2.0
"""What sysfs shows of PCI functions."""

import errno
import os

import pytest

from kuryr_sriov import exceptions, model
from kuryr_sriov.host.pci_functions import PciFunctions
from kuryr_sriov.testing.simulation.simulated_node import Pf, SimulatedNode, Vf

PF = '0000:02:00.0'
VF = '0000:02:10.0'


@pytest.fixture
def tree(tmp_path):
    """A function on an otherwise empty bus."""
    path = tmp_path / 'sys/bus/pci/devices' / VF
    path.mkdir(parents=True)
    (path / 'vendor').write_text('0x8086\n')
    (path / 'device').write_text('0x10ca\n')
    return path


def test_a_vf_in_full(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2)])
    index = node.host.links.find(VF, '').index
    assert PciFunctions(tmp_path).device(VF) == model.PciDevice(
        pci=VF,
        vendor='8086',
        device='10ca',
        driver='igbvf',
        pf=PF,
        vf_index=0,
        ifname='ens6v0',
        ifindex=index,
        iommu_group='2',
        numa_node=0,
    )


def test_each_vf_has_the_index_of_the_link_that_points_back(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=12)])
    functions = PciFunctions(tmp_path)
    indices = [functions.device(pci).vf_index for pci in node.vfs(PF)]
    assert indices == list(range(12))


def test_a_vf_in_a_vm_has_no_pf(tmp_path):
    SimulatedNode(tmp_path, [Vf('0000:00:05.0', 'ens5')])
    device = PciFunctions(tmp_path).device('0000:00:05.0')
    assert (device.pf, device.vf_index) == ('', None)


def test_a_pf_that_does_not_link_back_gives_no_index(tree):
    (tree.parent / PF).mkdir()
    os.symlink(f'../{PF}', tree / 'physfn')
    device = PciFunctions(tree.parents[4]).device(VF)
    assert (device.pf, device.vf_index) == (PF, None)


def test_what_the_platform_does_not_say(tree):
    assert PciFunctions(tree.parents[4]).device(VF) == model.PciDevice(
        VF, '8086', '10ca', numa_node=-1
    )


def test_noiommu_is_told_by_the_name_of_the_group(tmp_path):
    node = SimulatedNode(
        tmp_path, [Pf(PF, 'ens6', vf_driver='vfio-pci')], iommu='noiommu'
    )
    functions = PciFunctions(tmp_path)
    assert functions.noiommu_mode()
    assert functions.device(VF).noiommu
    assert functions.device(VF).iommu_group
    node.host.pci.bind(VF, '', 5)
    assert not functions.device(VF).noiommu


def test_a_group_of_a_real_iommu(tmp_path):
    SimulatedNode(tmp_path, [Pf(PF, 'ens6', vf_driver='vfio-pci')])
    functions = PciFunctions(tmp_path)
    assert not functions.noiommu_mode()
    assert not functions.device(VF).noiommu


def test_rdma_and_uio_devices(tmp_path):
    node = SimulatedNode(
        tmp_path,
        [Pf(PF, 'ens6', driver='mlx5_core')],
        drivers=('uio_pci_generic',),
    )
    functions = PciFunctions(tmp_path)
    assert functions.device(VF).rdma_device == 'mlx5_1'
    node.host.pci.bind(VF, 'uio_pci_generic', 5)
    assert functions.device(VF).rdma_device == ''
    assert functions.device(VF).uio == 'uio1'


def test_the_netdev_of_a_virtio_nic_is_below_its_virtio_device(tree):
    (tree / 'driver').symlink_to('../../../bus/pci/drivers/virtio-pci')
    netdev = tree / 'virtio2/net/ens3'
    netdev.mkdir(parents=True)
    (netdev / 'ifindex').write_text('4\n')
    device = PciFunctions(tree.parents[4]).device(VF)
    assert (device.ifname, device.ifindex) == ('ens3', 4)


def test_of_several_netdevs_the_oldest_is_the_functions_own(tree):
    for name, index in (('pf0vf0', 9), ('ens3', 4)):
        (tree / 'net' / name).mkdir(parents=True)
        (tree / 'net' / name / 'ifindex').write_text(f'{index}\n')
    assert PciFunctions(tree.parents[4]).device(VF).ifname == 'ens3'


def test_a_netdev_that_is_just_going_is_none(tree):
    (tree / 'net/ens3').mkdir(parents=True)  # ifindex cannot be read
    assert PciFunctions(tree.parents[4]).device(VF).ifname == ''


def test_an_interface_in_a_pod_leaves_an_empty_folder(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6')])
    netns = node.add_netns('/run/netns/pod')
    index = node.host.pci.device(VF).ifindex
    node.host.links.set(index, to=netns)
    assert (tmp_path / 'sys/bus/pci/devices' / VF / 'net').is_dir()
    assert PciFunctions(tmp_path).device(VF).ifindex == 0


@pytest.mark.parametrize(
    'pci', ['0000:02:10.1', '', '..', '02:10.0', '0000:02:10.0/../..']
)
def test_an_unknown_address_is_named(tmp_path, pci):
    """kuryr-kubernetes went on with None, to a TypeError elsewhere."""
    SimulatedNode(tmp_path, [Pf(PF, 'ens6')])
    with pytest.raises(exceptions.DeviceMissing) as caught:
        PciFunctions(tmp_path).device(pci)
    assert repr(pci) in str(caught.value)
    assert 'lspci -D' in str(caught.value)


def test_a_function_that_goes_while_it_is_read_is_missing(tree):
    (tree / 'vendor').unlink()
    with pytest.raises(exceptions.DeviceMissing):
        PciFunctions(tree.parents[4]).device(VF)


def test_all_network_functions_by_address(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2)])
    disk = tmp_path / 'sys/bus/pci/devices/0000:01:00.0'
    disk.mkdir()
    (disk / 'class').write_text('0x010802\n')
    going = tmp_path / 'sys/bus/pci/devices/0000:03:00.0'
    going.mkdir()
    (going / 'class').write_text('0x020000\n')
    found = [device.pci for device in PciFunctions(tmp_path).list_all()]
    assert found == [PF, *node.vfs(PF)]


def test_vf_counts(tmp_path):
    SimulatedNode(tmp_path, [Pf(PF, 'ens6', vfs=2, total_vfs=7)])
    functions = PciFunctions(tmp_path)
    assert functions.vf_counts(PF) == (2, 7)
    assert functions.vf_counts(VF) == (0, 0)


def test_a_netdev_that_comes_late_is_waited_for(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6')])
    node.delay_netdevs(3600)
    node.host.pci.bind(VF, '', 5)
    node.host.pci.bind(VF, 'igbvf', 5)
    assert node.host.pci.device(VF).ifname == ''
    node.delay_netdevs(0.05)
    node.host.pci.bind(VF, '', 5)
    node.host.pci.bind(VF, 'igbvf', 5)
    assert node.host.pci.wait_netdev(VF, 5).ifname == 'eth0'


def test_a_netdev_that_never_comes_is_an_error_that_says_so(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6', vf_driver='vfio-pci')])
    with pytest.raises(exceptions.DeviceBusy, match=f'0.01 s .* of {VF}; see'):
        node.host.pci.wait_netdev(VF, 0.01)


def test_errors_of_the_simulation_are_the_kernels(tmp_path):
    node = SimulatedNode(tmp_path, [Pf(PF, 'ens6')])
    path = tmp_path / 'sys/bus/pci/devices' / VF / 'vendor'
    with pytest.raises(exceptions.KernelError) as caught:
        node.host.pci._write(path, 'x')
    assert caught.value.errno == errno.EACCES
    assert str(path) in str(caught.value)


def test_a_vf_may_be_linked_to_its_pf_a_little_later(tree):
    functions = PciFunctions(tree.parents[4])
    assert functions.device(VF).pf == ''
    (tree.parent / PF).mkdir()
    os.symlink(f'../{PF}', tree / 'physfn')
    assert functions.device(VF).vf_index is None
    os.symlink(f'../{VF}', tree.parent / PF / 'virtfn3')
    assert (functions.device(VF).pf, functions.device(VF).vf_index) == (PF, 3)


def test_a_function_made_anew_is_read_anew(tree):
    functions = PciFunctions(tree.parents[4])
    (tree.parent / PF).mkdir()
    os.symlink(f'../{PF}', tree / 'physfn')
    os.symlink(f'../{VF}', tree.parent / PF / 'virtfn0')
    assert functions.device(VF).vf_index == 0
    tree.rename(tree.parent / 'gone')
    with pytest.raises(exceptions.DeviceMissing):
        functions.device(VF)
    tree.mkdir()
    (tree / 'vendor').write_text('0x15b3\n')
    (tree / 'device').write_text('0x1018\n')
    assert functions.device(VF) == model.PciDevice(VF, '15b3', '1018')
