# SPDX-License-Identifier: Apache-2.0
"""The simulated node's sysfs: real files under a root."""

from __future__ import annotations

import os
import pathlib
import shutil

from kuryr_sriov.testing.simulation import hardware


class Tree:
    """Writes what the kernel would show of its functions and drivers."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._devices = root / 'sys/bus/pci/devices'
        self._drivers = root / 'sys/bus/pci/drivers'
        self._groups = root / 'sys/kernel/iommu_groups'

    def reset(self, boot_id: str, noiommu: bool) -> None:
        """An empty tree, as at the start of a boot."""
        for name in ('sys', 'proc'):
            shutil.rmtree(self.root / name, ignore_errors=True)
        for folder in (self._devices, self._drivers, self._groups):
            folder.mkdir(parents=True)
        _put(self.root / 'sys/bus/pci/drivers_probe', '')
        _put(
            self.root / 'sys/module/vfio/parameters'
            '/enable_unsafe_noiommu_mode',
            'Y' if noiommu else 'N',
        )
        _put(self.root / 'proc/sys/kernel/random/boot_id', boot_id)
        (self.root / 'sys/class/misc/rdma_cm').mkdir(parents=True)

    def add_driver(self, driver: str) -> None:
        _put(self._drivers / driver / 'bind', '')
        _put(self._drivers / driver / 'unbind', '')

    def remove_driver(self, driver: str) -> None:
        shutil.rmtree(self._drivers / driver)

    def add(self, function: hardware.Function) -> None:
        path = self._devices / function.pci
        nic = function.nic
        device = nic.vf_device if function.is_vf else nic.device
        _put(path / 'vendor', f'0x{nic.vendor}')
        _put(path / 'device', f'0x{device}')
        _put(path / 'class', '0x020000')
        _put(path / 'numa_node', str(function.numa_node))
        _put(path / 'driver_override', '(null)')
        _put(path / 'reset', '')
        if function.pf:
            os.symlink(f'../{function.pf.pci}', path / 'physfn')
            index = function.pf.vfs.index(function)
            virtfn = self._devices / function.pf.pci / f'virtfn{index}'
            os.symlink(f'../{function.pci}', virtfn)

    def remove(self, function: hardware.Function, index: int) -> None:
        assert function.pf is not None
        (self._devices / function.pf.pci / f'virtfn{index}').unlink()
        shutil.rmtree(self._devices / function.pci)

    def set_vf_counts(self, pci: str, number: int, total: int) -> None:
        _replace(self._devices / pci / 'sriov_numvfs', str(number))
        _replace(self._devices / pci / 'sriov_totalvfs', str(total))

    def set_override(self, pci: str, driver: str) -> None:
        _replace(self._devices / pci / 'driver_override', driver or '(null)')

    def set_driver(self, pci: str, driver: str) -> None:
        self._link(self._devices / pci / 'driver', 'drivers', driver)

    def set_group(self, pci: str, group: str, name: str = '') -> None:
        link = self._devices / pci / 'iommu_group'
        if link.is_symlink():
            shutil.rmtree(self._groups / link.readlink().name)
        self._link(link, '../../kernel/iommu_groups', group)
        if group:
            (self._groups / group).mkdir()
        if name:
            _put(self._groups / group / 'name', name)

    def set_child(self, pci: str, folder: str, name: str) -> None:
        """The function's one ``uio`` device."""
        shutil.rmtree(self._devices / pci / folder, ignore_errors=True)
        if name:
            (self._devices / pci / folder / name).mkdir(parents=True)

    def show_rdma(self, pci: str, device: hardware.RdmaDevice) -> None:
        """Its verbs device is seen from everywhere, it itself at home."""
        path = self._devices / pci
        _put(path / 'infiniband_verbs' / device.verbs / 'ibdev', device.name)
        if not device.netns:
            (path / 'infiniband' / device.name).mkdir(parents=True)

    def hide_rdma(self, pci: str, device: hardware.RdmaDevice) -> None:
        """It is renamed or moved, or no more."""
        for folder in ('infiniband', 'infiniband_verbs'):
            shutil.rmtree(self._devices / pci / folder, ignore_errors=True)

    def show(self, interface: hardware.Interface) -> None:
        if interface.pci:
            new = self.root / f'.{interface.pci}'
            _put(new / 'ifindex', str(interface.index))
            _put(new / 'addr_assign_type', str(interface.mac_kind))
            _put_carrier(new, interface)
            path = self._devices / interface.pci / 'net'
            path.mkdir(exist_ok=True)
            new.rename(path / interface.name)  # never seen half made

    def set_mac_kind(self, interface: hardware.Interface) -> None:
        if interface.pci and not interface.netns:
            path = self._devices / interface.pci / 'net' / interface.name
            kind = str(interface.mac_kind)
            _replace(path / 'addr_assign_type', kind)

    def set_carrier(self, interface: hardware.Interface) -> None:
        if interface.pci and not interface.netns:
            path = self._devices / interface.pci / 'net' / interface.name
            _put_carrier(path, interface)

    def rename(self, interface: hardware.Interface, name: str) -> None:
        if interface.pci:
            path = self._devices / interface.pci / 'net' / interface.name
            path.rename(path.with_name(name))

    def hide(self, interface: hardware.Interface, gone: bool) -> None:
        """Moved to a pod, it leaves an empty folder; gone, none."""
        if interface.pci:
            path = self._devices / interface.pci / 'net'
            if gone:
                shutil.rmtree(path, ignore_errors=True)
            else:
                shutil.rmtree(path / interface.name, ignore_errors=True)

    def _link(self, link: pathlib.Path, folder: str, name: str) -> None:
        link.unlink(missing_ok=True)
        if name:
            os.symlink(f'../../{folder}/{name}', link)


def _put_carrier(path: pathlib.Path, interface: hardware.Interface) -> None:
    if interface.up:
        _replace(path / 'carrier', str(int(interface.carrier)))
    else:  # the kernel's file cannot be read then
        (path / 'carrier').unlink(missing_ok=True)


def _put(path: pathlib.Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + '\n')


def _replace(path: pathlib.Path, text: str) -> None:
    """As ``_put``, for what others may be reading: never seen empty."""
    new = path.with_name(f'.{path.name}')
    new.write_text(text + '\n')
    new.replace(path)
