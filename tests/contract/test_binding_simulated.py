# SPDX-License-Identifier: Apache-2.0
"""Our binding drivers keep the contract on the simulated node."""

import dataclasses
import errno

import pytest

from kuryr_sriov.binding.netdevice import BifurcatedDriver, NetdeviceDriver
from kuryr_sriov.binding.userspace import UioDriver, VfioDriver
from kuryr_sriov.testing.binding import BindingDriverContract
from kuryr_sriov.testing.node import Pf, SimulatedNode, Vf

PF = '0000:02:00.0'


def visible(node):
    """The node's state, but for what no request to a kernel tells.

    Whether the PF has set the MAC it shows, or the VF has, shows only when
    the VF's netdev has another one.
    """
    return {
        pci: dataclasses.replace(
            state, pinned=bool(state.link and state.pinned)
        )
        for pci, state in node.state().items()
    }


class Simulated(BindingDriverContract):
    """The fixtures of a node with one PF."""

    functions = (Pf(PF, 'ens6', vfs=2),)
    iommu = 'on'

    @pytest.fixture
    def node(self, tmp_path):
        return SimulatedNode(
            tmp_path,
            self.functions,
            drivers=('vfio-pci', 'uio_pci_generic'),
            iommu=self.iommu,
        )

    @pytest.fixture
    def host(self, node):
        return node.host

    @pytest.fixture
    def pci(self, node):
        return node.vfs(PF)[0]

    @pytest.fixture
    def netns(self, node):
        return node.add_netns('/run/netns/pod')

    @pytest.fixture
    def delete_netns(self, node):
        return node.delete_netns

    @pytest.fixture
    def driver_override(self, node):
        return lambda pci: node.state()[pci].driver_override

    @pytest.fixture
    def refused(self, node):
        node.refuse(PF, {'min_tx_rate': errno.EINVAL})
        return {'min_tx_rate': 100}

    @pytest.fixture(autouse=True)
    def exactly_as_before(self, node, request):
        """What the suite leaves is looked at from the kernel's side."""
        if 'attachment' not in request.fixturenames:
            yield
            return
        before = visible(node)
        attachment = request.getfixturevalue('attachment')
        driver = request.getfixturevalue('driver')
        yield
        driver.disconnect(attachment)
        assert visible(node) == before


class TestNetdevice(Simulated):
    driver_class = NetdeviceDriver


class TestIgbvf(Simulated):
    driver_class = NetdeviceDriver
    driver_name = 'igbvf'


class TestNetdeviceOnAnAvf(Simulated):
    driver_class = NetdeviceDriver
    functions = (Pf(PF, 'ens6', vfs=2, driver='i40e'),)


class TestNetdeviceOfAVfHeldByVfio(Simulated):
    driver_class = NetdeviceDriver
    functions = (Pf(PF, 'ens6', vfs=2, vf_driver='vfio-pci'),)


class TestBifurcated(Simulated):
    driver_class = BifurcatedDriver
    driver_name = 'mlx5_core'
    functions = (Pf(PF, 'ens6', vfs=2, driver='mlx5_core'),)


class TestVfio(Simulated):
    driver_class = VfioDriver
    driver_name = 'vfio-pci'
    kernel = False


class TestVfioOfAVfHeldByVfio(TestVfio):
    functions = (Pf(PF, 'ens6', vfs=2, vf_driver='vfio-pci'),)


class TestVfioWithoutIommu(TestVfio):
    iommu = 'noiommu'


class TestUio(Simulated):
    driver_class = UioDriver
    driver_name = 'uio_pci_generic'
    kernel = False


class InAVm(Simulated):
    """The node is a VM: the VF has no PF here."""

    functions = (Vf(PF, 'ens6'),)

    @pytest.fixture
    def pci(self):
        return PF


class TestNetdeviceInAVm(InAVm):
    driver_class = NetdeviceDriver


class TestVfioInAVm(InAVm):
    driver_class = VfioDriver
    driver_name = 'vfio-pci'
    kernel = False
    iommu = 'noiommu'
