# SPDX-License-Identifier: Apache-2.0
"""Which NICs the lab's machine has, and which of them share a wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.lab.errors import LabError

MAX_VFS = 7
"""The 82576 has 8 VFs; its Linux driver makes at most 7."""

MAX_PFS = 12
MAX_FUNCTIONS = 2
"""PFs of a card: those of a real 82576."""

FIRST_SLOT = 0x10
"""Slot of the first root port on bus 0; each card is alone behind its own."""

NODE_ADDRESS = '10.0.2.15'
"""Of the machine, on QEMU's own network; the host's loopback is 10.0.2.2."""


@dataclass(frozen=True, slots=True)
class PhysicalFunction:
    """A PF: its name in the lab, its wire, and how many VFs tests make.

    :param card: PFs of one name are functions of one card, in this order;
        without a name a PF is a card of its own.
    """

    name: str
    wire: str
    vfs: int = MAX_VFS
    card: str = ''


@dataclass(frozen=True, slots=True)
class Topology:
    """The machine: its PFs in slot order, processors, memory in MiB.

    :param ports: TCP ports of the machine that can be reached from here,
        at `NODE_ADDRESS`, which this host must have; with at least one the
        machine has a network card, and its way out is this host's loopback.
    """

    pfs: tuple[PhysicalFunction, ...]
    cpus: int = 2
    memory: int = 3072
    ports: tuple[int, ...] = ()

    def cards(self) -> list[tuple[int, list[PhysicalFunction]]]:
        """Each card with the slot of its root port on PCI bus 0."""
        cards: dict[str, list[PhysicalFunction]] = {}
        for pf in self.pfs:
            cards.setdefault(pf.card or f'alone {pf.name}', []).append(pf)
        return list(enumerate(cards.values(), start=FIRST_SLOT))

    def qemu_arguments(self) -> list[str]:
        """Processors, memory, and an igb per PF, on hubs as wires."""
        wires = sorted({pf.wire for pf in self.pfs})
        words = ['-smp', str(self.cpus), '-m', f'{self.memory}M']
        for number, (slot, pfs) in enumerate(self.cards(), start=1):
            words += [
                '-device',
                f'pcie-root-port,id=port{number},bus=pcie.0,addr={slot:#x},'
                f'chassis={number},slot={number}',
            ]
            # without the latter the kernel, which asks by ARI, is not told
            # that there is a second function
            several = 'multifunction=on,x-pcie-ari-nextfn-1=on,'
            for function, pf in enumerate(pfs):
                mac = f'52:54:00:82:57:{self.pfs.index(pf):02x}'
                words += [
                    '-netdev',
                    f'hubport,id={pf.name},hubid={wires.index(pf.wire)}',
                    '-device',
                    f'igb,bus=port{number},addr=0.{function},'
                    f'{several if len(pfs) > 1 else ""}'
                    f'netdev={pf.name},mac={mac}',
                ]
        return words + self.network_arguments()

    def network_arguments(self) -> list[str]:
        """The card that leads out of the machine, if it has one."""
        if not self.ports:
            return []
        forwards = ''.join(
            f',hostfwd=tcp:{NODE_ADDRESS}:{port}-:{port}'
            for port in self.ports
        )
        return [
            '-netdev',
            f'user,id=outside,ipv6=off{forwards}',
            '-device',
            'virtio-net-pci,netdev=outside,mac=52:54:00:12:34:56,romfile=',
        ]

    def guest_table(self) -> str:
        """One line per PF, for the guest's start-up script."""
        return ''.join(
            f'{pf.name} {pf.wire} {pf.vfs} 0000:00:{slot:02x}.0 {function}\n'
            for slot, pfs in self.cards()
            for function, pf in enumerate(pfs)
        )


DEFAULT = Topology(
    pfs=(
        PhysicalFunction('pf0', 'wire0'),
        PhysicalFunction('pf1', 'wire0'),
        PhysicalFunction('pf2', 'wire1'),
        PhysicalFunction('pf3', 'wire1'),
    )
)


def load(path: Path | None) -> Topology:
    """The topology that a JSON file describes, or the default one.

    Shape: ``{"pfs": [{"name": "pf0", "wire": "wire0", "vfs": 7}, ...],
    "cpus": 2, "memory": 3072}``; "lab.rst" has the rest of it.

    :raises LabError: the file cannot be read or describes no machine.
    """
    if path is None:
        return DEFAULT
    try:
        with open(path, encoding='utf-8') as source:
            return parse(json.load(source))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(
            f'topology {path}: {type(error).__name__}: {error}',
            'its shape is described in doc/source/lab.rst',
        ) from error


def parse(value: dict[str, Any]) -> Topology:
    """The topology that a JSON value describes.

    :raises ValueError: a name, a number or the whole makes no sense.
    """
    pfs = tuple(PhysicalFunction(**item) for item in value['pfs'])
    names = [pf.name for pf in pfs]
    if len(set(names)) != len(names):
        raise ValueError('two PFs have the same name')
    if not 1 <= len(pfs) <= MAX_PFS:
        raise ValueError(f'{len(pfs)} PFs: must be 1 to {MAX_PFS}')
    for pf in pfs:
        for word in (pf.name, pf.wire):
            if not word.isidentifier():
                raise ValueError(f'{word!r}: letters, digits and _ only')
        if pf.card and not pf.card.isidentifier():
            raise ValueError(f'{pf.card!r}: letters, digits and _ only')
        if not 0 <= pf.vfs <= MAX_VFS:
            raise ValueError(f'{pf.name}: {pf.vfs} VFs: 0 to {MAX_VFS}')
    machine = Topology(pfs)
    if any(len(card) > MAX_FUNCTIONS for _, card in machine.cards()):
        raise ValueError(f'a card has at most {MAX_FUNCTIONS} PFs')
    return Topology(
        pfs=pfs,
        cpus=int(value.get('cpus', DEFAULT.cpus)),
        memory=int(value.get('memory', DEFAULT.memory)),
        ports=tuple(int(port) for port in value.get('ports', ())),
    )
