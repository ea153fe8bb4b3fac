# SPDX-License-Identifier: Apache-2.0
"""The ledger: this node's durable record of attachments (SQLite)."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path

from kuryr_sriov import codec, exceptions, model
from kuryr_sriov.host import ledger_file

STALE_INTENT = 3600.0
"""Seconds after which an intent's attach is over, whatever became of it."""

UPSERT = """
INSERT INTO attachment (container_id, ifname, pci, record)
VALUES (?, ?, ?, ?)
ON CONFLICT (container_id, ifname)
DO UPDATE SET pci = excluded.pci, record = excluded.record
"""
FORGET = 'DELETE FROM attachment WHERE container_id = ? AND ifname = ?'

COLUMNS = 'container_id, ifname, pci, CAST(record AS BLOB)'
"""The record as bytes: no text that is broken keeps SQLite from reading."""

Row = tuple[str, str, str, bytes]
"""The columns of an attachment."""


def ignore_record(record: model.SetAside) -> None:
    """Do nothing, for callers that ask for such records themselves."""


class Ledger:
    """Attachments by (container id, interface name), each VF at most once.

    A record is on disk when the call returns. For all threads of a process,
    and for several processes; not to be carried over a fork. Reading waits
    for nobody who writes.

    A record that cannot be read is set aside, with its bytes: it stops none
    of the others, and keeps its VF from being given to anybody.

    :param state_dir: the file's folder; it is made when it is missing.
    :param timeout: seconds that a call may wait for other threads and
        processes.
    :param boot_id: of the running boot.
    :param tell: is called with each record that is set aside.
    :raises LedgerBusy: from every method: another process holds it.
    :raises LedgerError: from every method: it cannot be read or written.
    """

    def __init__(
        self,
        state_dir: Path | str,
        timeout: float = 10.0,
        *,
        boot_id: str = '',
        tell: Callable[[model.SetAside], object] = ignore_record,
    ) -> None:
        self.path = Path(state_dir) / ledger_file.NAME
        self._reader = ledger_file.LedgerFile(self.path, timeout)
        self._writer = ledger_file.LedgerFile(self.path, timeout)
        self._boot_id = boot_id
        self._tell = tell

    def save(
        self,
        attachments: Iterable[model.Attachment],
        *,
        intent: str = '',
        instead_of: Iterable[model.Attachment] = (),
    ) -> None:
        """Record all of them, in one transaction, in place of the same keys.

        :param intent: from ``open_intent``; it ends.
        :param instead_of: records that go in the same transaction.
        :raises SandboxDeleted: the intent was cancelled, wholly or partly.
        """
        attachments = tuple(attachments)
        rows = [(*a.key, a.pci, codec.to_json(a)) for a in attachments]
        with self._writer.writing() as connection:
            if intent:
                ended = connection.execute(
                    'DELETE FROM intent WHERE token = ?', (intent,)
                )
                if ended.rowcount != len(attachments):
                    raise exceptions.SandboxDeleted(
                        f'sandbox {attachments[0].sandbox.container_id} was '
                        'deleted while it waited for its VFs; it has none'
                    )
            connection.executemany(FORGET, [a.key for a in instead_of])
            connection.executemany(UPSERT, rows)

    def remove(self, attachments: Iterable[model.Attachment]) -> None:
        """Forget them, in one transaction; those not there are skipped."""
        keys = [a.key for a in attachments]
        with self._writer.writing() as connection:
            connection.executemany(FORGET, keys)

    def all(self) -> tuple[model.Attachment, ...]:
        """Every record, by container id and interface name."""
        return self._read_where('', ())

    def of(
        self, container_id: str, ifname: str = ''
    ) -> tuple[model.Attachment, ...]:
        """A sandbox's records; with ``ifname``, only that interface's."""
        return self._read_where(
            "WHERE container_id = ? AND ? IN ('', ifname)",
            (container_id, ifname),
        )

    def of_pod(self, uid: str) -> tuple[model.Attachment, ...]:
        """The records of all sandboxes of a pod."""
        # SQLite looks for the text, and no other record is decoded, which
        # takes ten times as long.
        written = codec.to_json(uid)
        found = self._read_where('WHERE instr(record, ?)', (written,))
        return tuple(each for each in found if each.sandbox.pod.uid == uid)

    def holder(self, pci: str) -> model.Attachment | None:
        """The record that has the VF."""
        return next(iter(self._read_where('WHERE pci = ?', (pci,))), None)

    def open_intent(self, container_id: str, ifnames: Collection[str]) -> str:
        """Say that these interfaces are about to be attached.

        An attach waits for the kubelet and for locks before it can record
        anything. If DEL comes meanwhile, it cancels the intent, and nothing
        is wired into a sandbox that is no more.

        :return: a token for ``save`` and ``close_intent``.
        """
        token, now = uuid.uuid4().hex, time.time()
        # A dead process sees to no intent, and a dead machine to none at all.
        with self._writer.writing(durable=False) as connection:
            connection.execute(
                'DELETE FROM intent WHERE since < ?', (now - STALE_INTENT,)
            )
            connection.executemany(
                'INSERT INTO intent VALUES (?, ?, ?, ?)',
                [(token, container_id, ifname, now) for ifname in ifnames],
            )
        return token

    def close_intent(self, token: str) -> None:
        """End an intent that came to nothing; of others nothing changes."""
        self._delete_intents('token = ?', (token,))

    def cancel_intents(self, container_id: str, ifname: str = '') -> None:
        """Make the attaches of a sandbox fail that are under way."""
        self._delete_intents(
            "container_id = ? AND ? IN ('', ifname)", (container_id, ifname)
        )

    def set_aside(self, pci: str = '') -> tuple[model.SetAside, ...]:
        """The records that could not be read; with ``pci``, that VF's."""
        with self._reader.opened() as connection:
            rows = connection.execute(
                'SELECT container_id, ifname, pci, reason, boot_id'
                " FROM set_aside WHERE ? IN ('', pci) ORDER BY pci",
                (pci,),
            ).fetchall()
        return tuple(model.SetAside(*row) for row in rows)

    def forget_set_aside(self, pcis: Iterable[str]) -> None:
        """Forget records that could not be read: their VFs are free again."""
        with self._writer.writing() as connection:
            connection.executemany(
                'DELETE FROM set_aside WHERE pci = ?', [(p,) for p in pcis]
            )

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        self._reader.close()
        self._writer.close()

    def _read_where(
        self, where: str, values: Sequence[str]
    ) -> tuple[model.Attachment, ...]:
        with self._reader.opened() as connection:
            rows = connection.execute(
                f'SELECT {COLUMNS} FROM attachment {where} '
                'ORDER BY container_id, ifname',
                values,
            ).fetchall()
        found = []
        for row in rows:
            try:
                found.append(read_record(row))
            except ValueError as error:
                self._put_aside(row, str(error))
        return tuple(found)

    def _put_aside(self, row: Row, reason: str) -> None:
        container_id, ifname, pci, record = row
        with self._writer.writing() as connection:
            removed = connection.execute(
                'DELETE FROM attachment WHERE container_id = ? AND ifname = ?'
                ' AND CAST(record AS BLOB) = ?',
                (container_id, ifname, record),
            )
            if not removed.rowcount:
                return  # another process was first, or has replaced it
            connection.execute(
                'INSERT OR REPLACE INTO set_aside VALUES (?, ?, ?, ?, ?, ?)',
                (pci, container_id, ifname, self._boot_id, reason, record),
            )
        self._tell(
            model.SetAside(container_id, ifname, pci, reason, self._boot_id)
        )

    def _delete_intents(self, where: str, values: Sequence[str]) -> None:
        """Without waiting for a writer where there is none to delete."""
        with self._reader.opened() as connection:
            found = connection.execute(
                f'SELECT 1 FROM intent WHERE {where}', values
            ).fetchone()
        if found:
            with self._writer.writing(durable=False) as connection:
                connection.execute(f'DELETE FROM intent WHERE {where}', values)


def read_record(row: Row) -> model.Attachment:
    """The attachment of a row.

    :raises ValueError: it is none, or not that of its row.
    """
    container_id, ifname, pci, record = row
    attachment = codec.from_json(model.Attachment, record)
    if (*attachment.key, attachment.pci) != (container_id, ifname, pci):
        raise ValueError(f'it is of {attachment.key} on {attachment.pci}')
    return attachment
