# SPDX-License-Identifier: Apache-2.0
"""The node's steps for VFs that are ports already, because it is a VM.

The controller promises a network; which port of it the pod gets follows from
the VF that the kubelet has allocated. A VF is joined with its port by MAC: PCI
addresses in the metadata are the hypervisor's idea of the machine's.
Nothing is guessed: a VF that is not surely one port is refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence

from kuryr_sriov import exceptions, model
from kuryr_sriov.handlers import protocols, validate
from kuryr_sriov.handlers.choose_vfs import AttachRequest
from kuryr_sriov.handlers.pipeline import NothingToUndo

ListPorts = Callable[[], Sequence[model.GuestPort]]
"""The ports that this machine was given."""

Ask = Callable[[model.Pod, model.Vif, str], model.Vif]
"""The VIF on the port of that id, as the network provider has it now."""

FindMac = Callable[[str], str]
"""The MAC of a VF, by PCI address; empty where it is not known."""


def ask_nobody(pod: model.Pod, vif: model.Vif, port_id: str) -> model.Vif:
    """For hosts that have no way to the controller.

    :raises InvalidInput: always.
    """
    raise exceptions.InvalidInput(
        f'[sriov] guest_addresses is provider, but this daemon does not ask '
        f'for port {port_id} of pod {pod}; pass ask_port to Node, or say '
        'guest_addresses = metadata',
        'ask_port',
    )


class IdentifyPorts(NothingToUndo[AttachRequest]):
    """Find out which ports the allocated VFs are, if VIFs are promises.

    What is on record of this sandbox stays so: a repeated ADD needs no
    metadata, and gives the same.
    """

    name = 'identify'

    def __init__(
        self,
        ledger: protocols.Ledger,
        list_ports: ListPorts,
        find_mac: FindMac,
    ) -> None:
        self._ledger = ledger
        self._list_ports = list_ports
        self._find_mac = find_mac

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in ``ports``.

        :raises TransientError: the metadata cannot be read.
        :raises NotAllocated: a VF is no port of it, or more than one.
        """
        wanted = {vif.resource for vif in value.vifs if vif.provider_network}
        if not wanted:
            return value
        ports = {
            record.pci: _port_of(record.vif)
            for record in self._ledger.of(value.sandbox.container_id)
            if record.vif.provider_network
        }
        missing = [
            device.pci
            for device in value.devices
            if device.resource in wanted and device.pci not in ports
        ]
        if missing:
            known = self._list_ports()
            ports |= {pci: self._find_port(pci, known) for pci in missing}
        return dataclasses.replace(value, ports=ports)

    def _find_port(
        self, pci: str, known: Iterable[model.GuestPort]
    ) -> model.GuestPort:
        mac = self._find_mac(pci)
        if not mac:
            raise exceptions.NotAllocated(
                f'VF {pci} has no network interface, so that its MAC is not '
                'known, nor which port it is; leave it to the kernel driver '
                'of its NIC, from which it is taken when a pod needs it, or '
                f'add {pci}=MAC to [sriov] guest_macs'
            )
        return find_port(pci, mac, known)


class CompleteVifs(NothingToUndo[AttachRequest]):
    """Make VIFs of promises: each is the port that its VF is.

    :param ask: asks for what the metadata may not tell, or not as it is now;
        None to rely on the metadata.
    """

    name = 'complete'

    def __init__(
        self,
        ledger: protocols.Ledger,
        is_lone: Callable[[str], bool],
        ask: Ask | None,
    ) -> None:
        self._ledger = ledger
        self._is_lone = is_lone
        self._ask = ask

    def run(self, value: AttachRequest) -> AttachRequest:
        """Fill in what is missing in ``pairs``.

        :raises DeviceMissing: a VF has its PF here, whose port it is not.
        :raises NotAllocated: nobody tells the addresses of a port.
        """
        if not any(vif.provider_network for vif, _ in value.pairs):
            return value
        recorded = {
            (record.vif.ifname, record.pci): record.vif
            for record in self._ledger.of(value.sandbox.container_id)
            if record.vif.provider_network
        }
        pairs = tuple(
            (
                recorded.get((vif.ifname, pci))
                or self._complete(value.sandbox.pod, vif, pci, value.ports),
                pci,
            )
            if vif.provider_network
            else (vif, pci)
            for vif, pci in value.pairs
        )
        vifs = tuple(vif for vif, _ in pairs)
        validate.check_vifs(vifs)
        return dataclasses.replace(value, vifs=vifs, pairs=pairs)

    def _complete(
        self,
        pod: model.Pod,
        vif: model.Vif,
        pci: str,
        ports: Mapping[str, model.GuestPort],
    ) -> model.Vif:
        port = ports[pci]
        if not self._is_lone(pci):
            raise exceptions.DeviceMissing(
                f'VF {pci} has its PF on this node, so that it is no port of '
                'its own; take the node out of [sriov] node_vif_drivers '
                'where that says guest'
            )
        if self._ask is not None:
            return _check_answer(self._ask(pod, vif, port.id), pci, port)
        if port.unknown:
            raise exceptions.NotAllocated(
                f'port {port.id} of VF {pci} has addresses that the metadata '
                f'of this instance does not tell ({", ".join(port.unknown)}); '
                'say [sriov] guest_addresses = provider, or switch DHCP off '
                f'for the subnets of network {port.network} ("openstack '
                'subnet set --no-dhcp")'
            )
        return complete(vif, port)


def _check_answer(
    vif: model.Vif, pci: str, port: model.GuestPort
) -> model.Vif:
    """The answer, if it is about the port that the VF is.

    :raises NotAllocated: the provider has another port of that id.
    """
    for what, ours, theirs in (
        ('MAC', port.mac, vif.mac),
        ('network', port.network, vif.provider_network),
    ):
        if ours != theirs:
            raise exceptions.NotAllocated(
                f'VF {pci} is port {port.id} with {what} {ours} in the '
                f'metadata of this instance, but the network provider says '
                f'{what} {theirs}; reboot the instance hard so that both '
                'are the same'
            )
    return vif


def find_port(
    pci: str, mac: str, known: Iterable[model.GuestPort]
) -> model.GuestPort:
    """The one port that has the MAC.

    :raises NotAllocated: there is none, or more than one.
    """
    found = [port for port in known if port.mac == mac]
    if len(found) == 1:
        return found[0]
    if found:
        several = ' and '.join(f'{p.id} ({p.network})' for p in found)
        raise exceptions.NotAllocated(
            f'VF {pci} has MAC {mac}, and so have ports {several}: nothing '
            'tells which one it is; give each port of the instance a MAC of '
            'its own'
        )
    raise exceptions.NotAllocated(
        f'VF {pci} has MAC {mac}, which no port in the metadata of this '
        'instance has; if the port was attached after the instance started, '
        'name the metadata service in [sriov] instance_metadata, or reboot '
        'the instance hard so that its config drive is written again'
    )


def complete(vif: model.Vif, port: model.GuestPort) -> model.Vif:
    """The VIF that a promise becomes on a port."""
    return dataclasses.replace(
        vif,
        id=port.id,
        mac=port.mac,
        addresses=port.addresses,
        routes=port.routes,
        dns=port.dns,
        mtu=port.mtu,
    )


def _port_of(vif: model.Vif) -> model.GuestPort:
    """What ``complete`` made a VIF of."""
    return model.GuestPort(
        id=vif.id,
        mac=vif.mac,
        network=vif.provider_network,
        addresses=vif.addresses,
        routes=vif.routes,
        dns=vif.dns,
        mtu=vif.mtu,
    )
