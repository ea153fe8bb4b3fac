# SPDX-License-Identifier: Apache-2.0
"""The values that travel through the library; all frozen.

They hold plain strings and numbers, so that each has one JSON form:
MAC addresses in lower case with colons, interface addresses with prefix
(``192.168.2.7/24``), PCI addresses in full (``0000:02:10.0``), rates in
Mbit/s, MTU in bytes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal

PCI_ADDRESS = re.compile(
    r'[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]', re.ASCII
)
"""Form of a PCI address; a domain may have eight digits (Intel VMD)."""

RESERVED_IFNAMES = frozenset({'lo', 'eth0'})
"""Interfaces that a pod has already, from the kernel and the runtime."""

LinkState = Literal['auto', 'enable', 'disable']
VlanProto = Literal['802.1q', '802.1ad']


@dataclass(frozen=True, slots=True)
class Pod:
    """A Kubernetes pod, as far as its network is concerned.

    :param node: the node's name in Kubernetes; empty until the pod is
        scheduled. A VIF driver translates it where its provider has another
        one.
    :param containers: names of its app containers and sidecars; empty where
        only the pod's name is known (CNI tells no more).
    """

    namespace: str
    name: str
    uid: str
    node: str = ''
    containers: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f'{self.namespace}/{self.name}'


@dataclass(frozen=True, slots=True)
class Route:
    """A route of a subnet.

    :param destination: a prefix, such as ``10.0.0.0/8``.
    :param gateway: the next hop; empty for an on-link route.
    """

    destination: str
    gateway: str = ''


@dataclass(frozen=True, slots=True)
class Subnet:
    """What the network provider says of a subnet.

    :param network: the provider's id of the network it is on.
    :param physnet: Neutron's name for the wire; empty where the provider
        does not tell.
    :param cidr: the prefix, such as ``192.168.2.0/24``.
    :param gateway: the router's address; empty for none.
    :param vlan: 802.1Q tag, 0 for untagged; None where only a bound port
        tells (Neutron, for callers who may not read provider attributes).
    :param mtu: in bytes; 0 where the provider does not say.
    """

    id: str
    network: str
    physnet: str
    cidr: str
    gateway: str = ''
    vlan: int | None = 0
    mtu: int = 0
    routes: tuple[Route, ...] = ()
    dns: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """What a NAD's author says of the ports and VFs of its pods.

    None leaves it to the network provider. The fields from ``trust`` on are
    settings of the VF, and have the names that they have in ``Vif``; the
    others mean something to a provider only.

    :param security_groups: ids; empty for none at all.
    :param qos_policy: its id.
    :param active_timeout: seconds for the port to become ACTIVE.
    :param mtu: in bytes, not above the network's.
    """

    security_groups: tuple[str, ...] | None = None
    port_security: bool | None = None
    qos_policy: str | None = None
    active_timeout: float | None = None
    trust: bool | None = None
    spoofchk: bool | None = None
    link_state: LinkState | None = None
    min_tx_rate: int | None = None
    max_tx_rate: int | None = None
    mtu: int | None = None
    vlan_qos: int | None = None

    def said(self) -> dict[str, Any]:
        """The fields of which the author says anything."""
        return {
            each.name: value
            for each in fields(self)
            if (value := getattr(self, each.name)) is not None
        }

    def fill(self, vif: Vif) -> Vif:
        """The VIF, with this policy for what its provider has left open."""
        changes = {
            name: value
            for name, value in self.said().items()
            if name in _LEFT_OPEN and getattr(vif, name) == _LEFT_OPEN[name]
        }
        # the provider's MTU is the most that its network can carry
        return replace(vif, policy=self, mtu=self.mtu or vif.mtu, **changes)


_LEFT_OPEN = {
    'trust': None,
    'spoofchk': None,
    'link_state': None,
    'min_tx_rate': None,
    'max_tx_rate': None,
    'vlan_qos': 0,
}
VF_POLICY = frozenset(_LEFT_OPEN) | {'mtu'}
"""Fields of ``Policy`` that are settings of a VF: ``Policy.fill``."""

CHANGEABLE = (
    'min_tx_rate',
    'max_tx_rate',
    'spoofchk',
    'link_state',
    'trust',
)
"""Settings of a VF that may change while a pod has it.

Another VLAN would be another tenant's network, and another MAC another port.
"""


@dataclass(frozen=True, slots=True)
class NetworkRequest:
    """One entry of the pod's networks annotation, with its NAD.

    :param namespace: of the NAD.
    :param name: of the NAD.
    :param ifname: what the interface is called in the pod.
    :param subnet_ids: from the NAD; empty for the physnet's default. Two
        ids (IPv4 and IPv6 of one network) make a dual-stack interface.
    :param resource: full resource name, ``intel.com/physnet22``; empty
        until it is known.
    :param ips: addresses asked for, with or without prefix.
    :param mac: MAC asked for; empty for any.
    :param guid: InfiniBand GUID asked for; empty for none.
    :param gateways: ``default-route`` of the annotation: default gateways
        that this interface is to have; None where the pod does not say.
    :param subnets: filled in by the subnets driver.
    :param policy: of the NAD; None where it says nothing.
    """

    namespace: str
    name: str
    ifname: str
    subnet_ids: tuple[str, ...] = ()
    resource: str = ''
    ips: tuple[str, ...] = ()
    mac: str = ''
    gateways: tuple[str, ...] | None = None
    subnets: tuple[Subnet, ...] = ()
    policy: Policy | None = None
    guid: str = ''

    def __str__(self) -> str:
        return f'{self.namespace}/{self.name}'


@dataclass(frozen=True, slots=True)
class Vif:
    """What the network provider promised for one interface.

    :param id: the provider's id (Neutron: port id); empty in a promise.
    :param network: the NAD, ``namespace/name``.
    :param resource: full name of the resource its VF comes from.
    :param addresses: with prefix, IPv4 and IPv6.
    :param gateways: addresses for default routes; empty for none.
    :param vlan: 802.1Q tag, 0 for untagged.
    :param mtu: in bytes; 0 leaves the VF's own.
    :param vlan_qos: 802.1p priority, 0 to 7; needs a VLAN.
    :param min_tx_rate: Mbit/s, 0 for no minimum; None leaves it.
    :param max_tx_rate: Mbit/s, 0 for no limit; None leaves it.
    :param spoofchk: None leaves it, as for ``trust`` and ``link_state``.
    :param active: whether the provider has said that traffic flows.
    :param provider_network: the provider's id of the network, of a VIF whose
        port was there before the pod: the node is a VM, and its VFs are
        ports. Empty for a VIF whose port was made for the pod.
    :param guid: InfiniBand GUID, of the VF's node and port; empty leaves
        those it has.
    :param policy: of its NAD; the settings follow from it already, where
        the provider says nothing else.
    """

    id: str
    ifname: str
    network: str
    resource: str
    physnet: str
    mac: str
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: tuple[str, ...] = ()
    vlan: int = 0
    mtu: int = 0
    vlan_qos: int = 0
    vlan_proto: VlanProto = '802.1q'
    min_tx_rate: int | None = None
    max_tx_rate: int | None = None
    spoofchk: bool | None = None
    trust: bool | None = None
    link_state: LinkState | None = None
    active: bool = False
    provider_network: str = ''
    policy: Policy | None = None
    guid: str = ''

    @property
    def is_promise(self) -> bool:
        """Whether the node has yet to find out which port it is."""
        return not self.id and bool(self.provider_network)

    def adopt_settings(self, newer: Vif) -> Vif:
        """This VIF with those settings of another that may change.

        Of the VLAN, addresses and all else nothing is taken over: a pod
        would have to be made again for them.
        """
        changes = {name: getattr(newer, name) for name in CHANGEABLE}
        return replace(self, **changes)


@dataclass(frozen=True, slots=True)
class GuestPort:
    """A port that a VM was given before it was started, as the VM sees it.

    :param network: the provider's id of the network it is on.
    :param addresses: with prefix.
    :param routes: without default routes.
    :param mtu: in bytes; 0 where the provider does not say.
    :param unknown: addresses that the port has and nobody tells, such as
        ``ipv4_dhcp``.
    """

    id: str
    mac: str
    network: str
    addresses: tuple[str, ...] = ()
    routes: tuple[Route, ...] = ()
    dns: tuple[str, ...] = ()
    mtu: int = 0
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OwnedVif:
    """A VIF as the provider keeps it, with the pod it was made for.

    :param pod: its uid is sure; namespace and name are empty where the
        provider has lost them, so that nobody can ask for the pod.
    :param age: seconds since it was made, by the provider's clock.
    :param placed: whether the provider knows its VF.
    :param in_use: whether the provider sees that VF in use now; False where
        it cannot see that.
    """

    pod: Pod
    vif: Vif
    age: float = 0.0
    placed: bool = False
    in_use: bool = False


@dataclass(frozen=True, slots=True)
class Location:
    """Where the VF of a VIF is: the port's ``binding:profile``.

    :param node: the node's name in Kubernetes, as in ``Pod``.
    :param pci_slot: PCI address of the VF.
    :param pci_vendor_info: ``vendor:device`` in hex, ``8086:10ca``.
    :param physical_network: Neutron's physnet.
    """

    node: str
    pci_slot: str
    pci_vendor_info: str
    physical_network: str


@dataclass(frozen=True, slots=True)
class Device:
    """A VF that the kubelet allocated to a pod.

    :param resource: full resource name.
    :param pci: PCI address, the device plugin's device id.
    """

    resource: str
    pci: str


@dataclass(frozen=True, slots=True)
class Sandbox:
    """A pod's sandbox, as CNI names it.

    :param container_id: CNI_CONTAINERID.
    :param netns: CNI_NETNS, a path.
    """

    container_id: str
    netns: str
    pod: Pod


@dataclass(frozen=True, slots=True)
class VfSettings:
    """What a PF holds for one of its VFs (``ip link show PF``: ``vf N``).

    None means that the NIC does not report it, or that it is to stay.

    :param mac: administrative MAC; all zeros where none is set.
    :param vlan: 802.1Q tag, 0 for none.
    :param node_guid: InfiniBand GUID, as 8 bytes with colons; so is
        ``port_guid``.
    """

    mac: str | None = None
    vlan: int | None = None
    vlan_qos: int | None = None
    vlan_proto: VlanProto | None = None
    min_tx_rate: int | None = None
    max_tx_rate: int | None = None
    spoofchk: bool | None = None
    trust: bool | None = None
    link_state: LinkState | None = None
    node_guid: str | None = None
    port_guid: str | None = None


@dataclass(frozen=True, slots=True)
class VfState:
    """A VF before it was touched: what ``disconnect`` restores.

    :param driver: kernel driver; empty for none.
    :param ifname: netdev name; empty where there was no netdev.
    :param mac: the VF's own MAC; empty where there was no netdev.
    :param mtu: in bytes; 0 where there was no netdev.
    :param alias: ``ifalias`` of the netdev.
    :param up: whether the netdev was administratively up.
    :param settings: None where the PF is out of reach (node is a VM).
    :param altnames: alternative names of the netdev.
    :param traits: see ``Link``; empty where there was no netdev.
    :param pinned: the PF had set the MAC in ``settings`` itself; else it
        only showed what the VF had told it.
    :param override: its ``driver_override``, by which an operator has pinned
        it to a driver; empty for none.
    :param rdma_device: name of its RDMA device; empty for none.
    """

    driver: str = ''
    ifname: str = ''
    mac: str = ''
    mtu: int = 0
    alias: str = ''
    up: bool = False
    settings: VfSettings | None = None
    altnames: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()
    pinned: bool = False
    override: str = ''
    rdma_device: str = ''


@dataclass(frozen=True, slots=True)
class PciDevice:
    """A PCI network function as sysfs shows it now.

    :param vendor: hex, ``8086``; so is ``device``.
    :param driver: kernel driver; empty for none.
    :param pf: PCI address of the PF; empty for a PF, and for a VF whose PF
        is out of reach (the node is a VM).
    :param vf_index: which VF of its PF; None without a PF.
    :param ifname: netdev in the node's own netns; empty where there is none
        (userspace driver, still probing, or moved to a pod).
    :param ifindex: of that netdev; 0 for none.
    :param iommu_group: empty for none.
    :param noiommu: the group is one of VFIO's no-IOMMU mode.
    :param numa_node: -1 where the platform does not say.
    :param rdma_device: name of its RDMA device, also while that is in a pod;
        empty for none.
    :param rdma_here: whether that is in the node's own netns.
    :param verbs: name of its verbs device, ``uverbs0``; empty for none.
    :param uio: name of its UIO device, ``uio0``; empty for none.
    :param total_vfs: how many VFs it can have: not 0 for a PF, and for
        nothing else.
    """

    pci: str
    vendor: str
    device: str
    driver: str = ''
    pf: str = ''
    vf_index: int | None = None
    ifname: str = ''
    ifindex: int = 0
    iommu_group: str = ''
    noiommu: bool = False
    numa_node: int = -1
    rdma_device: str = ''
    uio: str = ''
    total_vfs: int = 0
    rdma_here: bool = False
    verbs: str = ''


@dataclass(frozen=True, slots=True)
class Link:
    """A network interface as rtnetlink shows it.

    :param up: the administrator's wish (``IFF_UP``).
    :param carrier: whether frames can pass (``IFF_RUNNING``, and a queue).
    :param pci: PCI address of its device (``IFLA_PARENT_DEV_NAME``).
    :param altnames: alternative names.
    :param traits: everything else that the kernel tells of it, but for what
        changes by itself, such as counters: to be compared, not read.
    """

    index: int
    name: str
    mac: str
    mtu: int
    up: bool = False
    alias: str = ''
    pci: str = ''
    carrier: bool = False
    altnames: tuple[str, ...] = ()
    traits: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PfLink:
    """The interface of a PF, and what it holds for its VFs.

    :param vfs: in the order of their indexes, from 0; None for one of which
        the driver does not tell, as while it resets.
    """

    link: Link
    vfs: Sequence[VfSettings | None] = ()


@dataclass(frozen=True, slots=True)
class Attachment:
    """One VIF on one device in one sandbox: the ledger's record.

    :param pci: PCI address of the VF.
    :param pf: PCI address of its PF; empty where that is out of reach.
    :param driver: binding driver, by entry-point name.
    :param original: the VF's state before the first change.
    :param boot_id: of the boot it was made in
        (``/proc/sys/kernel/random/boot_id``).
    :param done: False from intent until everything is in place.
    :param netns_id: of the sandbox's network namespace, as
        ``binding.base.Links.identify`` has it; empty where it is not known.
        A path alone may lead to another namespace by now.
    :param owed: what could not be restored, and why; empty for nothing.
    :param pending: what its VIF is about to become: the VF holds the
        settings of ``vif`` or those of this one. None for no change.
    """

    sandbox: Sandbox
    vif: Vif
    pci: str
    driver: str
    pf: str = ''
    original: VfState = field(default_factory=VfState)
    boot_id: str = ''
    done: bool = False
    netns_id: str = ''
    owed: str = ''
    pending: Vif | None = None

    @property
    def key(self) -> tuple[str, str]:
        """CNI's key: container id and interface name."""
        return self.sandbox.container_id, self.vif.ifname


@dataclass(frozen=True, slots=True)
class SetAside:
    """A record of the ledger that cannot be read.

    Its VF is given to nobody until the next boot, or until somebody who has
    looked at it says so: another pod may have it.

    :param pci: PCI address of the VF.
    :param boot_id: of the boot in which it was set aside; empty where it
        was not yet.
    """

    container_id: str
    ifname: str
    pci: str
    reason: str
    boot_id: str = ''


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """NPWG device-info 1.1.0 of a PCI device, and its device nodes.

    :param device_nodes: paths under ``/dev`` that the pod needs, such as
        ``/dev/vfio/17``; no part of the NPWG form.
    """

    pci: str
    pf_pci: str = ''
    rdma_device: str = ''
    device_nodes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AttachedVif:
    """What an attach reports of one interface."""

    vif: Vif
    location: Location
    device_info: DeviceInfo
    driver: str
