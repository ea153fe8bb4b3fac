# SPDX-License-Identifier: Apache-2.0
"""The ledger's records, for those who only look.

Nothing is made, migrated or changed, not even for a moment.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Sequence
from pathlib import Path

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import ledger, ledger_file

_SCHEMA_WITH_SET_ASIDE = 2


def read_attachments(state_dir: str) -> tuple[model.Attachment, ...]:
    """All records that can be read; none where there is no ledger yet.

    :raises LedgerError: the file cannot be read.
    """
    attachments, _ = _read_all(state_dir)
    return attachments


def read_set_aside(state_dir: str) -> tuple[model.SetAside, ...]:
    """The records that cannot be read, whether set aside already or not.

    :raises LedgerError: the file cannot be read.
    """
    _, set_aside = _read_all(state_dir)
    return set_aside


def _read_all(
    state_dir: str,
) -> tuple[tuple[model.Attachment, ...], tuple[model.SetAside, ...]]:
    rows, aside = _read_rows(Path(state_dir) / ledger_file.NAME)
    attachments = []
    unreadable = [model.SetAside(*row) for row in aside]
    for row in rows:
        try:
            attachments.append(ledger.read_record(row))
        except ValueError as error:
            unreadable.append(model.SetAside(*row[:3], str(error)))
    return tuple(attachments), tuple(unreadable)


def _read_rows(
    path: Path,
) -> tuple[list[ledger.Row], Sequence[tuple[str, ...]]]:
    try:
        if not path.stat().st_size:
            return [], []
        with contextlib.closing(
            ledger_file.open_for_reading(path)
        ) as connection:
            schema = ledger_file.check_schema(connection, path)
            rows = connection.execute(
                f'SELECT {ledger.COLUMNS} FROM attachment'
                ' ORDER BY container_id, ifname'
            ).fetchall()
            if schema < _SCHEMA_WITH_SET_ASIDE:
                return rows, []
            return rows, connection.execute(
                'SELECT container_id, ifname, pci, reason, boot_id'
                ' FROM set_aside ORDER BY pci'
            ).fetchall()
    except FileNotFoundError:
        return [], []
    except OSError as error:
        raise exceptions.LedgerError(
            f'{path}: {error.strerror}; [sriov] state_dir must be a '
            'directory; run as a user who can read it'
        ) from error
    except sqlite3.Error as error:
        raise exceptions.LedgerError(
            f'{path}: {error}; run as a user who can read it, and see that it '
            'is the ledger'
        ) from error
