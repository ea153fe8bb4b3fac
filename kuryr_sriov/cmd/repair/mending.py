# SPDX-License-Identifier: Apache-2.0
"""List what is owed or stuck on this node, and mend one record at a time.

Without an action, the records are listed that the next DEL, GC or start of
the daemon should have cleared, and nothing is changed; the exit status is 1
if there are any. An action says what it means, and is done with --yes only.
The daemon may run, or be dead.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.cmd import arguments, output
from kuryr_sriov.cmd.stuck_records import (
    describe_record,
    describe_set_aside,
    why_stuck,
)
from kuryr_sriov.handlers.restore import lock_of
from kuryr_sriov.host import ledger_reader, locks
from kuryr_sriov.node import Node

NOTHING_DONE = 'Nothing was done. Add --yes to do it.'


@dataclasses.dataclass(frozen=True, slots=True)
class Stuck:
    """A record and why it is stuck."""

    record: model.Attachment
    why: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument(
        'action',
        nargs='?',
        choices=[*ACTIONS],
        help='retry: give the VF back, as DEL does. reset: reset the '
        'function first. forget: delete the record, and leave the VF as it '
        'is',
    )
    parser.add_argument(
        'pci', nargs='?', metavar='VF', help='PCI address, 0000:02:10.0'
    )
    parser.add_argument(
        '--yes', action='store_true', help='do it; else it is only explained'
    )
    arguments.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """List, explain or mend."""
    conf, host = arguments.load_conf(args), arguments.make_host(args)
    records = ledger_reader.read_attachments(conf.sriov.state_dir)
    aside = ledger_reader.read_set_aside(conf.sriov.state_dir)
    if args.action is None:
        return _list_stuck(host, records, aside, as_json=args.json)
    if any(one.pci == args.pci for one in aside):
        return _mend_set_aside(args, conf, host)
    record = next((r for r in records if r.pci == args.pci), None)
    if record is None:
        raise exceptions.PermanentError(
            f'no record has VF {args.pci or "(none named)"}; name one of '
            'those that "kuryr-sriov repair" or "kuryr-sriov inventory" lists'
        )
    explain, mend = ACTIONS[args.action]
    for sentence in (explain(record), _still_runs(host, record)):
        print(*output.wrap_text(sentence), sep='\n', end='\n' * bool(sentence))
    if not args.yes:
        print(NOTHING_DONE)
        return 1
    with Node(conf, host=host) as node:
        mend(conf, host, node, record)
        left = node.ledger.of(*record.key)
    for after in left:
        print(f'It is still on record: {after.owed or "not complete"}.')
    if not left:
        print(f'Done: {describe_record(record)} is not on record any more.')
    return 1 if left else 0


def _mend_set_aside(args: argparse.Namespace, conf: Any, host: Any) -> int:
    """A record that cannot be read can be forgotten, and nothing else."""
    if args.action != 'forget':
        raise exceptions.PermanentError(
            f'the record of {args.pci} cannot be read, so that the VF cannot '
            'be given back by it; recreate the VFs of its PF '
            '(sriov_numvfs), then forget the record'
        )
    print(
        *output.wrap_text(
            f'VF {args.pci}: the record that cannot be read is deleted, and '
            'the VF is free for the next pod as it is now. Look first whether '
            'a pod still has it.'
        ),
        sep='\n',
    )
    if not args.yes:
        print(NOTHING_DONE)
        return 1
    with Node(conf, host=host) as node:
        node.attachments()  # reading is what sets it aside, if need be
        node.ledger.forget_set_aside([args.pci])
    print(f'Done: {args.pci} is free.')
    return 0


def _list_stuck(
    host: Any,
    records: Sequence[model.Attachment],
    aside: Sequence[model.SetAside],
    as_json: bool,
) -> int:
    stuck = [
        Stuck(record, why)
        for record in records
        if (why := why_stuck(host, record))
    ]
    if as_json:
        print(output.to_json({'stuck': stuck, 'unreadable': aside}))
    else:
        print(*_stuck_lines(stuck, aside, len(records)), sep='\n')
    return 1 if stuck or aside else 0


def _stuck_lines(
    stuck: Sequence[Stuck], aside: Sequence[model.SetAside], total: int
) -> Iterator[str]:
    if not (stuck or aside):
        yield f'Nothing is owed or stuck; records: {total}.'
        return
    yield (
        f'Owed or stuck: {len(stuck)} of {total} records; unreadable: '
        f'{len(aside)}.'
    )
    for one in stuck:
        yield ''
        sandbox = one.record.sandbox.container_id
        yield from output.wrap_text(
            f'{describe_record(one.record)}, sandbox {sandbox}: {one.why}.'
        )
        for action in ACTIONS:
            yield f'   # kuryr-sriov repair {action} {one.record.pci}'
    for unreadable in aside:
        yield ''
        yield from output.wrap_text(f'{describe_set_aside(unreadable)}.')
        yield f'   # kuryr-sriov repair forget {unreadable.pci}'


def _still_runs(host: Any, record: model.Attachment) -> str:
    """The warning for a record that is not stuck; '' for one that is."""
    if why_stuck(host, record):
        return ''
    return (
        f'NOTHING IS WRONG WITH THIS RECORD. Pod {record.sandbox.pod} runs, '
        f'and loses {record.vif.ifname}.'
    )


def _explain_retry(record: model.Attachment) -> str:
    return (
        f'{describe_record(record)}: what it was before the pod is restored '
        'from the record, as DEL does: driver, name, MAC, MTU, and what its '
        'PF holds for it.'
    )


def _retry_record(
    conf: Any, host: Any, node: Node, record: model.Attachment
) -> None:
    node.detach(*record.key)


def _explain_reset(record: model.Attachment) -> str:
    return (
        f'{describe_record(record)}: the function is reset. A program that '
        'drives it loses it at once. Then the VF is given back, as with retry.'
    )


def _reset_vf(
    conf: Any, host: Any, node: Node, record: model.Attachment
) -> None:
    with _lock_pf(conf, record):
        if not host.pci.reset(record.pci, conf.sriov.device_timeout):
            raise exceptions.PermanentError(
                f'{record.pci} cannot be reset (it has no "reset" in sysfs); '
                'recreate the VFs of its PF with sriov_numvfs, then forget '
                'the record'
            )
    node.detach(*record.key)


def _explain_forget(record: model.Attachment) -> str:
    return (
        f'{describe_record(record)}: the record is deleted, and nothing else '
        "is done. The VF stays as it is, perhaps with the pod's MAC, VLAN, "
        'driver or network namespace, and what it was before is lost. '
        'Recreate the VFs of its PF (sriov_numvfs) before another pod gets it.'
    )


def _forget_record(
    conf: Any, host: Any, node: Node, record: model.Attachment
) -> None:
    with _lock_pf(conf, record):
        now = node.ledger.of(*record.key)
        node.ledger.remove(each for each in now if each.pci == record.pci)


def _lock_pf(conf: Any, record: model.Attachment) -> Any:
    """The lock under which a daemon would change the VF."""
    folder = Path(conf.sriov.state_dir, 'locks')
    held = locks.PfLocks(folder, conf.sriov.pf_lock_timeout)
    return held.hold([lock_of(record)])


Explain = Callable[[model.Attachment], str]
Mend = Callable[[Any, Any, Node, model.Attachment], None]

ACTIONS: dict[str, tuple[Explain, Mend]] = {
    'retry': (_explain_retry, _retry_record),
    'reset': (_explain_reset, _reset_vf),
    'forget': (_explain_forget, _forget_record),
}
