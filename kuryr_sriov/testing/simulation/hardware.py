# SPDX-License-Identifier: Apache-2.0
"""The NICs a simulated node can have, and how their drivers behave."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from kuryr_sriov import model

NO_MAC = '00:00:00:00:00:00'
NO_GUID = '00:00:00:00:00:00:00:00'
GUIDS = 'node_guid', 'port_guid'
NET_ADDR_PERM, NET_ADDR_RANDOM, NET_ADDR_SET = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Nic:
    """What a PF driver does with its VFs.

    :param vf_driver: the kernel's own driver for its VFs.
    :param pins_mac: a VF may not change its MAC once the PF has set one,
        and takes that one when its interface is closed.
    :param reports_own_mac: the PF shows the MAC that a VF has told it:
        when it was changed, or when the interface was closed.
    :param follows_admin_mac: a VF takes the PF's MAC at once; else when
        its driver is bound the next time.
    :param rates_need_link: a PF without link refuses any rate.
    :param rdma: functions have an RDMA device.
    :param guids: its VFs have InfiniBand GUIDs.
    :param rdma_moves: and it can change its network namespace.
    :param refused: settings it cannot do, with the error number. With
        EOPNOTSUPP any value is refused, else any but the neutral one.
    :param unreported: settings it does not tell.
    """

    vendor: str
    device: str
    vf_device: str
    vf_driver: str
    pins_mac: bool = True
    reports_own_mac: bool = True
    follows_admin_mac: bool = False
    rates_need_link: bool = False
    rdma: bool = False
    guids: bool = False
    rdma_moves: bool = True
    max_mtu: int = 9216
    refused: Mapping[str, int] = field(default_factory=dict)
    unreported: tuple[str, ...] = ()

    def list_unreported(self) -> tuple[str, ...]:
        """Settings that its PFs do not tell."""
        return self.unreported if self.guids else (*self.unreported, *GUIDS)

    def map_refused(self) -> Mapping[str, int]:
        """Settings that it cannot do, with the error number."""
        if self.guids:
            return self.refused
        return {**dict.fromkeys(GUIDS, errno.EOPNOTSUPP), **self.refused}


NICS = {
    'igb': Nic(
        '8086',
        '10c9',
        '10ca',
        'igbvf',
        rates_need_link=True,
        refused={
            'link_state': errno.EOPNOTSUPP,
            'min_tx_rate': errno.EINVAL,
            'vlan_proto': errno.EPROTONOSUPPORT,
        },
    ),
    'ixgbe': Nic(
        '8086',
        '10fb',
        '10ed',
        'ixgbevf',
        rates_need_link=True,
        refused={
            'min_tx_rate': errno.EINVAL,
            'vlan_proto': errno.EPROTONOSUPPORT,
        },
    ),
    'i40e': Nic(
        '8086',
        '1572',
        '154c',
        'iavf',
        follows_admin_mac=True,
        refused={
            'min_tx_rate': errno.EINVAL,
            'vlan_proto': errno.EPROTONOSUPPORT,
        },
    ),
    'ice': Nic('8086', '1592', '1889', 'iavf', follows_admin_mac=True),
    'mlx5_core': Nic(
        '15b3',
        '1017',
        '1018',
        'mlx5_core',
        pins_mac=False,
        reports_own_mac=False,
        rdma=True,
        max_mtu=9978,
    ),
}
"""By PF driver. ``igb`` behaves as the emulated 82576 of the lab."""


@dataclass(frozen=True, slots=True)
class Pf:
    """A PF to put into a simulated node.

    :param vfs: how many VFs it has.
    :param driver: one of ``NICS``, unless ``nic`` is given.
    :param vf_driver: what the VFs are bound to; empty for the NIC's own.
    :param total_vfs: how many it can have; 0 for no more than ``vfs``.
    """

    pci: str
    ifname: str
    vfs: int = 8
    driver: str = 'igb'
    vf_driver: str = ''
    total_vfs: int = 0
    numa_node: int = 0
    nic: Nic | None = None


@dataclass(frozen=True, slots=True)
class Vf:
    """A VF without its PF, as a virtual machine has it.

    :param driver: the PF driver of its NIC, one of ``NICS``, unless
        ``nic`` is given.
    :param vf_driver: what it is bound to; empty for the NIC's own.
    :param pinned: the hypervisor has set its MAC.
    """

    pci: str
    ifname: str
    driver: str = 'i40e'
    vf_driver: str = ''
    pinned: bool = False
    numa_node: int = -1
    nic: Nic | None = None


UNTOUCHED = model.VfSettings(
    mac=NO_MAC,
    vlan=0,
    vlan_qos=0,
    vlan_proto='802.1q',
    min_tx_rate=0,
    max_tx_rate=0,
    spoofchk=True,
    trust=False,
    link_state='auto',
    node_guid=NO_GUID,
    port_guid=NO_GUID,
)


@dataclass(slots=True, eq=False)
class Interface:
    """A network interface, as the kernel holds it.

    :param netns: path of its network namespace; empty for the node's own.
    :param plugged: its cable, or its PF's, leads to a switch.
    :param mac_kind: where its MAC is from (NET_ADDR_…).
    :param open_errnos: errors of its driver when it is set up next.
    :param on_close: what its driver does when it goes down.
    """

    index: int
    name: str
    mac: str
    netns: str = ''
    max_mtu: int = 1500
    mtu: int = 1500
    up: bool = False
    plugged: bool = True
    alias: str = ''
    altnames: set[str] = field(default_factory=set)
    pci: str = ''
    mac_kind: int = NET_ADDR_RANDOM
    traits: dict[str, str] = field(
        default_factory=lambda: {'flags': '0x1002', 'txqueuelen': '1000'}
    )
    addresses: list[str] = field(default_factory=list)
    routes: list[model.Route] = field(default_factory=list)
    open_errnos: list[int] = field(default_factory=list)
    on_close: Callable[[Interface], None] = lambda interface: None

    @property
    def carrier(self) -> bool:
        return self.up and self.plugged

    def close(self) -> None:
        """It goes down, if it is up."""
        if self.up:
            self.up = False
            self.on_close(self)

    def link(self) -> model.Link:
        return model.Link(
            index=self.index,
            name=self.name,
            mac=self.mac,
            mtu=self.mtu,
            up=self.up,
            alias=self.alias,
            pci=self.pci,
            carrier=self.carrier,
            altnames=tuple(sorted(self.altnames)),
            traits=tuple(f'{k}={v}' for k, v in sorted(self.traits.items())),
        )


@dataclass(slots=True, eq=False)
class RdmaDevice:
    """The RDMA device of a function, as the kernel holds it.

    :param verbs: name of its verbs device.
    :param netns: path of its network namespace; empty for the node's own.
    """

    index: int
    name: str
    verbs: str
    netns: str = ''


@dataclass(slots=True, eq=False)
class Function:
    """A PCI function, as the kernel holds it.

    :param native: the driver that takes it without ``driver_override``.
    :param mac: its permanent MAC; of a VF, what it took when its driver
        was bound.
    :param pf: of a VF; None for a PF, and for a VF without its PF.
    :param settings: what its PF holds for it.
    :param pinned: the PF, or the hypervisor, has set its MAC.
    :param stalled: a program has left it without link.
    :param bound: counts its bindings.
    """

    pci: str
    nic: Nic
    native: str
    mac: str
    pf: Function | None = None
    numa_node: int = -1
    total_vfs: int = 0
    vf_offset: int = 0
    vfs: list[Function] = field(default_factory=list)
    driver: str = ''
    override: str = ''
    group: str = ''
    settings: model.VfSettings = UNTOUCHED
    pinned: bool = False
    interface: Interface | None = None
    rdma: RdmaDevice | None = None
    stalled: bool = False
    bound: int = 0

    @property
    def is_vf(self) -> bool:
        return self.native == self.nic.vf_driver and not self.total_vfs

    def start(self, fresh_mac: str) -> None:
        """A kernel driver was bound: take the PF's MAC, or a random one.

        The PF forgets what the VF told it before, and is told nothing yet.
        """
        if self.pf and self.pinned:
            self.mac = self.settings.mac or fresh_mac
        elif self.pf:
            self.mac = fresh_mac
            self.report_mac(NO_MAC)

    def agree(self, interface: Interface) -> None:
        """The interface was closed: the VF and its PF agree on a MAC."""
        if not (self.pf and self.nic.pins_mac):
            return
        if self.pinned and not self.settings.trust:
            interface.mac = self.settings.mac or interface.mac
        else:
            self.report_mac(interface.mac)

    def report_mac(self, mac: str) -> None:
        """The VF tells its PF the MAC it has given itself."""
        if self.nic.reports_own_mac:
            self.settings = replace(self.settings, mac=mac)

    def change_own_mac(self, mac: str) -> None:
        """What the VF driver says to ``ip link set … address``.

        A refused change still succeeds for the MAC the VF started with:
        igbvf falls back to that one and compares.
        """
        if not self.is_vf:
            return
        trusted = bool(self.settings.trust)
        if self.pinned and self.nic.pins_mac and not trusted:
            if mac != self.mac:
                raise OSError(errno.EADDRNOTAVAIL, self.pci)
        else:
            self.report_mac(mac)


def parse_address(pci: str) -> tuple[str, int]:
    """Domain and routing id."""
    domain, bus, slot = pci.split(':')
    device, function = slot.split('.')
    return domain, int(bus, 16) << 8 | int(device, 16) << 3 | int(function)


def format_address(domain: str, routing_id: int) -> str:
    bus, rest = routing_id >> 8, routing_id & 255
    return f'{domain}:{bus:02x}:{rest >> 3:02x}.{rest & 7}'


def is_unicast(mac: str) -> bool:
    with contextlib.suppress(ValueError):
        octets = bytes.fromhex(mac.replace(':', ''))
        return len(octets) == 6 and any(octets) and not octets[0] & 1
    return False


def can_be_set(mac: str) -> bool:
    """Whether a PF takes it for a VF; all zeros take the present one away."""
    return mac == NO_MAC or is_unicast(mac)
