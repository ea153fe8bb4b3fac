# SPDX-License-Identifier: Apache-2.0
"""The simulated network namespaces, and the interfaces in them.

Follows the kernel's ``net/core/{dev,rtnetlink}.c``. Errors are OSError, as
a process sees them.
"""

from __future__ import annotations

import errno
import ipaddress
import itertools

from kuryr_sriov import model
from kuryr_sriov.testing.simulation import hardware, tree

LOOPBACK = 1
LONGEST_NAME = 15
LONGEST_ALIAS = 255
SMALLEST_MTU = 68


class Network:
    """Network namespaces by path, ``''`` being the node's own. Not locked."""

    def __init__(self, files: tree.Tree) -> None:
        self._files = files
        self.clear()

    def clear(self) -> None:
        """Power off."""
        self._inodes = itertools.count(4026531840)  # PROC_DYNAMIC_FIRST
        self._last_index = LOOPBACK
        self._namespaces: dict[str, dict[int, hardware.Interface]] = {'': {}}
        self._identities = {'': self._new_identity()}

    def alive(self, netns: str) -> bool:
        return netns in self._namespaces

    def identify(self, netns: str) -> str:
        self._links(netns)
        return self._identities[netns]

    def add_netns(self, netns: str) -> None:
        if netns in self._namespaces:
            raise OSError(errno.EEXIST, netns)
        self._namespaces[netns] = {}
        self._identities[netns] = self._new_identity()

    def link_netns(self, netns: str, target: str) -> None:
        self._namespaces[netns] = self._links(target)
        self._identities[netns] = self._identities[target]

    def delete_netns(self, netns: str) -> None:
        """Its VFs go home under the names they have, unless taken there."""
        for interface in list(self._links(netns).values()):
            if interface.pci:
                fallback = f'dev{interface.index}'
                interface.altnames -= self._names('')
                self._move(interface, '', fallback)
        del self._namespaces[netns]

    def _new_identity(self) -> str:
        return f'4:{next(self._inodes)}'

    def _links(self, netns: str) -> dict[int, hardware.Interface]:
        if netns not in self._namespaces:
            raise OSError(errno.ENOENT, netns)
        return self._namespaces[netns]

    def _names(self, netns: str) -> set[str]:
        links = self._links(netns).values()
        return {n for link in links for n in (link.name, *link.altnames)}

    def _taken(self, netns: str, name: str) -> bool:
        return name in self._names(netns)

    def create(
        self, pci: str, mac: str, max_mtu: int, assigned: bool
    ) -> hardware.Interface:
        """A new interface in the node's own netns, called ethN."""
        taken = self._names('')
        names = (f'eth{number}' for number in itertools.count())
        name = next(name for name in names if name not in taken)
        interface = hardware.Interface(
            self._next_index(), name, mac, max_mtu=max_mtu, pci=pci
        )
        if assigned:
            interface.mac_kind = hardware.NET_ADDR_PERM
        self._links('')[interface.index] = interface
        self._files.show(interface)
        return interface

    def add_foreign(self, name: str, netns: str, index: int) -> None:
        """An interface that is no PCI function's."""
        if self._taken(netns, name):
            raise OSError(errno.EEXIST, name)
        index = index or self._next_index()
        self._links(netns)[index] = hardware.Interface(
            index, name, hardware.NO_MAC, netns
        )

    def remove_foreign(self, name: str, netns: str) -> None:
        links = self._links(netns)
        (index,) = (i for i, link in links.items() if link.name == name)
        del links[index]

    def _next_index(self) -> int:
        self._last_index += 1
        return self._last_index

    def remove(self, interface: hardware.Interface) -> None:
        """Wherever it is: its driver was unbound."""
        del self._links(interface.netns)[interface.index]
        self._files.hide(interface, gone=True)

    def get(self, index: int, netns: str = '') -> hardware.Interface:
        links = self._links(netns)
        if index not in links:
            raise OSError(errno.ENODEV, f'interface {index} in {netns!r}')
        return links[index]

    def find(self, pci: str, netns: str) -> hardware.Interface | None:
        for interface in self._links(netns).values():
            if interface.pci == pci:
                return interface
        return None

    def set(
        self,
        index: int,
        netns: str,
        function: hardware.Function | None,
        *,
        to: str | None = None,
        name: str = '',
        mac: str = '',
        mtu: int = 0,
        alias: str | None = None,
        up: bool | None = None,
    ) -> None:
        """In the order of do_setlink; what precedes an error stays done."""
        interface = self.get(index, netns)
        if to is not None and to != netns:
            self._move(interface, to, name)
        if mac:
            if not hardware.is_unicast(mac):
                raise OSError(errno.EADDRNOTAVAIL, mac)
            if function and function.is_vf and interface.up:
                # As ionic and txgbevf do (eth_prepare_mac_addr_change).
                raise OSError(errno.EBUSY, interface.name)
            if function and mac != interface.mac:
                function.change_own_mac(mac)
            interface.mac = mac
            interface.mac_kind = hardware.NET_ADDR_SET
            self._files.set_mac_kind(interface)
        if mtu:
            if not SMALLEST_MTU <= mtu <= interface.max_mtu:
                raise OSError(errno.EINVAL, f'MTU {mtu}')
            if 'xdp' in interface.traits and mtu != interface.mtu:
                raise OSError(errno.EPERM, 'an XDP program is there')
            interface.mtu = mtu
        if name:
            self._rename(interface, name)
        if alias is not None:
            if len(alias.encode()) > LONGEST_ALIAS:
                raise OSError(errno.EINVAL, alias)
            interface.alias = alias
        if up is not None:
            self.set_up(interface, up)

    def _move(
        self, interface: hardware.Interface, netns: str, fallback: str
    ) -> None:
        """Closed and without addresses, as __dev_change_net_namespace."""
        links = self._links(netns)
        name = interface.name
        if self._taken(netns, name):
            name = fallback
            if not name or self._taken(netns, name):
                raise OSError(errno.EEXIST, name or interface.name)
        if interface.altnames & self._names(netns):
            raise OSError(errno.EEXIST, interface.name)
        del self._links(interface.netns)[interface.index]
        if not interface.netns:
            self._files.hide(interface, gone=False)
        if interface.index in links or interface.index == LOOPBACK:
            interface.index = self._next_index()
        interface.close()
        interface.netns, interface.name = netns, name
        interface.addresses.clear()
        interface.routes.clear()
        links[interface.index] = interface
        if not netns:
            self._files.show(interface)

    def _rename(self, interface: hardware.Interface, name: str) -> None:
        if name == interface.name:
            return
        if len(name) > LONGEST_NAME or '/' in name:
            raise OSError(errno.EINVAL, name)
        if interface.up:  # before Linux 6.2
            raise OSError(errno.EBUSY, interface.name)
        self.rename(interface, name)

    def rename(self, interface: hardware.Interface, name: str) -> None:
        if self._taken(interface.netns, name):
            raise OSError(errno.EEXIST, name)
        if not interface.netns:
            self._files.rename(interface, name)
        interface.name = name

    def add_altname(self, interface: hardware.Interface, name: str) -> None:
        if self._taken(interface.netns, name):
            raise OSError(errno.EEXIST, name)
        interface.altnames.add(name)

    def remove_altname(self, interface: hardware.Interface, name: str) -> None:
        """As rtnl_alt_ifname."""
        if not self._taken(interface.netns, name):
            raise OSError(errno.ENOENT, name)
        if name not in interface.altnames:
            raise OSError(errno.EINVAL, name)
        interface.altnames.remove(name)

    def set_up(self, interface: hardware.Interface, up: bool) -> None:
        if up and not interface.up and interface.open_errnos:
            raise OSError(interface.open_errnos.pop(0), interface.name)
        if interface.up and not up:
            interface.routes.clear()
            interface.addresses[:] = [
                a for a in interface.addresses if ':' not in a
            ]
            interface.close()
        interface.up = up
        self._files.set_carrier(interface)

    def plug(self, interface: hardware.Interface, plugged: bool) -> None:
        interface.plugged = plugged
        self._files.set_carrier(interface)

    def add_address(self, interface: hardware.Interface, address: str) -> None:
        if address in interface.addresses:
            raise OSError(errno.EEXIST, address)
        interface.addresses.append(address)

    def add_route(
        self, interface: hardware.Interface, route: model.Route
    ) -> None:
        if not interface.up:
            raise OSError(errno.ENETDOWN, interface.name)
        if route in interface.routes:
            raise OSError(errno.EEXIST, route.destination)
        reachable = {r.destination for r in interface.routes if not r.gateway}
        reachable.update(interface.addresses)
        if route.gateway and not any(
            ipaddress.ip_address(route.gateway)
            in ipaddress.ip_interface(prefix).network
            for prefix in reachable
        ):
            raise OSError(errno.ENETUNREACH, route.gateway)
        interface.routes.append(route)
