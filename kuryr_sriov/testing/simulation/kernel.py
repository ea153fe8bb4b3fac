# SPDX-License-Identifier: Apache-2.0
"""The simulated kernel: one lock, its system calls, and their faults."""

from __future__ import annotations

import collections
import errno
import pathlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.testing.simulation import (
    hardware,
    network,
    pci_bus,
    simulated_rdma,
    tree,
)

NEUTRAL = (None, 0, False, '802.1q')
KERNEL_ORDER = (
    ('mac',),
    ('vlan', 'vlan_qos', 'vlan_proto'),
    ('min_tx_rate', 'max_tx_rate'),
    ('spoofchk',),
    ('link_state',),
    ('trust',),
    ('node_guid',),
    ('port_guid',),
)
"""Order of do_setvfinfo; what is in one group is set together."""


@dataclass(slots=True)
class Fault:
    """An operation that fails some times."""

    operation: str
    errno: int
    times: int
    pci: str


class Kernel:
    """What a simulated node's processes talk to. Thread-safe.

    Every operation raises OSError, as a system call does.

    :ivar operations: by name, counted: file names for writes to sysfs,
        method names of ``binding.base.Links`` for the rest.
    :ivar refused: settings that a PF refuses, by PF, with error number;
        before those of its NIC.
    :ivar held: functions that some process has open; their drivers do not
        let go until ``released``.
    """

    def __init__(self, root: pathlib.Path, iommu: str, is_guest: bool) -> None:
        self.root = root
        self.is_guest = is_guest
        self.lock = threading.RLock()
        self.operations: collections.Counter[str] = collections.Counter()
        self.refused: dict[str, dict[str, int]] = {}
        self.faults: list[Fault] = []
        self.held: set[str] = set()
        self.released = threading.Condition(self.lock)
        self.announced: list[tuple[str, str]] = []
        self.files = tree.Tree(root)
        self.net = network.Network(self.files)
        self.rdma = simulated_rdma.RdmaDevices(self.files)
        self.bus = pci_bus.Bus(
            self.files, self.net, self.rdma, self.lock, iommu
        )

    def call(self, operation: str, *arguments: Any, **settings: Any) -> Any:
        """One system call, undivided, from any thread or process."""
        method = getattr(self, f'do_{operation}')
        with self.lock:
            return method(*arguments, **settings)

    def _begin(self, operation: str, function: str) -> None:
        self.operations[operation] += 1
        for fault in self.faults:
            if fault.operation == operation and fault.pci in ('', function):
                fault.times -= 1
                if not fault.times:
                    self.faults.remove(fault)
                raise OSError(fault.errno, operation)

    def _interface(
        self, operation: str, index: int, netns: str
    ) -> hardware.Interface:
        interface = self.net.get(index, netns)
        self._begin(operation, interface.pci)
        return interface

    def do_root(self) -> str:
        return str(self.root)

    def do_is_guest(self) -> bool:
        return self.is_guest

    def do_write(self, path: str, text: str) -> None:
        relative = pathlib.PurePath(path).relative_to(self.root)
        parent = relative.parent.name
        self._begin(
            relative.name, parent if parent in self.bus.functions else text
        )
        if relative.name == 'unbind':
            self.released.wait_for(lambda: text not in self.held)
        self.bus.write(relative, text)

    def do_alive(self, netns: str) -> bool:
        return self.net.alive(netns)

    def do_identify(self, netns: str) -> str:
        return self.net.identify(netns)

    def do_find(self, function: str, netns: str) -> model.Link | None:
        self._begin('find', function)
        interface = self.net.find(function, netns)
        return interface.link() if interface else None

    def do_get(self, index: int, netns: str) -> model.Link:
        return self._interface('get', index, netns).link()

    def do_set(self, index: int, netns: str, **settings: Any) -> None:
        interface = self._interface('set', index, netns)
        function = self.bus.functions.get(interface.pci)
        self.net.set(index, netns, function, **settings)

    def do_remove_altname(self, index: int, name: str) -> None:
        interface = self._interface('remove_altname', index, '')
        self.net.remove_altname(interface, name)

    def do_addresses(self, index: int, netns: str) -> Sequence[str]:
        return tuple(self._interface('addresses', index, netns).addresses)

    def do_add_address(self, index: int, address: str, netns: str) -> None:
        interface = self._interface('add_address', index, netns)
        self.net.add_address(interface, address)

    def do_routes(self, index: int, netns: str) -> Sequence[model.Route]:
        return tuple(self._interface('routes', index, netns).routes)

    def do_add_route(self, index: int, route: model.Route, netns: str) -> None:
        interface = self._interface('add_route', index, netns)
        self.net.add_route(interface, route)

    def do_announce(
        self, index: int, addresses: Sequence[str], netns: str
    ) -> None:
        interface = self._interface('announce', index, netns)
        if not interface.carrier:
            raise OSError(errno.ENETDOWN, interface.name)
        self.announced += [(interface.mac, each) for each in addresses]

    def do_rdma_mode(self) -> bool:
        return self.rdma.exclusive

    def do_find_rdma(self, name: str, netns: str) -> int | None:
        self._begin('find_rdma', '')
        self.net.identify(netns)
        for index, found in self.rdma.list_devices(netns):
            if found == name:
                return index
        return None

    def do_move_rdma(self, index: int, netns: str, to: str) -> None:
        self._begin('move_rdma', self.rdma.pci_of(index))
        for each in (netns, to):
            self.net.identify(each)
        self.rdma.move(index, netns, to)

    def do_rename_rdma(self, index: int, name: str) -> None:
        self._begin('rename_rdma', self.rdma.pci_of(index))
        self.rdma.rename(index, name)

    def _vf(
        self, operation: str, pf_index: int, vf_index: int
    ) -> hardware.Function:
        interface = self.net.get(pf_index)
        pf = self.bus.functions.get(interface.pci)
        if pf is None or vf_index not in range(len(pf.vfs)):
            raise OSError(errno.EINVAL, f'{interface.name} vf {vf_index}')
        vf = pf.vfs[vf_index]
        self._begin(operation, vf.pci)
        return vf

    def do_pf(self, index: int) -> model.PfLink:
        interface = self._interface('pf', index, '')
        pf = self.bus.functions.get(interface.pci)
        return model.PfLink(
            link=interface.link(),
            vfs=tuple(
                replace(vf.settings, **dict.fromkeys(vf.nic.list_unreported()))
                for vf in (pf.vfs if pf else ())
            ),
        )

    def do_set_vf(
        self, pf_index: int, vf_index: int, settings: model.VfSettings
    ) -> None:
        vf = self._vf('set_vf', pf_index, vf_index)
        for group in KERNEL_ORDER:
            wanted = {name: getattr(settings, name) for name in group}
            given = {n: v for n, v in wanted.items() if v is not None}
            if not given:
                continue
            for name, value in given.items():
                self._demand(vf, name, value)
            vf.settings = replace(vf.settings, **given)
            if 'mac' in given:
                self._pin(vf, given['mac'])

    def _demand(self, vf: hardware.Function, name: str, value: Any) -> None:
        """Refuse what the NIC cannot do, and what no NIC can."""
        assert vf.pf is not None
        refused = {**vf.nic.map_refused(), **self.refused.get(vf.pf.pci, {})}
        number = refused.get(name, 0)
        if number and (number == errno.EOPNOTSUPP or value not in NEUTRAL):
            raise OSError(number, f'{vf.pci} {name}')
        if name.endswith('_rate') and vf.nic.rates_need_link:
            pf = vf.pf.interface
            if not (pf and pf.carrier):
                raise OSError(errno.EINVAL, f'{vf.pci} {name}')
        limit = {'vlan': 4094, 'vlan_qos': 7}.get(name)
        if limit is not None and not 0 <= value <= limit:
            raise OSError(errno.EINVAL, f'{vf.pci} {name}')
        if name == 'mac' and not hardware.can_be_set(value):
            raise OSError(errno.EINVAL, f'{vf.pci} {name}')

    def _pin(self, vf: hardware.Function, mac: str) -> None:
        vf.pinned = mac != hardware.NO_MAC
        if vf.pinned and vf.nic.follows_admin_mac:
            vf.mac = mac
            if vf.interface:
                vf.interface.mac = mac
