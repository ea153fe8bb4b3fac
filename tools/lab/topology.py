# SPDX-License-Identifier: Apache-2.0
"""Which NICs the lab's machine has, and which of them share a wire."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tools.lab.errors import LabError
from tools.lab.kernelmodules import BUILDS

MAX_VFS = 7
"""The 82576 has 8 VFs; its Linux driver makes at most 7."""

MAX_PFS = 12
"""Also the most cards without SR-IOV."""

MAX_FUNCTIONS = 2
"""PFs of a card: those of a real 82576."""

FIRST_SLOT = 0x10
"""Slot of the first root port on bus 0; each card is alone behind its own."""

TOPOLOGIES = Path(__file__).resolve().parents[2] / 'tests/lab/topologies'
"""Machines that have tests of their own, each a JSON file by its name."""

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


MODELS = {'e1000e': 'e1000e', 'virtio-net-pci': 'virtio_net'}
"""Cards without SR-IOV, by QEMU's name: the module of their driver."""


@dataclass(frozen=True, slots=True)
class PlainFunction:
    """A card without SR-IOV: what a VF is to a VM whose hypervisor has the PF.

    :param model: one of `MODELS`.
    :param mac: as it was set outside of the machine.
    """

    name: str
    wire: str
    model: str
    mac: str


DISC_MODULES = 'ahci', 'sr_mod', 'isofs'
MAX_DISCS = 6
"""SATA ports of QEMU's q35."""


@dataclass(frozen=True, slots=True)
class Disc:
    """A CD with an ISO 9660 file system.

    :param label: of the file system.
    :param files: path in the repository of each file, by its path there.
    """

    label: str
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Topology:
    """The machine: its PFs in slot order, processors, memory in MiB.

    :param name: what tests call it.
    :param plain: its cards without SR-IOV, in the slots after the PFs'.
    :param discs: in its CD drives.
    :param iommu: whether it has one.
    :param builds: which of the kernel's modules are built for it, by their
        names in ``tools/lab/kernelmodules.py``.
    :param modules: of the kernel, to load besides.
    :param modprobe: lines of a file in ``/etc/modprobe.d``.
    :param ports: TCP ports of the machine that can be reached from here,
        at `NODE_ADDRESS`, which this host must have; with at least one the
        machine has a network card, and its way out is this host's loopback.
    """

    pfs: tuple[PhysicalFunction, ...]
    cpus: int = 2
    memory: int = 3072
    ports: tuple[int, ...] = ()
    name: str = 'default'
    plain: tuple[PlainFunction, ...] = ()
    discs: tuple[Disc, ...] = ()
    iommu: bool = True
    builds: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    modprobe: tuple[str, ...] = ()

    def cards(self) -> list[tuple[int, list[PhysicalFunction]]]:
        """Each card with the slot of its root port on PCI bus 0."""
        cards: dict[str, list[PhysicalFunction]] = {}
        for pf in self.pfs:
            cards.setdefault(pf.card or f'alone {pf.name}', []).append(pf)
        return list(enumerate(cards.values(), start=FIRST_SLOT))

    def plain_slots(self) -> list[tuple[int, PlainFunction]]:
        """Each card without SR-IOV with the slot of its root port."""
        return list(
            enumerate(self.plain, start=FIRST_SLOT + len(self.cards()))
        )

    def drivers(self) -> set[str]:
        """Modules of the kernel that it needs."""
        return {
            *self.modules,
            *(MODELS[each.model] for each in self.plain),
            *(DISC_MODULES if self.discs else ()),
        }

    def guest_table(self) -> str:
        """One line per PF, for the guest's start-up script."""
        return ''.join(
            f'{pf.name} {pf.wire} {pf.vfs} 0000:00:{slot:02x}.0 {function}\n'
            for slot, pfs in self.cards()
            for function, pf in enumerate(pfs)
        )

    def plain_table(self) -> str:
        """One line per card without SR-IOV, for that script."""
        return ''.join(
            f'{each.name} {each.wire} {each.mac} 0000:00:{slot:02x}.0\n'
            for slot, each in self.plain_slots()
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

    :param path: of the file, or a name that has one in `TOPOLOGIES`.
    :raises LabError: the file cannot be read or describes no machine.
    """
    if path is None:
        return DEFAULT
    if not path.exists() and path.name == str(path):
        path = TOPOLOGIES / f'{path}.json'
    try:
        with open(path, encoding='utf-8') as source:
            return parse(json.load(source), path.stem)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise LabError(
            f'topology {path}: {type(error).__name__}: {error}',
            'its shape is described in doc/source/lab.rst',
        ) from error


def parse(value: dict[str, Any], name: str) -> Topology:
    """The topology that a JSON value describes.

    :raises ValueError: a name, a number or the whole makes no sense.
    """
    pfs = tuple(PhysicalFunction(**item) for item in value['pfs'])
    plain = tuple(PlainFunction(**item) for item in value.get('plain', ()))
    check_names(pfs, plain)
    for pf in pfs:
        if not 0 <= pf.vfs <= MAX_VFS:
            raise ValueError(f'{pf.name}: {pf.vfs} VFs: 0 to {MAX_VFS}')
    for function in plain:
        if function.model not in MODELS:
            models = ' or '.join(MODELS)
            raise ValueError(f'{function.name}: {models} as model')
    for build in value.get('builds', ()):
        if build not in BUILDS:
            raise ValueError(f'{build!r} is not built; {", ".join(BUILDS)} is')
    machine = Topology(
        pfs=pfs,
        cpus=int(value.get('cpus', DEFAULT.cpus)),
        memory=int(value.get('memory', DEFAULT.memory)),
        ports=tuple(int(port) for port in value.get('ports', ())),
        name=name,
        plain=plain,
        discs=tuple(Disc(**item) for item in value.get('discs', ())),
        iommu=bool(value.get('iommu', True)),
        builds=tuple(value.get('builds', ())),
        modules=tuple(value.get('modules', ())),
        modprobe=tuple(value.get('modprobe', ())),
    )
    if any(len(card) > MAX_FUNCTIONS for _, card in machine.cards()):
        raise ValueError(f'a card has at most {MAX_FUNCTIONS} PFs')
    if len(machine.discs) > MAX_DISCS:
        raise ValueError(f'the machine takes at most {MAX_DISCS} discs')
    if machine.ports and 'virtio_net' in machine.drivers():
        raise ValueError('with ports, a virtio card would be ambiguous')
    return machine


def check_names(
    pfs: tuple[PhysicalFunction, ...], plain: tuple[PlainFunction, ...]
) -> None:
    """Refuse names that are there twice, or that QEMU would not take.

    :raises ValueError: naming it.
    """
    names = [function.name for function in (*pfs, *plain)]
    if len(set(names)) != len(names):
        raise ValueError('two cards have the same name')
    if not 1 <= len(pfs) <= MAX_PFS or len(plain) > MAX_PFS:
        raise ValueError(f'{len(pfs)} PFs: must be 1 to {MAX_PFS}')
    words = [
        *names,
        *(function.wire for function in (*pfs, *plain)),
        *(pf.card for pf in pfs if pf.card),
    ]
    for word in words:
        if not word.isidentifier():
            raise ValueError(f'{word!r}: letters, digits and _ only')
