# SPDX-License-Identifier: Apache-2.0
"""The RDMA device of a VF goes where its interface goes, and comes home."""

import dataclasses
import errno
import types

import pytest
from values import VIF

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.netdevice import BifurcatedDriver, NetdeviceDriver
from kuryr_sriov.testing.simulation.simulated_node import (
    NICS,
    Pf,
    SimulatedNode,
)

PF = '0000:02:00.0'
POD = '/run/netns/pod'
VIF_OF_POD = dataclasses.replace(
    VIF, min_tx_rate=None, max_tx_rate=None, vlan_proto='802.1q'
)


class World:
    """A node with an mlx5, a pod, and the attachment of a VF to it."""

    def __init__(
        self,
        path,
        exclusive=True,
        nic=None,
        held_by='',
        driver=BifurcatedDriver,
    ):
        pf = Pf(
            PF, 'ens6', vfs=2, driver='mlx5_core', nic=nic, vf_driver=held_by
        )
        self.node = SimulatedNode(path, [pf])
        if exclusive:
            self.node.make_rdma_exclusive()
        self.node.add_netns(POD)
        self.pci = self.node.vfs(PF)[0]
        conf = types.SimpleNamespace(device_timeout=1)
        self.driver = driver('mlx5_core', self.node.host, conf)
        self.before = self.node.state()
        self.attachment = model.Attachment(
            sandbox=model.Sandbox('c1', POD, model.Pod('n', 'p', 'uid')),
            vif=VIF_OF_POD,
            pci=self.pci,
            driver='mlx5_core',
            pf=PF,
            original=self.driver.snapshot(self.pci),
        )

    @property
    def rdma(self):
        """Name and network namespace of the VF's RDMA device."""
        return self.node.state()[self.pci].rdma

    def comes_home(self):
        """Whether a DEL restores all."""
        self.driver.disconnect(self.attachment)
        return self.node.state() == self.before


@pytest.fixture
def world(tmp_path):
    world = World(tmp_path)
    world.driver.connect(world.attachment)
    return world


def test_it_is_in_the_pod_and_the_pod_is_told_its_nodes(world):
    assert world.rdma == ('mlx5_1', POD)
    assert world.driver.device_info(world.attachment) == model.DeviceInfo(
        pci=world.pci,
        pf_pci=PF,
        rdma_device='mlx5_1',
        device_nodes=('/dev/infiniband/uverbs1', '/dev/infiniband/rdma_cm'),
    )
    world.driver.check(world.attachment)
    assert world.comes_home()


def test_it_comes_home_from_a_netns_that_is_gone(world):
    world.node.delete_netns(POD)
    assert world.comes_home()


def test_it_comes_home_under_its_own_name(world):
    world.node.rename_rdma(world.pci, 'mine')
    assert world.comes_home()


def test_its_name_may_be_taken(world, caplog):
    world.node.rename_rdma(world.pci, 'mine')
    world.node.rename_rdma(world.node.vfs(PF)[1], 'mlx5_1')
    world.driver.disconnect(world.attachment)
    assert world.rdma == ('mine', '')
    assert 'mlx5_1 is taken' in caplog.text


def test_check_sees_that_it_is_not_in_the_pod(world):
    host = world.node.host
    index = host.rdma.find_rdma('mlx5_1', POD)
    host.rdma.move_rdma(index, POD, '')
    with pytest.raises(exceptions.Drifted, match=f'mlx5_1 is not in {POD}'):
        world.driver.check(world.attachment)
    assert world.driver.device_info(world.attachment).rdma_device == ''
    assert world.comes_home()


def test_check_sees_that_it_is_gone(world):
    world.node.host.pci.bind(world.pci, '', 1)
    with pytest.raises(exceptions.Drifted, match='mlx5_1 is gone'):
        world.driver.check(world.attachment)
    assert world.comes_home()


def test_one_that_is_gone_for_good_keeps_no_vf_away(world, caplog):
    """A device in software can be removed, and nobody makes it again."""
    world.node.remove_rdma(world.pci)
    world.driver.disconnect(world.attachment)
    before = dataclasses.replace(world.before[world.pci], rdma=None)
    assert world.node.state()[world.pci] == before
    assert f'{world.pci} has no RDMA device any more' in caplog.text


def test_one_that_stays_in_the_pod_has_its_driver_rebound(world):
    """Nobody but its driver can have it then."""
    world.node.fail('move_rdma', errno.EPERM, 100)
    world.driver.disconnect(world.attachment)
    state = world.node.state()[world.pci]
    assert (state.netns, state.rdma) == ('', ('mlx5_1', ''))


def test_what_its_driver_cannot_do_is_refused_whole(tmp_path):
    nic = dataclasses.replace(NICS['mlx5_core'], rdma_moves=False)
    world = World(tmp_path, nic=nic)
    with pytest.raises(exceptions.UnsupportedSetting) as caught:
        world.driver.connect(world.attachment)
    assert caught.value.setting == 'rdma'
    assert 'rdma system set netns shared' in str(caught.value)
    assert world.comes_home()


def test_where_all_namespaces_share_it_it_stays_and_is_told(tmp_path):
    world = World(tmp_path, exclusive=False)
    world.driver.connect(world.attachment)
    assert world.rdma == ('mlx5_1', '')
    info = world.driver.device_info(world.attachment)
    assert info.rdma_device == 'mlx5_1'
    assert info.device_nodes[0] == '/dev/infiniband/uverbs1'
    world.driver.check(world.attachment)
    assert world.comes_home()
    assert world.node.operations['move_rdma'] == 0


def test_one_that_the_pods_driver_makes_goes_into_the_pod_too(tmp_path):
    """Its VF was in the hands of vfio-pci before."""
    world = World(tmp_path, held_by='vfio-pci', driver=NetdeviceDriver)
    world.driver.connect(world.attachment)
    assert world.rdma == ('mlx5_1', POD)
    assert world.driver.device_info(world.attachment).rdma_device == 'mlx5_1'
    assert world.comes_home()


def test_a_vf_without_one_costs_no_request(tmp_path):
    nic = dataclasses.replace(NICS['mlx5_core'], rdma=False)
    world = World(tmp_path, nic=nic)
    world.driver.connect(world.attachment)
    assert world.driver.device_info(world.attachment).rdma_device == ''
    assert world.comes_home()
    assert world.node.operations['find_rdma'] == 0
