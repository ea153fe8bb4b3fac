# SPDX-License-Identifier: Apache-2.0
"""What the demo found, as a person reads it: the verdict first."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from kuryr_sriov.testing.simulation.simulated_node import FunctionState

OWNERS = {'link': 'netdev', 'settings': 'PF'}
"""Whose a nested part of a function's state is."""

WIDTH = 78


def describe_changes(
    before: Mapping[str, FunctionState], after: Mapping[str, FunctionState]
) -> list[str]:
    """How functions differ, one line for each."""
    return [
        f'{pci}: ' + ', '.join(_list_differences(before[pci], after[pci]))
        for pci in before
        if before[pci] != after[pci]
    ]


def _list_differences(
    before: Any, after: Any, whose: str = ''
) -> Iterator[str]:
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        if dataclasses.is_dataclass(old) and dataclasses.is_dataclass(new):
            yield from _list_differences(old, new, f'{OWNERS[field.name]} ')
        elif field.name in OWNERS:
            yield f'{OWNERS[field.name]} {"appeared" if new else "gone"}'
        elif field.name != 'pinned':  # the PF's MAC says as much
            yield f'{whose}{field.name} {_or_none(old)} -> {_or_none(new)}'


def _or_none(value: object) -> object:
    return 'none' if value in ('', (), None) else value


def report_lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report in under 25 lines; see ``play`` for what is in it."""
    left = [name for name, given in report['given_back'].items() if not given]
    vfs = len(report['bound'])
    if left:
        yield f'FAILED: not given back: {", ".join(left)}.'
    else:
        yield f'It works: the pod got its {vfs} VFs, and gave them back.'
    yield ''
    yield f'Pod {report["pod"]} of the how-to, on a simulated node:'
    for vif, item in zip(report['promised'], report['bound'], strict=True):
        yield from _interface_lines(vif, item)
    if 'killed' in report:
        yield from _killed_lines(report['killed'])
    yield ''
    yield 'After the pod:'
    for name, words in (
        ('node', 'each VF is as it was before'),
        ('ledger', 'the ledger is empty'),
        ('addresses', 'all addresses are free'),
    ):
        yield f'  {words}: {_yes_or_no(report["given_back"][name])}'
    yield ''
    if 'killed' in report:
        yield '--json has every value.'
    else:
        yield 'Kill it half-way: --kill-at connect+2. --json has every value.'


def _interface_lines(
    vif: Mapping[str, Any], item: Mapping[str, Any]
) -> Iterator[str]:
    where = item['netns'] or ' '.join(item['device_nodes'])
    held = item['settings']
    yield (
        f'  {item["interface"]}  VF {item["pci"]} of PF {item["pf"]} on '
        f'{vif["physnet"]}, for {vif["network"]}'
    )
    yield (
        f'        {", ".join(vif["addresses"])}, MTU {vif["mtu"]}; the PF '
        f'holds MAC {held["mac"]}, VLAN {held["vlan"]}'
    )
    yield (
        f'        kernel driver {item["kernel_driver"]}, in {where}; port '
        f'active: {_yes_or_no(item["active"])}'
    )


def _killed_lines(left: Mapping[str, Any]) -> Iterator[str]:
    after = f', {left["changes"]} changes later' if left['changes'] else ''
    yield ''
    yield f'Before that, it was killed (SIGKILL) at {left["step"]}{after}:'
    for change in left['changed'] or ['the node had not been changed yet']:
        yield from textwrap.wrap(
            change, WIDTH, initial_indent='  ', subsequent_indent='    '
        )
    records = [f'{r["interface"]} on {r["pci"]}' for r in left['on_record']]
    yield f'  on record: {", ".join(records) or "nothing"}'
    recovered = _yes_or_no(left['recovered'])
    yield f'  the next process gave it back; each VF as before: {recovered}'


def _yes_or_no(fact: bool) -> str:
    return 'yes' if fact else 'NO'
