# SPDX-License-Identifier: Apache-2.0
"""The ledger's file: its tables, how they changed, how it is opened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import threading
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from kuryr_sriov import exceptions
from kuryr_sriov.host import wait

NAME = 'ledger.sqlite'
"""Its name in ``[sriov] state_dir``."""

_ATTACHMENTS = """
CREATE TABLE attachment (
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    pci TEXT NOT NULL UNIQUE,
    record TEXT NOT NULL,
    PRIMARY KEY (container_id, ifname)
) WITHOUT ROWID
"""
_INTENTS = """
CREATE TABLE intent (
    token TEXT NOT NULL,
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    since REAL NOT NULL,
    PRIMARY KEY (token, ifname)
) WITHOUT ROWID
"""
_SET_ASIDE = """
CREATE TABLE set_aside (
    pci TEXT NOT NULL PRIMARY KEY,
    container_id TEXT NOT NULL,
    ifname TEXT NOT NULL,
    boot_id TEXT NOT NULL,
    reason TEXT NOT NULL,
    record BLOB NOT NULL
) WITHOUT ROWID
"""
MIGRATIONS = ((_ATTACHMENTS,), (_INTENTS, _SET_ASIDE))
"""What leads from each schema to the next; the first from no tables to 1.

The statements of a release are never changed: add the next step. A file of
each earlier schema is kept in the tests, and migrated there.
"""

SCHEMA = len(MIGRATIONS)
"""Version of the tables, kept in SQLite's ``user_version``."""


class LedgerFile:
    """One connection to the file, for one thread at a time.

    :param timeout: seconds that a call may wait, for threads of this
        process and for other processes together.
    :raises LedgerBusy: that time has passed, or the call's deadline.
    :raises LedgerError: the file cannot be read or written.
    """

    def __init__(self, path: Path, timeout: float) -> None:
        self.path = path
        self._timeout = timeout
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._pragmas: dict[str, float] = {}

    @contextlib.contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, each statement a transaction of its own."""
        timeout = wait.time_left(self._timeout)
        deadline = time.monotonic() + timeout
        if not self._lock.acquire(timeout=timeout):
            raise self._busy_error(timeout)
        try:
            with self._map_errors(timeout):
                if self._connection is None:
                    self._connection = self._open_connection(deadline)
                left = max(0.0, deadline - time.monotonic())
                # SQLite waits so long for another process (sqlite.org,
                # sqlite3_busy_timeout); the time for the lock counts.
                self._set('busy_timeout', round(left, 2) * 1000)
                yield self._connection
        finally:
            self._lock.release()

    @contextlib.contextmanager
    def writing(self, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """The connection, in one transaction.

        :param durable: on disk when the call returns. Otherwise other
            processes see it, and it is lost when the machine dies: SQLite
            syncs the write-ahead log at a commit with FULL only.
        """
        with self.opened() as connection:
            self._set('synchronous', 2 if durable else 1)  # FULL, NORMAL
            connection.execute('BEGIN IMMEDIATE')
            try:
                yield connection
            except BaseException:
                connection.rollback()
                raise
            connection.commit()

    def close(self) -> None:
        """Close it; the next call opens it again."""
        with self._lock:
            self._pragmas.clear()
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _set(self, pragma: str, value: float) -> None:
        """Have the connection so, if it is not: each is a statement."""
        if self._pragmas.get(pragma) != value:
            assert self._connection is not None
            self._connection.execute(f'PRAGMA {pragma} = {value:.0f}')
            self._pragmas[pragma] = value

    def _open_connection(self, deadline: float) -> sqlite3.Connection:
        self._make_private()
        left = max(0.0, deadline - time.monotonic())
        connection = sqlite3.connect(
            self.path, timeout=left, check_same_thread=False
        )
        try:
            self._use_wal(connection, left)
            migrate(connection, self.path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _make_private(self) -> None:
        """Nobody else may write it: it decides what root does with VFs."""
        folder = self.path.parent
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise exceptions.LedgerError(
                f'{folder}: others may write to it, and thereby decide what '
                'is done with VFs; run chmod go-w on it'
            )
        if self.path.is_dir():
            return  # which SQLite tells
        file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            # SQLite gives its own files beside it the same mode.
            os.fchmod(file, 0o600)
        finally:
            os.close(file)

    def _use_wal(self, connection: sqlite3.Connection, left: float) -> None:
        """Make SQLite use a write-ahead log, so that readers never wait.

        Where two processes want to change a new file to it, SQLite refuses
        one of them at once, for each would wait for the other.
        """

        def is_changed() -> bool:
            try:
                connection.execute('PRAGMA journal_mode = WAL')
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    raise
                return False
            return True

        try:
            wait.wait_for(is_changed, left, str(self.path))
        except exceptions.DeviceBusy as error:
            raise self._busy_error(left) from error

    @contextlib.contextmanager
    def _map_errors(self, timeout: float) -> Iterator[None]:
        """Raise SQLite's errors as the library's."""
        try:
            yield
        except sqlite3.IntegrityError as error:
            raise exceptions.LedgerError(
                f'{self.path}: a VF is on record for another sandbox '
                f'({error}); run "kuryr-sriov inventory" to see whose'
            ) from error
        except sqlite3.OperationalError as error:
            if _is_busy(error):
                raise self._busy_error(timeout) from error
            raise exceptions.LedgerError(
                f'{self.path}: {error}; check permissions and disk space'
            ) from error
        except (sqlite3.DatabaseError, OSError) as error:
            raise exceptions.LedgerError(
                f'{self.path}: {error}; it must be a SQLite file in a '
                'directory that this process can write to'
            ) from error

    def _busy_error(self, timeout: float) -> exceptions.LedgerBusy:
        return exceptions.LedgerBusy(
            f'{self.path}: locked for more than {timeout:.3g} s, by another '
            'thread or process'
        )


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Bring the tables to the schema of this release, step by step.

    :raises LedgerError: a newer release has written the file.
    """
    if check_schema(connection, path) == SCHEMA:
        return
    # One process migrates, the others wait here and find it done.
    connection.execute('BEGIN IMMEDIATE')
    try:
        for statements in MIGRATIONS[check_schema(connection, path) :]:
            for statement in statements:
                connection.execute(statement.strip())
        connection.execute(f'PRAGMA user_version = {SCHEMA}')
    except BaseException:
        connection.rollback()
        raise
    connection.commit()


def check_schema(connection: sqlite3.Connection, path: Path) -> int:
    """The schema of the file; 0 for no tables.

    :raises LedgerError: this release does not know it.
    """
    (schema,) = connection.execute('PRAGMA user_version').fetchone()
    if schema > SCHEMA:
        raise exceptions.LedgerError(
            f'{path} has schema {schema}, this release knows {SCHEMA}: '
            'install the release that wrote it, or a newer one'
        )
    return int(schema)


def open_for_reading(path: Path) -> sqlite3.Connection:
    """A connection that creates and changes nothing, not even briefly."""
    # A reader that shares a WAL file leaves it and its index behind if it is
    # the last to close. Without that file nobody has the ledger open, so
    # that nothing need be shared.
    shared = os.path.exists(f'{path}-wal')
    mode = 'mode=ro' if shared else 'immutable=1'
    return sqlite3.connect(
        f'file:{urllib.parse.quote(str(path))}?{mode}', uri=True
    )


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return error.sqlite_errorcode & 0xFF in (
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
    )
