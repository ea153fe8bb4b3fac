# SPDX-License-Identifier: Apache-2.0
"""What the demo found, in words or as JSON."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any

from kuryr_sriov.testing.simulation.simulated_node import FunctionState


def show(report: Mapping[str, Any], as_json: bool) -> None:
    """Print the report."""
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        print('\n'.join(lines(report)))


def changes(
    before: Mapping[str, FunctionState], after: Mapping[str, FunctionState]
) -> list[str]:
    """In which way functions differ, one line for each."""
    return [
        f'{pci}: ' + ', '.join(_different(before[pci], after[pci]))
        for pci in before
        if before[pci] != after[pci]
    ]


def _different(before: Any, after: Any, whose: str = '') -> Iterator[str]:
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old == new:
            continue
        if dataclasses.is_dataclass(old) and dataclasses.is_dataclass(new):
            yield from _different(old, new, f'{_OWNERS[field.name]} ')
        elif field.name in _OWNERS:
            yield f'{_OWNERS[field.name]} {"appeared" if new else "gone"}'
        elif field.name != 'pinned':  # the PF's MAC says as much
            yield f'{whose}{field.name} {_value(old)} -> {_value(new)}'


_OWNERS = {'link': 'netdev', 'settings': 'PF'}


def _value(value: object) -> object:
    return 'none' if value in ('', (), None) else value


def lines(report: Mapping[str, Any]) -> Iterator[str]:
    """The report as a person reads it."""
    yield f'Pod {report["pod"]}, of the how-to, on a simulated node'
    yield from _requested(report)
    if 'killed' in report:
        yield from _killed(report['killed'])
    yield from _bound(report)
    yield from _given_back(report['given_back'])


def _requested(report: Mapping[str, Any]) -> Iterator[str]:
    yield from _title('Requested, in its networks annotation')
    for request in report['requested']:
        yield f'  {request["interface"]}  {request["network"]}'
    yield from _title('Promised by the network provider')
    for vif in report['promised']:
        yield (
            f'  {vif["ifname"]}  {vif["mac"]}  {", ".join(vif["addresses"])}'
            f'  VLAN {vif["vlan"]}  MTU {vif["mtu"]}'
        )
        yield f'        on {vif["physnet"]}, a VF of {vif["resource"]}'


def _killed(left: Mapping[str, Any]) -> Iterator[str]:
    after = f', {left["changes"]} changes later' if left['changes'] else ''
    yield from _title(f'Killed (SIGKILL) at {left["step"]}{after}')
    for change in left['changed'] or ['the node had not been changed yet']:
        yield from textwrap.wrap(
            change, 78, initial_indent='  ', subsequent_indent='    '
        )
    for record in left['on_record']:
        yield f'  on record: {record["interface"]} on {record["pci"]}'
    if not left['on_record']:
        yield '  nothing on record'
    answer = _yes(left['recovered'])
    yield f'  a new process gave it back; node as before: {answer}'
    yield '  and attaches the pod once more'


def _bound(report: Mapping[str, Any]) -> Iterator[str]:
    yield from _title('Bound')
    for item in report['bound']:
        where = item['netns'] or ' '.join(item['device_nodes'])
        yield (
            f'  {item["interface"]}  VF {item["pci"]} of PF {item["pf"]}'
            f'  by {item["binding_driver"]}'
        )
        yield f'        driver {item["kernel_driver"]}, in {where}'
        held = item['settings']
        yield (
            f'        the PF holds MAC {held["mac"]}, VLAN {held["vlan"]}; '
            f'port active: {_yes(item["active"])}'
        )
    for title, value in (
        ('k8s.v1.cni.cncf.io/network-status', report['network_status']),
        ('device-info', report['device_info']),
    ):
        yield from _title(title)
        yield from (f'  {line}' for line in pretty(value))


def pretty(value: Any, width: int = 70) -> Iterator[str]:
    """JSON that keeps together what fits into one line."""
    line = json.dumps(value)
    if len(line) <= width or not isinstance(value, dict | list):
        yield line
        return
    items = (
        [(f'{json.dumps(key)}: ', item) for key, item in value.items()]
        if isinstance(value, dict)
        else [('', item) for item in value]
    )
    opening, closing = '{}' if isinstance(value, dict) else '[]'
    yield opening
    for number, (key, item) in enumerate(items, 1):
        first, *others = pretty(item, width - 2 - len(key))
        *others, last = [f'  {key}{first}', *(f'  {line}' for line in others)]
        yield from others
        yield last + (',' if number < len(items) else '')
    yield closing


def _given_back(given_back: Mapping[str, bool]) -> Iterator[str]:
    yield from _title('Given back')
    yield f'  node as before       {_yes(given_back["node"])}'
    yield f'  ledger empty         {_yes(given_back["ledger"])}'
    yield f'  addresses all free   {_yes(given_back["addresses"])}'


def _title(text: str) -> Iterator[str]:
    yield ''
    yield text


def _yes(fact: bool) -> str:
    return 'yes' if fact else 'NO'
