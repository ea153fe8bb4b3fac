# SPDX-License-Identifier: Apache-2.0
"""A simulated node: PFs, VFs, drivers, netns, and a kernel that reacts.

::

    node = SimulatedNode(tmp_path, [Pf('0000:02:00.0', 'ens6', vfs=8)])
    node.add_netns('/run/netns/pod')
    before = node.state()
    ...  # attach and detach through node.host
    assert node.state() == before

Its sysfs is a real tree under the root, read by the real
``host.pci_binding.Sysfs``; what is written there, and all that goes through
netlink, is answered as Linux answers it, errors and delays included.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pathlib
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from kuryr_sriov import model
from kuryr_sriov.testing.simulation import kernel
from kuryr_sriov.testing.simulation.hardware import (
    NICS,
    NO_MAC,
    UNTOUCHED,
    Function,
    Interface,
    Nic,
    Pf,
    Vf,
)
from kuryr_sriov.testing.simulation.simulated_host import SimulatedHost

__all__ = [
    'NICS',
    'NO_MAC',
    'UNTOUCHED',
    'FunctionState',
    'Nic',
    'Pf',
    'SimulatedHost',
    'SimulatedNode',
    'Vf',
]

Iommu = Literal['on', 'off', 'noiommu']


@dataclass(frozen=True, slots=True)
class FunctionState:
    """Everything about a PF or VF that a pod could have changed.

    :param netns: where its interface is; empty for the node's own.
    :param link: the interface, with index 0; None where there is none.
    :param settings: what the PF holds for a VF; None without a PF.
    :param pinned: the PF has set its MAC.
    :param stalled: it has no link until the function is reset.
    :param rdma: name and network namespace of its RDMA device; None for none.
    """

    driver: str
    driver_override: str
    netns: str
    link: model.Link | None
    addresses: tuple[str, ...]
    routes: tuple[model.Route, ...]
    settings: model.VfSettings | None
    pinned: bool
    stalled: bool
    rdma: tuple[str, str] | None


class SimulatedNode:
    """A node to run binding drivers on. Thread-safe.

    :param root: an empty folder, for its ``sys`` and ``proc``.
    :param functions: the NICs it has: ``Pf`` and, as in a VM, ``Vf``.
    :param drivers: PCI drivers loaded besides those of the NICs.
    :param iommu: ``noiommu`` for VFIO's mode of that name.
    :ivar host: the node as binding drivers reach it.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        functions: Iterable[Pf | Vf],
        *,
        drivers: Collection[str] = ('vfio-pci',),
        iommu: Iommu = 'on',
    ) -> None:
        self._functions = tuple(functions)
        self._drivers = tuple(drivers)
        self._noiommu = iommu == 'noiommu'
        self._kernel = kernel.Kernel(
            pathlib.Path(root),
            iommu,
            is_guest=any(isinstance(each, Vf) for each in self._functions),
        )
        self.reboot()
        self.host = SimulatedHost(self._kernel.call)

    @property
    def operations(self) -> collections.Counter[str]:
        """What the kernel was asked so far, counted by name.

        File names for writes to sysfs, else methods of ``Links``.
        """
        return self._kernel.operations

    @property
    def announced(self) -> list[tuple[str, str]]:
        """MAC and address of each announcement sent so far."""
        return self._kernel.announced

    def vfs(self, pf: str) -> list[str]:
        """PCI addresses of a PF's VFs, by index."""
        with self._kernel.lock:
            return [vf.pci for vf in self._kernel.bus.functions[pf].vfs]

    def state(self) -> dict[str, FunctionState]:
        """All PFs and VFs by PCI address; to be compared."""
        with self._kernel.lock:
            functions = self._kernel.bus.functions
            return {pci: _state(functions[pci]) for pci in sorted(functions)}

    # Hosts, and the processes on them.

    def on_change(self, hook: Callable[[str], object]) -> None:
        """Call ``hook`` before each change through ``host``; see there."""
        self.host.on_change(hook)

    def close(self) -> None:
        """Nothing changes by itself any more."""
        with self._kernel.lock:
            self._kernel.bus.stop()

    # What happens to a node.

    def reboot(self) -> None:
        """Everything as it was built; no netns is left."""
        with self._kernel.lock:
            bus = self._kernel.bus
            bus.clear()
            self._kernel.net.clear()
            self._kernel.files.reset(str(uuid.uuid4()), self._noiommu)
            bus.load(self._drivers)
            for function in self._functions:
                self._add(function)

    def _add(self, described: Pf | Vf) -> None:
        bus = self._kernel.bus
        nic = described.nic or NICS[described.driver]
        is_pf = isinstance(described, Pf)
        driver = described.driver if is_pf else nic.vf_driver
        bus.load((driver, nic.vf_driver))
        function = Function(
            pci=described.pci,
            nic=nic,
            native=driver,
            mac=bus.fresh_mac(),
            numa_node=described.numa_node,
        )
        if isinstance(described, Pf):
            function.total_vfs = described.total_vfs or described.vfs
            bus.add_pf(function)
            self._bind(function, driver, described.ifname)
            self._kernel.net.set_up(self._interface(function.pci), True)
            bus.set_vfs(function, described.vfs)
            for index, vf in enumerate(function.vfs):
                ifname = f'{described.ifname}v{index}'
                self._bind(vf, described.vf_driver or vf.native, ifname)
        else:
            function.pinned = described.pinned
            bus.add(function)
            self._bind(
                function, described.vf_driver or driver, described.ifname
            )

    def _bind(self, function: Function, driver: str, ifname: str) -> None:
        """As it is after boot: bound, and named by udev."""
        if function.driver != driver:
            if function.driver:
                self._kernel.bus.unbind(function)
            self._kernel.bus.load((driver,))
            self._kernel.bus.bind(function, driver)
        if function.interface:
            self._kernel.net.rename(function.interface, ifname)

    def add_netns(self, path: str) -> str:
        """A new network namespace at ``path``, which is returned."""
        with self._kernel.lock:
            self._kernel.net.add_netns(path)
        return path

    def link_netns(self, path: str, target: str) -> None:
        """One more path to a network namespace; ``''`` is the node's own."""
        with self._kernel.lock:
            self._kernel.net.link_netns(path, target)

    def delete_netns(self, path: str) -> None:
        """Its VFs go home as the kernel sends them: names, MACs, MTUs kept."""
        with self._kernel.lock:
            self._kernel.net.delete_netns(path)
            self._kernel.rdma.leave(path)

    def add_interface(
        self, name: str, netns: str = '', index: int = 0
    ) -> None:
        """Somebody else's interface, to be in the way."""
        with self._kernel.lock:
            self._kernel.net.add_foreign(name, netns, index)

    def remove_interface(self, name: str, netns: str = '') -> None:
        """It is in nobody's way any more."""
        with self._kernel.lock:
            self._kernel.net.remove_foreign(name, netns)

    def rename(self, pci: str, ifname: str) -> None:
        """What udev, or a pod, does to an interface."""
        with self._kernel.lock:
            self._kernel.net.rename(self._interface(pci), ifname)

    def add_altname(self, pci: str, name: str) -> None:
        """What udev also does to an interface."""
        with self._kernel.lock:
            self._kernel.net.add_altname(self._interface(pci), name)

    def spoil(self, pci: str, altname: str = '', **traits: str) -> None:
        """What a pod that may do so does to its interface, and leaves there.

        :param altname: an alternative name.
        :param traits: such as ``xdp='7'``, with which no MTU can be set.
        """
        with self._kernel.lock:
            interface = self._interface(pci)
            interface.traits.update(traits)
            if altname:
                self._kernel.net.add_altname(interface, altname)

    def make_rdma_exclusive(self) -> None:
        """``rdma system set netns exclusive``"""
        with self._kernel.lock:
            self._kernel.rdma.exclusive = True

    def remove_rdma(self, pci: str) -> None:
        """``rdma link delete``: of a device in software."""
        with self._kernel.lock:
            self._kernel.rdma.remove(self._kernel.bus.functions[pci])

    def rename_rdma(self, pci: str, name: str) -> None:
        """What a privileged pod may do to its RDMA device."""
        with self._kernel.lock:
            device = self._kernel.bus.functions[pci].rdma
            if device is None:
                raise ValueError(f'{pci} has no RDMA device')
            self._kernel.rdma.rename(device.index, name)

    def stall(self, pci: str) -> None:
        """A program is killed while it drives the function."""
        with self._kernel.lock:
            self._kernel.bus.functions[pci].stalled = True

    def _interface(self, pci: str) -> Interface:
        interface = self._kernel.bus.functions[pci].interface
        if interface is None:
            raise ValueError(f'{pci} has no interface')
        return interface

    def recreate_vfs(self, pf: str, number: int | None = None) -> None:
        """``sriov_numvfs`` goes to 0 and back, or to ``number``."""
        with self._kernel.lock:
            function = self._kernel.bus.functions[pf]
            number = len(function.vfs) if number is None else number
            self._kernel.bus.set_vfs(function, 0)
            self._kernel.bus.set_vfs(function, number)

    def load(self, driver: str) -> None:
        """modprobe"""
        with self._kernel.lock:
            self._kernel.bus.load((driver,))

    def unload(self, driver: str) -> None:
        """rmmod; its devices are left without a driver."""
        with self._kernel.lock:
            self._kernel.bus.unload(driver)

    # What goes wrong.

    def unplug(self, pf: str) -> None:
        """Pull the cable of a PF: it and its VFs have no carrier."""
        self._plug(pf, False)

    def plug(self, pf: str) -> None:
        """Put it in again."""
        self._plug(pf, True)

    def _plug(self, pf: str, plugged: bool) -> None:
        with self._kernel.lock:
            function = self._kernel.bus.functions[pf]
            for each in (function, *function.vfs):
                if each.interface:
                    self._kernel.net.plug(each.interface, plugged)

    def fail(
        self, operation: str, errno: int, times: int = 1, pci: str = ''
    ) -> None:
        """The next ``times`` of an operation fail.

        :param operation: a name as in ``operations``: ``bind``, ``set`` ….
        :param pci: only those on this function; empty for any.
        """
        with self._kernel.lock:
            fault = kernel.Fault(operation, errno, times, pci)
            self._kernel.faults.append(fault)

    def fail_open(self, pci: str, errno: int, times: int = 1) -> None:
        """The function's interface cannot be set up, ``times`` times."""
        with self._kernel.lock:
            interface = self._interface(pci)
            interface.open_errnos[:] = [errno] * times

    def heal(self) -> None:
        """Nothing fails any more."""
        with self._kernel.lock:
            self._kernel.faults.clear()

    def refuse(self, pf: str, settings: Mapping[str, int]) -> None:
        """The PF cannot do these settings: error numbers by their names."""
        with self._kernel.lock:
            self._kernel.refused[pf] = dict(settings)

    @contextlib.contextmanager
    def held(self, pci: str) -> Iterator[None]:
        """A process has the function's ``/dev/vfio`` open: unbind blocks."""
        self._kernel.held.add(pci)
        try:
            yield
        finally:
            with self._kernel.lock:
                self._kernel.held.remove(pci)
                self._kernel.released.notify_all()

    def delay_netdevs(self, seconds: float) -> None:
        """From now on netdevs appear that late after their driver."""
        with self._kernel.lock:
            self._kernel.bus.netdev_delay = seconds


def _state(function: Function) -> FunctionState:
    interface = function.interface
    return FunctionState(
        driver=function.driver,
        driver_override=function.override,
        netns=interface.netns if interface else '',
        link=replace(interface.link(), index=0) if interface else None,
        addresses=tuple(interface.addresses) if interface else (),
        routes=tuple(interface.routes) if interface else (),
        settings=function.settings if function.pf else None,
        pinned=function.pinned,
        stalled=function.stalled,
        rdma=(function.rdma.name, function.rdma.netns)
        if function.rdma
        else None,
    )
