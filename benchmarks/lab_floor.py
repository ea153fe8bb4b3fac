# SPDX-License-Identifier: Apache-2.0
"""The floor: the end state of attach and detach by the fewest operations.

Bytes to netlink sockets and files, written out beforehand; nothing is
read but acknowledgements, nothing looked up, recorded, checked or undone.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from dataclasses import dataclass
from ipaddress import ip_address, ip_interface

from kuryr_sriov import model

RTM_SETLINK, RTM_NEWADDR, RTM_NEWROUTE = 19, 20, 24
REQUEST, ACK, CREATE = 1, 4, 0x400
IFF_UP, NODAD = 0x1, 0x2
ADDRESS, NAME, MTU, ALIAS, VFINFO_LIST, NET_NS_FD = 1, 3, 4, 20, 22, 28
ALL = 0xFFFFFFFF
NO_MAC = '00:00:00:00:00:00'
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


def attribute(kind: int, payload: bytes) -> bytes:
    """A netlink attribute."""
    length = 4 + len(payload)
    return struct.pack('=HH', length, kind) + payload + bytes(-length % 4)


def message(kind: int, flags: int, payload: bytes) -> bytes:
    """A netlink message."""
    header = struct.pack(
        '=IHHII', 16 + len(payload), kind, REQUEST | flags, 0, 0
    )
    return header + payload


def link(index: int, attributes: bytes, up: bool | None = None) -> bytes:
    """RTM_SETLINK."""
    flags, change = IFF_UP if up else 0, 0 if up is None else IFF_UP
    body = struct.pack('=BBHiII', 0, 0, 0, index, flags, change)
    return message(RTM_SETLINK, ACK, body + attributes)


def mac(text: str) -> bytes:
    """Six octets."""
    return bytes.fromhex(text.replace(':', ''))


def vf_settings(pf: int, vf: int, address: str, vlan: int) -> bytes:
    """The PF's side: MAC and VLAN."""
    tag = struct.pack('=III2s2x', vf, vlan, 0, b'\x81\x00')
    info = attribute(1, struct.pack('=I32s', vf, mac(address)))
    info += attribute(12 | 0x8000, attribute(1, tag))
    return link(
        pf, attribute(VFINFO_LIST | 0x8000, attribute(1 | 0x8000, info))
    )


def address(index: int, text: str) -> bytes:
    """RTM_NEWADDR."""
    interface = ip_interface(text)
    family = socket.AF_INET if interface.version == 4 else socket.AF_INET6
    packed = interface.ip.packed
    body = struct.pack(
        '=BBBBI', family, interface.network.prefixlen, NODAD, 0, index
    )
    body += attribute(2, packed) + attribute(1, packed)
    return message(RTM_NEWADDR, ACK | CREATE, body)


def default_route(index: int, gateway: str) -> bytes:
    """RTM_NEWROUTE."""
    ip = ip_address(gateway)
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    body = struct.pack('=BBBBBBBBI', family, 0, 0, 0, 254, 4, 0, 1, 0)
    body += attribute(4, struct.pack('=i', index)) + attribute(5, ip.packed)
    return message(RTM_NEWROUTE, ACK | CREATE, body)


def ask(rtnetlink: socket.socket, request: bytes) -> bytes:
    """Send a request; what answers it, once it is not refused."""
    rtnetlink.send(request)
    answer = rtnetlink.recv(65536)
    kind, error = struct.unpack_from('=H', answer, 4)[0], 0
    if kind == 2:
        (error,) = struct.unpack_from('=i', answer, 16)
    if error:
        raise OSError(-error, os.strerror(-error))
    return answer


def enter(netns: int) -> None:
    """Bring this thread into a network namespace."""
    if LIBC.setns(netns, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), 'setns')


@dataclass(frozen=True)
class Target:
    """What is attached where: everything is known beforehand."""

    pci: str
    pf: int
    vf: int
    original: model.VfState
    vif: model.Vif
    netns: str


def routes_socket() -> socket.socket:
    """A netlink socket in the namespace of this thread."""
    return socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)


def write(path: str, text: str) -> None:
    """One write to a file of sysfs."""
    file = os.open(path, os.O_WRONLY)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def forget(outside: socket.socket, target: Target) -> None:
    """Have the PF show no MAC, if it showed none before the VF told it."""
    settings = target.original.settings
    if settings and settings.mac == NO_MAC:
        ask(outside, vf_settings(target.pf, target.vf, NO_MAC, 0))


class Netdevice:
    """A VF's netdev into a pod, and back."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def prepare(self, index: int) -> None:
        """The netdev's index is known; all messages are written."""
        target, vif = self._target, self._target.vif
        original = target.original
        self._index = index
        self._mac = link(index, attribute(ADDRESS, mac(vif.mac)))
        self._pf = vf_settings(target.pf, target.vf, vif.mac, vif.vlan)
        self._into = (
            attribute(NAME, vif.ifname.encode() + b'\0')
            + attribute(MTU, struct.pack('=I', vif.mtu))
            + attribute(ALIAS, target.original.ifname.encode())
        )
        self._inside = [address(index, text) for text in vif.addresses]
        self._inside += [default_route(index, ip) for ip in vif.gateways]
        self._home = (
            attribute(MTU, struct.pack('=I', original.mtu))
            + attribute(NAME, original.ifname.encode() + b'\0')
            + attribute(ALIAS, original.alias.encode())
        )
        self._unpinned = vf_settings(target.pf, target.vf, NO_MAC, 0)
        self._own = link(index, attribute(ADDRESS, mac(original.mac)))

    def attach(self) -> None:
        """MAC, PF, move; addresses and routes."""
        here = os.open('/proc/self/ns/net', os.O_RDONLY)
        there = os.open(self._target.netns, os.O_RDONLY)
        moved = self._into + attribute(NET_NS_FD, struct.pack('=I', there))
        with routes_socket() as outside:
            ask(outside, self._mac)
            ask(outside, self._pf)
            ask(outside, link(self._index, moved, up=True))
        enter(there)
        with routes_socket() as inside:
            for request in self._inside:
                ask(inside, request)
        enter(here)
        os.close(there)
        os.close(here)

    def detach(self) -> None:
        """Home, PF, MAC."""
        here = os.open('/proc/self/ns/net', os.O_RDONLY)
        there = os.open(self._target.netns, os.O_RDONLY)
        moved = self._home + attribute(NET_NS_FD, struct.pack('=I', here))
        enter(there)
        with routes_socket() as inside:
            ask(inside, link(self._index, moved))
        enter(here)
        with routes_socket() as outside:
            ask(outside, self._unpinned)
            ask(outside, self._own)
            forget(outside, self._target)
        os.close(there)
        os.close(here)


class Vfio:
    """A VF to vfio-pci, and back to its kernel driver."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._device = f'/sys/bus/pci/devices/{target.pci}'

    def prepare(self, index: int) -> None:
        """All messages are written."""
        target, vif = self._target, self._target.vif
        self._pf = vf_settings(target.pf, target.vf, vif.mac, vif.vlan)
        self._unpinned = vf_settings(target.pf, target.vf, NO_MAC, 0)

    def attach(self) -> None:
        """PF, driver."""
        with routes_socket() as outside:
            ask(outside, self._pf)
        write(f'{self._device}/driver_override', 'vfio-pci')
        write(f'{self._device}/driver/unbind', self._target.pci)
        write('/sys/bus/pci/drivers_probe', self._target.pci)
        write(f'{self._device}/driver_override', '\n')

    def detach(self) -> None:
        """PF, driver, MAC and name."""
        original = self._target.original
        with routes_socket() as outside:
            write(f'{self._device}/driver/unbind', self._target.pci)
            ask(outside, self._unpinned)
            # Nothing is to be left of the program that drove it; the kernel
            # sleeps for 100 ms (pcie_flr).
            write(f'{self._device}/reset', '1')
            write('/sys/bus/pci/drivers_probe', self._target.pci)
            (name,) = os.listdir(f'{self._device}/net')
            index = socket.if_nametoindex(name)
            named = attribute(ADDRESS, mac(original.mac))
            named += attribute(NAME, original.ifname.encode() + b'\0')
            ask(outside, link(index, named))
            forget(outside, self._target)
