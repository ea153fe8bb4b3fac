# SPDX-License-Identifier: Apache-2.0
"""Our binding drivers keep the contract on the simulated node."""

import types

import pytest

from kuryr_sriov.binding.netdevice import BifurcatedDriver, NetdeviceDriver
from kuryr_sriov.binding.userspace import UioDriver, VfioDriver
from kuryr_sriov.testing.contracts.binding_contract import (
    SimulatedBindingContract,
)
from kuryr_sriov.testing.simulation.simulated_node import Pf, Vf

PF = '0000:02:00.0'


class TestNetdevice(SimulatedBindingContract):
    driver_class = NetdeviceDriver


class TestIgbvf(SimulatedBindingContract):
    driver_class = NetdeviceDriver
    driver_name = 'igbvf'


class TestNetdeviceOnAnAvf(SimulatedBindingContract):
    driver_class = NetdeviceDriver
    functions = (Pf(PF, 'ens6', vfs=2, driver='i40e'),)


class TestNetdeviceOfAVfHeldByVfio(SimulatedBindingContract):
    driver_class = NetdeviceDriver
    functions = (Pf(PF, 'ens6', vfs=2, vf_driver='vfio-pci'),)


class TestBifurcated(SimulatedBindingContract):
    driver_class = BifurcatedDriver
    driver_name = 'mlx5_core'
    functions = (Pf(PF, 'ens6', vfs=2, driver='mlx5_core'),)


class TestBifurcatedWithRdmaOfItsOwn(TestBifurcated):
    rdma_exclusive = True


class TestVfio(SimulatedBindingContract):
    driver_class = VfioDriver
    driver_name = 'vfio-pci'
    kernel = False


class TestVfioOfAVfHeldByVfio(TestVfio):
    functions = (Pf(PF, 'ens6', vfs=2, vf_driver='vfio-pci'),)


class TestVfioWithoutIommu(TestVfio):
    iommu = 'noiommu'

    @pytest.fixture
    def conf(self):
        return types.SimpleNamespace(
            device_timeout=5.0, allow_unsafe_noiommu=True
        )


class TestUio(SimulatedBindingContract):
    driver_class = UioDriver
    driver_name = 'uio_pci_generic'
    kernel = False


class InAVm(SimulatedBindingContract):
    """The node is a VM: the VF has no PF here."""

    functions = (Vf(PF, 'ens6'),)

    @pytest.fixture
    def meddle(self, host):
        """What is left to change: there is no PF to hold a VLAN."""

        def unbind(attachment):
            host.pci.bind(attachment.pci, '', 5)
            return attachment.pci

        return unbind


class TestNetdeviceInAVm(InAVm):
    driver_class = NetdeviceDriver


class TestVfioInAVm(InAVm):
    driver_class = VfioDriver
    driver_name = 'vfio-pci'
    kernel = False
    iommu = 'noiommu'
