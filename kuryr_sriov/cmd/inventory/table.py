# SPDX-License-Identifier: Apache-2.0
"""The inventory as a person reads it, in 80 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kuryr_sriov import model
from kuryr_sriov.cmd import output
from kuryr_sriov.cmd.inventory.entries import Function, Inventory, Owner, Pf

HEADER = 'VF', 'ADDRESS', 'DRIVER', 'NETDEV', 'GROUP', 'VLAN', 'MAC'
OTHERS = 'ADDRESS', 'DRIVER', 'NETDEV', 'GROUP', 'NUMA', 'MAC'
"""Columns: of VFs below their PF, and of other functions."""

AWAY = '(away)'
"""The interface is in some network namespace, and not on record."""


def lines(inventory: Inventory, root: str) -> Iterator[str]:
    """PFs with their VFs below, the other functions, and what is missing."""
    if not inventory.pfs:
        yield from output.wrap_text(_explain_nothing(inventory, root))
    for number, pf in enumerate(inventory.pfs):
        yield from [''] if number else []
        yield from _pf_lines(pf)
    if inventory.others:
        yield ''
        yield 'Without a PF here (plain NICs, or VFs given to this VM):'
        rows = [OTHERS, *map(_other_row, inventory.others)]
        yield from _function_lines(
            inventory.others, output.format_table(rows, (3, 4))
        )
    if inventory.unread:
        yield ''
        yield 'Could not be read:'
        for sentence in inventory.unread:
            yield from output.wrap_text(sentence, '- ', '  ')


def _explain_nothing(inventory: Inventory, root: str) -> str:
    if inventory.others:
        return (
            'No network function of this node can have VFs (none has '
            'sriov_totalvfs): its NICs, or the firmware settings, are without '
            'SR-IOV, or it is a VM.'
        )
    return (
        f'There is no PCI network function under {root}; see whether sys is '
        'mounted there, and lspci.'
    )


def _pf_lines(pf: Pf) -> Iterator[str]:
    device = pf.device
    facts = [
        device.ifname or 'no netdev',
        device.driver or 'no driver',
        f'{device.vendor}:{device.device}',
        _numa_text(device),
        f'{pf.num_vfs} of {pf.total_vfs} VFs',
    ]
    yield f'PF {device.pci}  ' + ', '.join(filter(None, facts))
    if pf.vfs:
        rows = [HEADER, *map(_vf_row, pf.vfs)]
        yield from _function_lines(
            pf.vfs, output.format_table(rows, (0, 4, 5))
        )


def _numa_text(device: model.PciDevice) -> str:
    return f'NUMA node {device.numa_node}' if device.numa_node >= 0 else ''


def _function_lines(
    functions: Iterable[Function], table: Iterable[str]
) -> Iterator[str]:
    """The table, with the owner below what has one."""
    head, *rows = table
    yield f'  {head}'
    for function, row in zip(functions, rows, strict=True):
        yield f'  {row}'
        if function.owner:
            yield from output.wrap_text(
                _owner_text(function.owner), ' ' * 6 + '-> ', ' ' * 9
            )


def _vf_row(function: Function) -> tuple[str, ...]:
    index, settings = function.device.vf_index, function.settings
    pci, driver, netdev, group = _common_cells(function)
    return (
        '-' if index is None else str(index),
        pci,
        driver,
        netdev,
        group,
        str((settings and settings.vlan) or '-'),
        function.mac or '-',
    )


def _other_row(function: Function) -> tuple[str, ...]:
    node = function.device.numa_node
    return (
        *_common_cells(function),
        str(node) if node >= 0 else '-',
        function.mac or '-',
    )


def _common_cells(function: Function) -> tuple[str, str, str, str]:
    device = function.device
    group = device.iommu_group or '-'
    netdev = device.ifname or '-'
    if function.away:
        netdev = '(in pod)' if function.owner else AWAY
    return (
        device.pci,
        device.driver or '-',
        netdev,
        f'noiommu-{group}' if device.noiommu else group,
    )


def _owner_text(owner: Owner) -> str:
    text = f'{owner.ifname} of pod {owner.namespace}/{owner.pod}'
    if not owner.alive:
        return f'{text}, whose netns is gone'
    if not owner.done:
        return f'{text}, not complete'
    return text
