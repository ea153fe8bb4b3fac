# SPDX-License-Identifier: Apache-2.0
"""Can the ledger be kept, can it be read, and what is left in it?"""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

from kuryr_sriov.cmd.check.findings import (
    Result,
    Subject,
    failed,
    ok,
    skipped,
    warning,
)
from kuryr_sriov.cmd.stuck_records import (
    describe_record,
    describe_set_aside,
    why_stuck,
)
from kuryr_sriov.host import ledger_reader

RESTORE = (
    'The daemon gives it back when it starts, and by period: restart the '
    'daemon. If that does not help, see "kuryr-sriov repair".'
)


def check_state_dir(subject: Subject) -> Iterator[Result]:
    """``state_dir`` can be written, or made."""
    state = pathlib.Path(subject.conf.sriov.state_dir)
    folder = state
    while not os.path.lexists(folder) and folder != folder.parent:
        folder = folder.parent
    if not folder.is_dir():
        yield failed(
            f'{folder} is not a directory.',
            'Remove it, or set another [sriov] state_dir.',
        )
    elif not os.access(folder, os.W_OK | os.X_OK):
        yield failed(
            f'{folder} is not writable for user {os.geteuid()}.',
            'Run this as the user that the daemon runs as, mount it '
            'read-write, or set another [sriov] state_dir.',
        )
    elif folder == state:
        yield ok(f'{state} is writable')
    else:
        yield ok(f'{state} is not there yet, and can be made')


def check_ledger(subject: Subject) -> Iterator[Result]:
    """All records can be read."""
    found = ledger_reader.read_attachments(subject.conf.sriov.state_dir)
    yield ok(f'attachments on record: {len(found)}')
    for record in ledger_reader.read_set_aside(subject.conf.sriov.state_dir):
        yield warning(
            f'{describe_set_aside(record)}.',
            'See whose it is with "kuryr-sriov inventory", and "kuryr-sriov '
            'repair forget" it once no pod has it.',
        )


def check_leftovers(subject: Subject) -> Iterator[Result]:
    """No record has outlived its pod."""
    try:
        subject.host.boot_id()
    except OSError as error:
        yield skipped(f'{error}; see whether proc is mounted under --root.')
        return
    clean = True
    for record in ledger_reader.read_attachments(subject.conf.sriov.state_dir):
        why = why_stuck(subject.host, record)
        if why:
            clean = False
            yield warning(f'{describe_record(record)}: {why}.', RESTORE)
    if clean:
        yield ok('none')
