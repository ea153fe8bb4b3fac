# SPDX-License-Identifier: Apache-2.0
"""Binding drivers for VFs that a program in the pod drives itself (DPDK).

The pod's program sets addresses; MAC, VLAN and the like are the PF's.
"""

from __future__ import annotations

import abc

from kuryr_sriov import model
from kuryr_sriov.binding.vf import vf_driver


class UserspaceDriver(vf_driver.VfDriver):
    """Binds the VF to the kernel driver that it is chosen by."""

    def connect(self, attachment: model.Attachment) -> None:
        """Configure the PF, then change the driver."""
        # Before the driver: a program reads the MAC from the VF when it
        # starts, and many NICs refuse to change it under its hands.
        self.configure_pf(self.host.pci.device(attachment.pci), attachment)
        self.bind_driver(attachment.pci, self.name)

    def check(self, attachment: model.Attachment) -> None:
        """Compare driver and PF settings with what was attached."""
        device = self.host.pci.device(attachment.pci)
        drift = self.list_drift(attachment)
        if device.driver != self.name:
            drift.append(
                f'driver is {device.driver or "none"}, not {self.name}'
            )
        self.refuse_drift(attachment, drift)

    def device_info(self, attachment: model.Attachment) -> model.DeviceInfo:
        """PCI addresses and the device nodes that the pod opens."""
        device = self.host.pci.device(attachment.pci)
        return model.DeviceInfo(
            pci=device.pci,
            pf_pci=device.pf,
            device_nodes=self.device_nodes(device),
        )

    @abc.abstractmethod
    def device_nodes(self, device: model.PciDevice) -> tuple[str, ...]:
        """Paths under ``/dev`` by which a program drives the VF."""


class VfioDriver(UserspaceDriver):
    """``vfio-pci``, with IOMMU or in no-IOMMU mode."""

    def device_nodes(self, device: model.PciDevice) -> tuple[str, ...]:
        """``/dev/vfio/N``; in no-IOMMU mode ``/dev/vfio/noiommu-N``."""
        # As vfio_create_group in the kernel's drivers/vfio/group.c names it.
        prefix = 'noiommu-' if device.noiommu else ''
        return '/dev/vfio/vfio', f'/dev/vfio/{prefix}{device.iommu_group}'


class UioDriver(UserspaceDriver):
    """``uio_pci_generic`` or ``igb_uio``."""

    def device_nodes(self, device: model.PciDevice) -> tuple[str, ...]:
        """``/dev/uioN``."""
        return (f'/dev/{device.uio}',)
