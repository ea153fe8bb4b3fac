# SPDX-License-Identifier: Apache-2.0
"""The simulated PCI bus: how Linux answers writes to sysfs.

Follows the kernel's ``drivers/base/{bus,dd}.c``, ``drivers/pci/iov.c`` and
``drivers/vfio``. Errors are OSError, as a process sees them.
"""

from __future__ import annotations

import errno
import pathlib
import threading
from collections.abc import Iterable

from kuryr_sriov.host import pci_functions
from kuryr_sriov.testing.simulation import (
    hardware,
    network,
    simulated_rdma,
    tree,
)

VFIO = 'vfio-pci'
# Where an Intel NIC puts its VFs (SR-IOV capability: First VF Offset, VF
# Stride), counted in routing ids from the PF.
FIRST_VF = 128
VF_STRIDE = 2
USERSPACE = frozenset({VFIO, 'uio_pci_generic', 'igb_uio'})


class Bus:
    """PCI functions and their drivers. Not locked: the kernel is.

    :param iommu: ``on``, ``off`` or ``noiommu``.
    :ivar netdev_delay: seconds until a bound driver has made its netdev.
    """

    def __init__(
        self,
        files: tree.Tree,
        net: network.Network,
        rdma: simulated_rdma.RdmaDevices,
        lock: threading.RLock,
        iommu: str,
    ) -> None:
        self.functions: dict[str, hardware.Function] = {}
        self.drivers: set[str] = set()
        self.netdev_delay = 0.0
        self._iommu = iommu
        self._files = files
        self._net = net
        self._rdma = rdma
        # A function that is bound again gets its number back: it is the
        # lowest one that is free (assign_name in the kernel's device.c).
        self._rdma_numbers: dict[str, int] = {}
        self._lock = lock
        self._group = 0
        self._mac = 0
        self._reserved: set[str] = set()

    def load(self, drivers: Iterable[str]) -> None:
        for driver in drivers:
            if driver not in self.drivers:
                self.drivers.add(driver)
                self._files.add_driver(driver)

    def unload(self, driver: str) -> None:
        for function in self.functions.values():
            if function.driver == driver:
                self.unbind(function)
        self.drivers.remove(driver)
        self._files.remove_driver(driver)

    def clear(self) -> None:
        """Power off."""
        self.stop()
        self.functions.clear()
        self._reserved.clear()
        self.drivers.clear()

    def stop(self) -> None:
        """No netdev comes late any more."""
        for function in self.functions.values():
            function.bound += 1

    def write(self, path: pathlib.PurePath, text: str) -> None:
        """A write to the file at ``path``, relative to the node's root."""
        match path.parts:
            case ('sys', 'bus', 'pci', 'drivers_probe'):
                self.probe(self._function(text))
            case ('sys', 'bus', 'pci', 'drivers', driver, action):
                self._drive(driver, action, text)
            case ('sys', 'bus', 'pci', 'devices', pci, 'driver_override'):
                override = text.partition('\n')[0]
                self._function(pci).override = override
                self._files.set_override(pci, override)
            case ('sys', 'bus', 'pci', 'devices', pci, 'reset'):
                self._function(pci).stalled = False
            case ('sys', 'bus', 'pci', 'devices', pci, 'sriov_numvfs'):
                self.set_vfs(self._function(pci), int(text))
            case _:
                raise OSError(errno.EACCES, str(path))

    def _function(self, pci: str) -> hardware.Function:
        if pci not in self.functions:
            raise OSError(errno.ENODEV, pci)
        return self.functions[pci]

    def _drive(self, driver: str, action: str, text: str) -> None:
        if driver not in self.drivers:
            raise OSError(errno.ENOENT, driver)
        function = self._function(text)
        if action == 'unbind':
            if function.driver != driver:
                raise OSError(errno.ENODEV, text)
            self.unbind(function)
        elif (function.override or function.native) != driver:
            raise OSError(errno.ENODEV, text)
        elif function.driver:
            raise OSError(errno.EBUSY, text)
        else:
            self.bind(function, driver)

    def probe(self, function: hardware.Function) -> None:
        """Bind an unbound function to the driver that matches, if any."""
        driver = function.override or function.native
        if not function.driver and driver in self.drivers:
            self.bind(function, driver)

    def bind(self, function: hardware.Function, driver: str) -> None:
        if driver == VFIO and not function.group:
            if self._iommu != 'noiommu':
                raise OSError(errno.EINVAL, function.pci)
            self._set_group(function, pci_functions.NOIOMMU_GROUP)
        function.driver = driver
        function.bound += 1
        self._files.set_driver(function.pci, driver)
        if driver not in USERSPACE:
            self._start(function)
        elif driver != VFIO:
            number = sorted(self.functions).index(function.pci)
            self._files.set_child(function.pci, 'uio', f'uio{number}')

    def unbind(self, function: hardware.Function) -> None:
        if function.interface:
            self._net.remove(function.interface)
            function.interface = None
        if function.driver == VFIO and self._iommu == 'noiommu':
            self._set_group(function, None)
        function.driver = ''
        function.bound += 1
        self._rdma.remove(function)
        self._files.set_child(function.pci, 'uio', '')
        self._files.set_driver(function.pci, '')

    def _start(self, function: hardware.Function) -> None:
        """A kernel driver's probe: the function takes its MAC."""
        function.start(self.fresh_mac())
        if function.nic.rdma:
            number = self._rdma_numbers.setdefault(
                function.pci, len(self._rdma_numbers)
            )
            self._rdma.add(function, number)
        if not self.netdev_delay:
            self._add_netdev(function, function.bound)
            return
        timer = threading.Timer(
            self.netdev_delay, self._add_netdev, (function, function.bound)
        )
        timer.daemon = True
        timer.start()

    def _add_netdev(self, function: hardware.Function, bound: int) -> None:
        with self._lock:
            if function.bound == bound:  # and not bound anew since
                function.interface = self._net.create(
                    function.pci,
                    function.mac,
                    function.nic.max_mtu,
                    assigned=not function.pf or function.pinned,
                )
                function.interface.on_close = function.agree

    def fresh_mac(self) -> str:
        """A random MAC, but the same in each run of a test."""
        self._mac += 1
        return '02:00:00:' + self._mac.to_bytes(3, 'big').hex(':')

    def _set_group(
        self, function: hardware.Function, name: str | None
    ) -> None:
        if name is None:
            function.group = ''
        else:
            self._group += 1
            function.group = str(self._group)
        self._files.set_group(function.pci, function.group, name or '')

    def add(self, function: hardware.Function) -> None:
        self.functions[function.pci] = function
        self._files.add(function)
        if self._iommu == 'on':
            self._set_group(function, '')

    def add_pf(self, pf: hardware.Function) -> None:
        """Add a PF; its VFs get routing ids that nobody else has."""
        self.add(pf)
        domain, own = hardware.parse_address(pf.pci)
        pf.vf_offset = FIRST_VF
        while True:
            first = own + pf.vf_offset
            ids = range(first, first + VF_STRIDE * pf.total_vfs, VF_STRIDE)
            addresses = {hardware.format_address(domain, i) for i in ids}
            if not addresses & self._reserved:
                break
            pf.vf_offset += 256
        self._reserved |= addresses
        self._files.set_vf_counts(pf.pci, 0, pf.total_vfs)

    def set_vfs(self, pf: hardware.Function, number: int) -> None:
        """``sriov_numvfs`` of a PF."""
        if not 0 <= number <= pf.total_vfs:
            raise OSError(errno.ERANGE, pf.pci)
        if not pf.driver:
            raise OSError(errno.ENOENT, pf.pci)
        if number and pf.vfs and number != len(pf.vfs):
            raise OSError(errno.EBUSY, pf.pci)
        if number == len(pf.vfs):
            return
        for index, vf in enumerate(pf.vfs):
            if vf.driver:
                self.unbind(vf)
            self._set_group(vf, None)
            self._files.remove(vf, index)
            del self.functions[vf.pci]
        pf.vfs.clear()
        domain, own = hardware.parse_address(pf.pci)
        for index in range(number):
            routing_id = own + pf.vf_offset + VF_STRIDE * index
            vf = hardware.Function(
                pci=hardware.format_address(domain, routing_id),
                nic=pf.nic,
                native=pf.nic.vf_driver,
                mac=hardware.NO_MAC,
                pf=pf,
                numa_node=pf.numa_node,
            )
            pf.vfs.append(vf)
            self.add(vf)
            self.probe(vf)
        self._files.set_vf_counts(pf.pci, number, pf.total_vfs)
