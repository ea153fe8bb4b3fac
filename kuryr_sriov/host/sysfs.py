# SPDX-License-Identifier: Apache-2.0
"""PCI functions of this node, by sysfs.

Follows the kernel's ``Documentation/ABI/testing/sysfs-bus-pci`` and
``Documentation/PCI/pci-iov-howto.rst``.
"""

from __future__ import annotations

import collections
import contextlib
import errno
import os
import pathlib
import re
import threading
import time

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import wait

NETWORK_CLASS = '0x02'
ADDRESS = re.compile(r'[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]')
# What the kernel calls a group that VFIO made because there is no IOMMU
# (vfio_noiommu_group_alloc).
NOIOMMU_GROUP = 'vfio-noiommu'

# Seconds to give a function back after a failed bind.
GIVE_BACK = 2.0
# How often a netdev may be renamed while it is looked at.
RENAMES = 5

_REMEDIES = {
    errno.ENODEV: 'the driver does not support this device',
    errno.EACCES: 'run as root',
    errno.EPERM: 'run as root',
    errno.EROFS: 'mount /sys read-write into this container',
    errno.EINVAL: 'see the kernel log; vfio-pci needs an IOMMU, or vfio '
    'loaded with enable_unsafe_noiommu_mode=1',
}


class Sysfs:
    """This node's PCI functions; implements ``binding.base.Pci``.

    Thread-safe, but two callers that bind one function at once are served
    in any order: the caller locks.

    :param root: where ``sys`` is mounted.
    :ivar writes: files written so far, counted by name.
    """

    def __init__(self, root: str | os.PathLike[str] = '/') -> None:
        self.root = pathlib.Path(root)
        self.writes: collections.Counter[str] = collections.Counter()
        self._bus = self.root / 'sys/bus/pci'
        self._lock = threading.Lock()

    def device(self, pci: str) -> model.PciDevice:
        """The function as it is now."""
        path = self._path(pci)
        group = _target(path / 'iommu_group')
        pf = _target(path / 'physfn')
        ifname, ifindex = self._netdev(path)
        try:
            return model.PciDevice(
                pci=pci,
                vendor=_read(path / 'vendor').removeprefix('0x'),
                device=_read(path / 'device').removeprefix('0x'),
                driver=_target(path / 'driver'),
                pf=pf,
                vf_index=self._vf_index(pf, pci) if pf else None,
                ifname=ifname,
                ifindex=ifindex,
                iommu_group=group,
                noiommu=self._noiommu(group),
                numa_node=int(_read(path / 'numa_node', '-1')),
                rdma_device=_only_child(path / 'infiniband'),
                uio=_only_child(path / 'uio'),
            )
        except OSError as error:
            raise _missing(pci) from error

    def functions(self) -> list[model.PciDevice]:
        """All network functions, by address."""
        found = []
        for path in sorted((self._bus / 'devices').glob('*')):
            if _read(path / 'class', '').startswith(NETWORK_CLASS):
                found.append(self.device(path.name))
        return found

    def vf_counts(self, pci: str) -> tuple[int, int]:
        """How many VFs the function has now, and how many it can have."""
        path = self._path(pci)
        return (
            int(_read(path / 'sriov_numvfs', '0')),
            int(_read(path / 'sriov_totalvfs', '0')),
        )

    def has_driver(self, driver: str) -> bool:
        """Whether the kernel has that PCI driver, built in or loaded."""
        return (self._bus / 'drivers' / driver).is_dir()

    def noiommu_mode(self) -> bool:
        """Whether VFIO is allowed to work without an IOMMU."""
        path = self.root / 'sys/module/vfio/parameters'
        return _read(path / 'enable_unsafe_noiommu_mode', 'N') == 'Y'

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

    def bind(self, pci: str, driver: str | None, timeout: float) -> None:
        """Bind to ``driver``; to none if ``''``; None: as the kernel likes.

        If that fails, the function is given back to the driver it had.
        """
        former = self.device(pci).driver
        if driver is not None and driver == former:
            self._clear_override(pci)
            return
        if driver and not self.has_driver(driver):
            raise exceptions.KernelError(
                f'{pci} cannot be bound to {driver}: this kernel has no such '
                f'PCI driver; modprobe {driver}',
                errno.ENOENT,
            )
        deadline = time.monotonic() + timeout
        try:
            self._unbind(pci, deadline)
            self._attach(pci, driver, deadline)
        except (exceptions.KernelError, exceptions.DeviceBusy):
            self._give_back(pci, former)
            raise

    def _unbind(self, pci: str, deadline: float) -> None:
        link = self._path(pci) / 'driver'

        def probe() -> bool:
            driver = _target(link)
            if not driver:
                return True
            try:
                self._write(self._bus / 'drivers' / driver / 'unbind', pci)
            except exceptions.KernelError as error:
                # Gone by itself, or no such file while it still probes.
                if error.errno not in (errno.ENODEV, errno.ENOENT):
                    raise
            return not _target(link)

        wait.wait_for(
            probe,
            deadline - time.monotonic(),
            f'the driver of {pci} to let go; stop what still uses the device',
        )

    def _attach(self, pci: str, driver: str | None, deadline: float) -> None:
        if driver is None:
            self._clear_override(pci)
            self._write(self._bus / 'drivers_probe', pci)
        elif driver:
            try:
                self._write(self._path(pci) / 'driver_override', driver)
                self._probe(pci, driver, deadline)
            finally:
                self._clear_override(pci)
        else:
            self._clear_override(pci)

    def _probe(self, pci: str, driver: str, deadline: float) -> None:
        path = self._bus / 'drivers' / driver / 'bind'
        link = self._path(pci) / 'driver'

        def probe() -> bool:
            if _target(link) == driver:
                return True
            try:
                self._write(path, pci)
            except exceptions.KernelError as error:
                if error.errno not in (errno.EAGAIN, errno.ENOENT):
                    raise
            return _target(link) == driver

        wait.wait_for(
            probe,
            deadline - time.monotonic(),
            f'{driver} to take {pci}; see the kernel log',
        )

    def _give_back(self, pci: str, driver: str) -> None:
        """Lose no function; the first error stays the one to report."""
        with contextlib.suppress(exceptions.KuryrSriovError):
            if driver and not self.device(pci).driver:
                self._attach(pci, driver, time.monotonic() + GIVE_BACK)

    def _clear_override(self, pci: str) -> None:
        path = self._path(pci) / 'driver_override'
        if _read(path, '') not in ('', '(null)'):
            self._write(path, '\n')

    def _write(self, path: pathlib.Path, text: str) -> None:
        """Every write: counted, and its errors mapped."""
        with self._lock:
            self.writes[path.name] += 1
        try:
            self._put(path, text)
        except OSError as error:
            raise self._mapped(error, path, text) from error

    def _put(self, path: pathlib.Path, text: str) -> None:
        # Without O_CREAT: sysfs answers that with EACCES for a file that is
        # not there, which hides why.
        file = os.open(path, os.O_WRONLY)
        try:
            os.write(file, text.encode())
        finally:
            os.close(file)

    def _mapped(
        self, error: OSError, path: pathlib.Path, text: str
    ) -> exceptions.KuryrSriovError:
        pci = path.parent.name if ADDRESS.match(path.parent.name) else text
        number = error.errno or errno.EIO
        if not (self._bus / 'devices' / pci).exists():
            return _missing(pci)
        message = f'Writing {text!r} to {path}: {os.strerror(number)}'
        if number == errno.EBUSY:
            return exceptions.DeviceBusy(message)
        remedy = _REMEDIES.get(number, 'see the kernel log')
        return exceptions.KernelError(f'{message}; {remedy}', number)

    def _path(self, pci: str) -> pathlib.Path:
        path = self._bus / 'devices' / pci
        if not ADDRESS.fullmatch(pci) or not path.exists():
            raise _missing(pci)
        return path

    def _netdev(self, path: pathlib.Path) -> tuple[str, int]:
        """Name and index; of several (representors) the oldest."""
        folders = [path / 'net', *path.glob('virtio*/net')]
        for _ in range(RENAMES):
            try:
                found = [
                    (int(_read(netdev / 'ifindex')), netdev.name)
                    for folder in folders
                    for netdev in folder.glob('*')
                ]
            except OSError:
                continue  # renamed or gone since it was listed
            index, name = min(found, default=(0, ''))
            return name, index
        return '', 0

    def _vf_index(self, pf: str, pci: str) -> int | None:
        for link in (self._bus / 'devices' / pf).glob('virtfn*'):
            if _target(link) == pci:
                return int(link.name.removeprefix('virtfn'))
        return None

    def _noiommu(self, group: str) -> bool:
        name = self.root / 'sys/kernel/iommu_groups' / group / 'name'
        return bool(group) and _read(name, '') == NOIOMMU_GROUP


def _missing(pci: str) -> exceptions.DeviceMissing:
    return exceptions.DeviceMissing(
        f'There is no PCI device {pci!r} on this node; see lspci -D, and '
        f'whether sriov_numvfs of its PF has changed'
    )


def _read(path: pathlib.Path, default: str | None = None) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        if default is None:
            raise
        return default


def _target(path: pathlib.Path) -> str:
    """Last part of what a symbolic link points to; empty for no link."""
    try:
        return os.path.basename(os.readlink(path))
    except OSError:
        return ''


def _only_child(path: pathlib.Path) -> str:
    return min((child.name for child in path.glob('*')), default='')
