# SPDX-License-Identifier: Apache-2.0
"""On a node that is a VM: which ports are its VFs?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd.check.findings import Result, Subject, ok, warning
from kuryr_sriov.handlers import guest_ports, vf_macs
from kuryr_sriov.host import instance_metadata, ledger_reader

GUEST = 'guest'


def check_guest_vfs(subject: Subject) -> Iterator[Result]:
    """Each VF is one port of this machine."""
    sriov = subject.conf.sriov
    if GUEST not in (sriov.vif_driver, *sriov.node_vif_drivers.values()):
        yield ok('no node has the VIF driver guest')
        return
    if not subject.host.is_guest:
        yield ok('this node is no virtual machine')
        return
    metadata = instance_metadata.InstanceMetadata(
        sriov.instance_metadata, sriov.metadata_timeout
    )
    ports = metadata.list_ports()
    yield ok(f'{metadata.source} tells of ports: {len(ports)}')
    macs = vf_macs.read_macs(sriov.guest_macs) | _recorded_macs(subject)
    for function in subject.host.pci.functions.list_all():
        if not (function.pf or function.total_vfs):
            yield _check_vf(subject, function.pci, macs, ports)


def _recorded_macs(subject: Subject) -> dict[str, str]:
    """Of VFs that pods have, which show none here."""
    found = ledger_reader.read_attachments(subject.conf.sriov.state_dir)
    return {
        record.pci: record.vif.mac
        for record in found
        if record.vif.provider_network
    }


def _check_vf(
    subject: Subject,
    pci: str,
    macs: Mapping[str, str],
    ports: tuple[model.GuestPort, ...],
) -> Result:
    link = subject.host.links.find(pci, '')
    mac = link.mac if link else macs.get(pci, '')
    if not mac:
        return warning(
            f'VF {pci} has no network interface, so that nobody knows which '
            'port it is.',
            f'If pods use it, leave it to its kernel driver, or add {pci}=MAC '
            'to [sriov] guest_macs.',
        )
    try:
        port = guest_ports.find_port(pci, mac, ports)
    except exceptions.NotAllocated as error:
        return warning(f'{error}.', 'If no pods use it, this may be meant.')
    what = f'VF {pci} ({mac}) is port {port.id} on network {port.network}'
    if port.unknown:
        return warning(
            f'{what}, whose addresses the metadata does not tell '
            f'({", ".join(port.unknown)}).',
            'If pods use it, switch DHCP off for its subnets: "openstack '
            'subnet set --no-dhcp".',
        )
    shown = ', '.join(port.addresses) or 'without addresses'
    return ok(f'{what}, {shown}, MTU {port.mtu or "unknown"}')
