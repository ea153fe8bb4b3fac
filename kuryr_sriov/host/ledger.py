# SPDX-License-Identifier: Apache-2.0
"""The ledger: this node's durable record of attachments (SQLite)."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

from kuryr_sriov import codec, exceptions, model
from kuryr_sriov.host import wait

SCHEMA = 1
"""Version of the tables, kept in SQLite's ``user_version``."""

TABLES = f"""
BEGIN IMMEDIATE;
CREATE TABLE attachment (
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    pci TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    PRIMARY KEY (container_id, ifname)
) WITHOUT ROWID;
PRAGMA user_version = {SCHEMA};
COMMIT;
"""

UPSERT = """
INSERT INTO attachment (container_id, ifname, pci, record)
VALUES (?, ?, ?, ?)
ON CONFLICT (container_id, ifname)
DO UPDATE SET pci = excluded.pci, record = excluded.record
"""


class Ledger:
    """Attachments by (container id, interface name), each VF at most once.

    A record is on disk when the call returns. For all threads of a process,
    and for several processes; not to be carried over a fork.

    :param path: of the file; its folder is made when it is missing.
    :param timeout: seconds to wait for another process.
    :raises LedgerBusy: from every method: another process holds it.
    :raises LedgerError: from every method: it cannot be read or written.
    """

    def __init__(self, path: Path | str, timeout: float = 10.0) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None

    def save(self, attachments: Iterable[model.Attachment]) -> None:
        """Record all of them, in one transaction; same key: replace."""
        rows = [(*a.key, a.pci, codec.to_json(a)) for a in attachments]
        with self._open() as connection:
            connection.executemany(UPSERT, rows)

    def remove(self, attachments: Iterable[model.Attachment]) -> None:
        """Forget them, in one transaction; those not there are skipped."""
        with self._open() as connection:
            connection.executemany(
                'DELETE FROM attachment WHERE container_id = ? AND ifname = ?',
                [a.key for a in attachments],
            )

    def all(self) -> tuple[model.Attachment, ...]:
        """Every record, by container id and interface name."""
        with self._open() as connection:
            rows = connection.execute(
                'SELECT record FROM attachment ORDER BY container_id, ifname'
            ).fetchall()
        return tuple(self._load(row[0]) for row in rows)

    def of(
        self, container_id: str, ifname: str = ''
    ) -> tuple[model.Attachment, ...]:
        """A sandbox's records; with ``ifname``, only that interface's."""
        with self._open() as connection:
            rows = connection.execute(
                'SELECT record FROM attachment WHERE container_id = ?'
                " AND ? IN ('', ifname) ORDER BY ifname",
                (container_id, ifname),
            ).fetchall()
        return tuple(self._load(row[0]) for row in rows)

    def holder(self, pci: str) -> model.Attachment | None:
        """The record that has the VF."""
        with self._open() as connection:
            row = connection.execute(
                'SELECT record FROM attachment WHERE pci = ?', (pci,)
            ).fetchone()
        return self._load(row[0]) if row else None

    def close(self) -> None:
        """Close the file; the next call opens it again."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _load(self, record: str) -> model.Attachment:
        return codec.from_json(model.Attachment, record, self._unreadable)

    def _unreadable(self, reason: str) -> exceptions.LedgerError:
        return exceptions.LedgerError(
            f'{self.path}: a record cannot be read: {reason}; drain the '
            'node, move the file away, and reboot'
        )

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """The connection, in a transaction, for this thread alone."""
        with self._lock, self._mapped():
            if self._connection is None:
                self._connection = self._connect()
            with self._connection:
                yield self._connection

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, check_same_thread=False
        )
        try:
            self._use_wal(connection)
            connection.execute('PRAGMA synchronous = FULL')
            self._migrate(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_wal(self, connection: sqlite3.Connection) -> None:
        """A new file is changed to it; SQLite does not wait where two want to.

        It refuses one of them at once, for each waits for the other.
        """

        def changed() -> bool:
            try:
                connection.execute('PRAGMA journal_mode = WAL')
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                return False
            return True

        try:
            wait.wait_for(changed, self._timeout, str(self.path))
        except exceptions.DeviceBusy as error:
            raise self._busy() from error

    def _migrate(self, connection: sqlite3.Connection) -> None:
        def version() -> int:
            row = connection.execute('PRAGMA user_version').fetchone()
            return int(row[0])

        if version() == 0:
            try:
                connection.executescript(TABLES)
            except sqlite3.OperationalError:
                connection.rollback()
                if version() == 0:  # else another process was first
                    raise
        if version() != SCHEMA:
            raise exceptions.LedgerError(
                f'{self.path} has schema {version()}, this release knows '
                f'{SCHEMA}: install the release that wrote it, or a newer one'
            )

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise exceptions.LedgerError(
                f'{self.path}: a VF is on record for another sandbox '
                f'({error}); run "kuryr-sriov inventory" to see whose'
            ) from error
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise self._busy() from error
            raise exceptions.LedgerError(
                f'{self.path}: {error}; check permissions and disk space'
            ) from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise exceptions.LedgerError(
                f'{self.path}: {error}; it must be a SQLite file in a '
                'directory that this process can write to'
            ) from error

    def _busy(self) -> exceptions.LedgerBusy:
        return exceptions.LedgerBusy(
            f'{self.path}: locked for more than {self._timeout:g} s'
        )


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
