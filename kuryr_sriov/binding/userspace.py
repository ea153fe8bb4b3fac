# SPDX-License-Identifier: Apache-2.0
"""Binding drivers for VFs that a program in the pod drives itself (DPDK).

The pod's program sets addresses; MAC, VLAN and the like are the PF's.
"""

from __future__ import annotations

import abc

from kuryr_sriov import exceptions, model
from kuryr_sriov.binding.vf import vf_driver

NOIOMMU_REMEDY = (
    'switch the IOMMU on (VT-d or AMD-Vi in the firmware, on Intel '
    'intel_iommu=on), or, if whoever runs pods here may own the node, say '
    'allow_unsafe_noiommu = true in [sriov]'
)


def is_noiommu_allowed(allowed: bool | None, is_guest: bool) -> bool:
    """Whether a VF may be driven without an IOMMU on this node.

    :param allowed: ``[sriov] allow_unsafe_noiommu``.
    """
    # A VM's VF reaches no more than the VM: the IOMMU of its hypervisor sees
    # to that. And few VMs have an IOMMU of their own.
    return is_guest if allowed is None else allowed


class UserspaceDriver(vf_driver.VfDriver):
    """Binds the VF to the kernel driver that it is chosen by."""

    def connect(self, attachment: model.Attachment) -> None:
        """Configure the PF, then change the driver."""
        device = self.host.pci.device(attachment.pci)
        self.refuse_unsafe(device)
        # Before the driver: a program reads the MAC from the VF when it
        # starts, and many NICs refuse to change it under its hands.
        self.configure_pf(device, attachment)
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

    def refuse_unsafe(self, device: model.PciDevice) -> None:
        """Refuse a VF that no program should have; by default none.

        :raises UnsupportedSetting: a program could do harm with it.
        """

    @abc.abstractmethod
    def device_nodes(self, device: model.PciDevice) -> tuple[str, ...]:
        """Paths under ``/dev`` by which a program drives the VF."""


class VfioDriver(UserspaceDriver):
    """``vfio-pci``, with IOMMU or in no-IOMMU mode."""

    def refuse_unsafe(self, device: model.PciDevice) -> None:
        """Refuse no-IOMMU mode where it is not allowed."""
        # Behind an IOMMU each function is in a group; without one, VFIO makes
        # a group for as long as it has the function.
        if not device.iommu_group or device.noiommu:
            # a vendor's subclass may have a section of its own
            allowed = getattr(self.conf, 'allow_unsafe_noiommu', None)
            if not is_noiommu_allowed(allowed, self.host.is_guest):
                raise exceptions.UnsupportedSetting(
                    f'{device.pci} is behind no IOMMU: a program that has it '
                    f'could reach all memory of this node; {NOIOMMU_REMEDY}',
                    'driver',
                )

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
