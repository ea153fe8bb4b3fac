# SPDX-License-Identifier: Apache-2.0
"""QEMU's words for the machine that a topology describes."""

from __future__ import annotations

from tools.lab.topology import FIRST_SLOT, NODE_ADDRESS, Topology

MORE_WORDS = {
    'e1000e': '',
    # as a NIC behind an IOMMU, which its DMA goes through, too
    'virtio-net-pci': ',disable-legacy=on,iommu_platform=on,romfile=',
}
"""For cards without SR-IOV, by model."""


def machine_words(topology: Topology) -> list[str]:
    """Processors, memory, the IOMMU, and cards on hubs as wires."""
    words = ['-smp', str(topology.cpus), '-m', f'{topology.memory}M']
    if topology.iommu:
        # before any card that it is for
        words += ['-device', 'intel-iommu,intremap=on,caching-mode=on']
    wires = sorted({each.wire for each in (*topology.pfs, *topology.plain)})
    return [
        *words,
        *pf_words(topology, wires),
        *plain_words(topology, wires),
        *network_words(topology),
    ]


def pf_words(topology: Topology, wires: list[str]) -> list[str]:
    """An igb per PF, each card behind a root port of its own."""
    words: list[str] = []
    for slot, pfs in topology.cards():
        words += root_port_words(slot)
        # without the latter the kernel, which asks by ARI, is not told
        # that there is a second function
        several = 'multifunction=on,x-pcie-ari-nextfn-1=on,'
        for function, pf in enumerate(pfs):
            mac = f'52:54:00:82:57:{topology.pfs.index(pf):02x}'
            words += [
                '-netdev',
                f'hubport,id={pf.name},hubid={wires.index(pf.wire)}',
                '-device',
                f'igb,bus=port{slot},addr=0.{function},'
                f'{several if len(pfs) > 1 else ""}'
                f'netdev={pf.name},mac={mac}',
            ]
    return words


def plain_words(topology: Topology, wires: list[str]) -> list[str]:
    """The cards without SR-IOV, each behind a root port of its own."""
    words: list[str] = []
    for slot, card in topology.plain_slots():
        words += [
            *root_port_words(slot),
            '-netdev',
            f'hubport,id={card.name},hubid={wires.index(card.wire)}',
            '-device',
            f'{card.model},bus=port{slot},netdev={card.name},'
            f'mac={card.mac}{MORE_WORDS[card.model]}',
        ]
    return words


def root_port_words(slot: int) -> list[str]:
    """A root port in that slot of bus 0."""
    number = slot - FIRST_SLOT + 1
    return [
        '-device',
        f'pcie-root-port,id=port{slot},bus=pcie.0,addr={slot:#x},'
        f'chassis={number},slot={number}',
    ]


def network_words(topology: Topology) -> list[str]:
    """The card that leads out of the machine, if it has one."""
    if not topology.ports:
        return []
    forwards = ''.join(
        f',hostfwd=tcp:{NODE_ADDRESS}:{port}-:{port}'
        for port in topology.ports
    )
    return [
        '-netdev',
        f'user,id=outside,ipv6=off{forwards}',
        '-device',
        'virtio-net-pci,netdev=outside,mac=52:54:00:12:34:56,romfile=',
    ]
