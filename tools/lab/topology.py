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
FIRST_SLOT = 0x10
"""Slot of the first root port on bus 0; each PF sits alone behind its own."""


@dataclass(frozen=True, slots=True)
class PhysicalFunction:
    """A PF: its name in the lab, its wire, and how many VFs tests make."""

    name: str
    wire: str
    vfs: int = MAX_VFS


@dataclass(frozen=True, slots=True)
class Topology:
    """The machine: its PFs in slot order, processors, memory in MiB."""

    pfs: tuple[PhysicalFunction, ...]
    cpus: int = 2
    memory: int = 3072

    def slots(self) -> list[tuple[int, PhysicalFunction]]:
        """Each PF with the slot of its root port on PCI bus 0."""
        return list(enumerate(self.pfs, start=FIRST_SLOT))

    def qemu_arguments(self) -> list[str]:
        """Processors, memory, and an igb per PF, on hubs as wires."""
        wires = sorted({pf.wire for pf in self.pfs})
        words = ['-smp', str(self.cpus), '-m', f'{self.memory}M']
        for number, (slot, pf) in enumerate(self.slots()):
            words += [
                '-netdev',
                f'hubport,id=net{number},hubid={wires.index(pf.wire)}',
                '-device',
                f'pcie-root-port,id=port{number},bus=pcie.0,addr={slot:#x},'
                f'chassis={number + 1},slot={number + 1}',
                '-device',
                f'igb,id=pf{number},bus=port{number},netdev=net{number},'
                f'mac=52:54:00:82:57:{number:02x}',
            ]
        return words

    def guest_table(self) -> str:
        """One line per PF, for the guest's start-up script."""
        return ''.join(
            f'{pf.name} {pf.wire} {pf.vfs} 0000:00:{slot:02x}.0\n'
            for slot, pf in self.slots()
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
    "cpus": 2, "memory": 3072}``; cpus, memory (MiB) and vfs are optional.

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
        if not 0 <= pf.vfs <= MAX_VFS:
            raise ValueError(f'{pf.name}: {pf.vfs} VFs: 0 to {MAX_VFS}')
    return Topology(
        pfs=pfs,
        cpus=int(value.get('cpus', DEFAULT.cpus)),
        memory=int(value.get('memory', DEFAULT.memory)),
    )
