# SPDX-License-Identifier: Apache-2.0
"""PCI functions of this node, as sysfs shows them.

Follows the kernel's ``Documentation/ABI/testing/sysfs-bus-pci`` and
``Documentation/PCI/pci-iov-howto.rst``.
"""

from __future__ import annotations

import contextlib
import os
import pathlib

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import rdma_files, wait

NETWORK_CLASS = '0x02'
# Drivers that leave a function to a program in user space.
USERSPACE_DRIVERS = frozenset({'igb_uio', 'uio_pci_generic', 'vfio-pci'})
VIRTIO = 'virtio-pci'
# What the kernel calls a group that VFIO made because there is no IOMMU
# (vfio_noiommu_group_alloc).
NOIOMMU_GROUP = 'vfio-noiommu'
# How often a netdev may be renamed while it is looked at.
RENAMES = 5
# The longest text of a file in sysfs (PAGE_SIZE of the smallest kernels).
PAGE = 4096


class PciFunctions:
    """This node's PCI functions, read only. Thread-safe.

    :param root: where ``sys`` is mounted.
    """

    def __init__(self, root: str | os.PathLike[str] = '/') -> None:
        self.root = pathlib.Path(root)
        self.bus = self.root / 'sys/bus/pci'
        # Texts, not pathlib's objects, which take longer than the kernel.
        self._devices = os.fspath(self.bus / 'devices')
        # With the inode number of the folder in sysfs: one that was made
        # again has another.
        self._known: dict[str, tuple[int, model.PciDevice]] = {}

    def identify(self, pci: str) -> model.PciDevice:
        """What does not change for as long as the function is there.

        Its driver, netdev, group and RDMA device are left out.
        """
        if not model.PCI_ADDRESS.fullmatch(pci):
            raise no_such_device(pci)
        try:
            return self._read_fixed(pci, f'{self._devices}/{pci}')
        except OSError as error:
            raise no_such_device(pci) from error

    def ifindex(self, pci: str) -> int:
        """Index of its netdev in the node's own netns; 0 for none."""
        path = os.fspath(self.device_path(pci))
        _, index = self._find_netdev(path, link_target(f'{path}/driver'))
        return index

    def device(self, pci: str) -> model.PciDevice:
        """The function as it is now."""
        fixed = self.identify(pci)
        path = f'{self._devices}/{pci}'
        driver = link_target(f'{path}/driver')
        group = link_target(f'{path}/iommu_group')
        ifname, ifindex = self._find_netdev(path, driver)
        rdma = rdma_files.read_names(path)
        return model.PciDevice(
            pci=pci,
            vendor=fixed.vendor,
            device=fixed.device,
            driver=driver,
            pf=fixed.pf,
            vf_index=fixed.vf_index,
            ifname=ifname,
            ifindex=ifindex,
            iommu_group=group,
            # only VFIO drivers make such groups, for as long as they are bound
            noiommu='vfio' in driver and self._is_noiommu(group),
            numa_node=fixed.numa_node,
            rdma_device=rdma.device,
            rdma_here=rdma.here,
            verbs=rdma.verbs,
            # made by uio_pci_generic and igb_uio, while they are bound
            uio=min(list_names(f'{path}/uio'), default='')
            if 'uio' in driver
            else '',
            total_vfs=fixed.total_vfs,
        )

    def list_all(self) -> list[model.PciDevice]:
        """All network functions, by address."""
        found = []
        devices = self.bus / 'devices'
        for pci in sorted(list_names(devices)):
            if read_file(devices / pci / 'class', '').startswith(
                NETWORK_CLASS
            ):
                with contextlib.suppress(exceptions.DeviceMissing):
                    found.append(self.device(pci))
        return found

    def vf_counts(self, pci: str) -> tuple[int, int]:
        """How many VFs the function has now, and how many it can have."""
        path = self.device_path(pci)
        return (
            int(read_file(path / 'sriov_numvfs', '0')),
            int(read_file(path / 'sriov_totalvfs', '0')),
        )

    def has_carrier(self, function: model.PciDevice) -> bool | None:
        """Whether its netdev has a link; None where it is down, or none."""
        netdev = self.device_path(function.pci) / 'net' / function.ifname
        # The kernel refuses to read that of an interface which is down.
        text = read_file(netdev / 'carrier', '') if function.ifname else ''
        return text == '1' if text else None

    def has_assigned_mac(self, pci: str) -> bool:
        """Whether its netdev has the MAC that its driver found."""
        path = self.device_path(pci)
        driver = link_target(path / 'driver')
        ifname, _ = self._find_netdev(os.fspath(path), driver)
        # NET_ADDR_PERM; the others are random, stolen, and set by somebody
        kind = read_file(path / 'net' / ifname / 'addr_assign_type', '')
        return kind == '0'

    def has_driver(self, driver: str) -> bool:
        """Whether the kernel has that PCI driver, built in or loaded."""
        return (self.bus / 'drivers' / driver).is_dir()

    def noiommu_mode(self) -> bool:
        """Whether VFIO is allowed to work without an IOMMU."""
        path = self.root / 'sys/module/vfio/parameters'
        return read_file(path / 'enable_unsafe_noiommu_mode', 'N') == 'Y'

    def wait_netdev(self, pci: str, timeout: float) -> model.PciDevice:
        """The function, once its netdev is in the node's own netns."""

        def probe() -> model.PciDevice | None:
            device = self.device(pci)
            return device if device.ifindex else None

        return wait.wait_for(
            probe,
            timeout,
            f'the network interface of {pci}; see the kernel log for its '
            f'driver, and whether a pod still holds the interface',
        )

    def device_path(self, pci: str) -> pathlib.Path:
        path = f'{self._devices}/{pci}'
        if not model.PCI_ADDRESS.fullmatch(pci) or not os.path.exists(path):
            raise no_such_device(pci)
        return pathlib.Path(path)

    def _find_netdev(self, path: str, driver: str) -> tuple[str, int]:
        """Name and index; of several (representors) the oldest."""
        folders = [f'{path}/net']
        if driver == VIRTIO:
            # a virtio device, to which its netdev belongs, is in between
            folders = [
                f'{path}/{name}/net'
                for name in list_names(path)
                if name.startswith('virtio')
            ]
        for _ in range(RENAMES):
            try:
                found = [
                    (int(read_file(f'{folder}/{name}/ifindex')), name)
                    for folder in folders
                    for name in list_names(folder)
                ]
            except OSError:
                continue  # renamed or gone since it was listed
            # A PF in switchdev mode has its VFs' representors in its folder,
            # which were made after its own netdev.
            index, name = min(found, default=(0, ''))
            return name, index
        return '', 0

    def _read_fixed(self, pci: str, path: str) -> model.PciDevice:
        """What does not change, read once: an attach looks many times."""
        folder = os.stat(path).st_ino
        known_folder, known = self._known.get(pci, (0, None))
        if known_folder != folder:
            known = None
        if known and known.vf_index is not None:
            return known
        # A VF that has just appeared may be linked to its PF a little later.
        pf = link_target(f'{path}/physfn')
        if known and not pf:
            return known
        fixed = model.PciDevice(
            pci=pci,
            vendor=read_file(f'{path}/vendor').removeprefix('0x'),
            device=read_file(f'{path}/device').removeprefix('0x'),
            numa_node=int(read_file(f'{path}/numa_node', '-1')),
            pf=pf,
            vf_index=self._vf_index(pf, pci) if pf else None,
            # A file that only a function with the SR-IOV capability has.
            total_vfs=int(read_file(f'{path}/sriov_totalvfs', '0')),
        )
        self._known[pci] = folder, fixed
        return fixed

    def _vf_index(self, pf: str, pci: str) -> int | None:
        # Only the PF's links tell the number: the address of a VF follows from
        # offset and stride, which differ between NICs (PCIe, SR-IOV
        # capability).
        path = self.bus / 'devices' / pf
        for name in list_names(path):
            if (
                name.startswith('virtfn')
                and link_target(f'{path}/{name}') == pci
            ):
                return int(name.removeprefix('virtfn'))
        return None

    def _is_noiommu(self, group: str) -> bool:
        name = self.root / 'sys/kernel/iommu_groups' / group / 'name'
        return bool(group) and read_file(name, '') == NOIOMMU_GROUP


def makes_netdev(driver: str) -> bool:
    """Whether a driver of network functions makes netdevs of them.

    Not so are no driver at all, those for user space, and VFIO's variants
    for single vendors, such as ``mlx5_vfio_pci``.
    """
    return bool(driver) and not (
        driver in USERSPACE_DRIVERS or 'vfio' in driver
    )


def no_such_device(pci: str) -> exceptions.DeviceMissing:
    """The error for an address that no device has."""
    return exceptions.DeviceMissing(
        f'There is no PCI device {pci!r} on this node; see lspci -D, and '
        f'whether sriov_numvfs of its PF has changed'
    )


def read_file(path: str | os.PathLike[str], default: str | None = None) -> str:
    """A file's text, stripped; ``default``, if any, where there is none."""
    try:
        # Half the system calls of read_text(): an attach reads many files.
        file = os.open(path, os.O_RDONLY)
        try:
            return os.read(file, PAGE).decode().strip()
        finally:
            os.close(file)
    except OSError:
        if default is None:
            raise
        return default


def link_target(path: str | os.PathLike[str]) -> str:
    """Last part of what a symbolic link points to; empty for no link."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ''


def list_names(path: str | os.PathLike[str]) -> list[str]:
    """What is in a folder; nothing where there is no folder."""
    try:
        return os.listdir(path)
    except OSError:
        return []
