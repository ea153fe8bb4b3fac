# SPDX-License-Identifier: Apache-2.0
"""The SQLite file: its tables, transactions and errors."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

from kuryr_sriov import exceptions
from kuryr_sriov.drivers.local.holders import RESTORE, Allocations

APPLICATION = 0x6B737276
"""SQLite's ``application_id``, so that no other database is taken for it."""

SCHEMA = 2
"""Version of the tables, kept in SQLite's ``user_version``."""

TABLES = (
    """
CREATE TABLE vif (
    id TEXT PRIMARY KEY,
    pod_uid TEXT NOT NULL,
    pod TEXT NOT NULL,
    ifname TEXT NOT NULL,
    network TEXT NOT NULL,
    mac TEXT NOT NULL,
    node TEXT,
    pci_slot TEXT,
    created REAL NOT NULL,
    request TEXT NOT NULL,
    record TEXT NOT NULL,
    UNIQUE (pod_uid, ifname),
    UNIQUE (network, mac),
    UNIQUE (node, pci_slot)
)
""",
    """
CREATE TABLE address (
    network TEXT NOT NULL,
    ip BLOB NOT NULL,
    vif TEXT NOT NULL REFERENCES vif (id) ON DELETE CASCADE,
    PRIMARY KEY (network, ip)
) WITHOUT ROWID
""",
    'CREATE INDEX address_vif ON address (vif)',
    f'PRAGMA application_id = {APPLICATION}',
    'PRAGMA user_version = 1',
)
"""Schema 1, from which a new file comes like an old one."""

RUNS = (
    """
CREATE TABLE run (
    network TEXT NOT NULL,
    first BLOB NOT NULL,
    last BLOB NOT NULL,
    PRIMARY KEY (network, first)
) WITHOUT ROWID
""",
    'CREATE INDEX vif_mac ON vif (mac)',
    'PRAGMA user_version = 2',
)
"""From schema 1 to 2: costs that do not grow with the number of VIFs."""


class Database:
    """The file. For all threads, and for several processes at once.

    Each transaction has its own connection, so that nothing stays open
    and a fork carries nothing over.

    :param path: its folder is made when it is missing.
    :param timeout: seconds to wait for another transaction.
    """

    def __init__(self, path: str, timeout: float) -> None:
        self.path = Path(path)
        self._timeout = timeout
        self._lock = threading.Lock()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[Allocations]:
        """All of it or nothing; nobody else writes meanwhile.

        :raises ProviderUnavailable: somebody else did for too long.
        :raises ConfigurationError: the file cannot be used.
        """
        with (
            self._map_errors(),
            self._queue_threads(),
            contextlib.closing(self._open_file()) as connection,
        ):
            # Two transactions that begin by reading could not both go on to
            # write.
            connection.execute('BEGIN IMMEDIATE')
            with connection:
                allocations = Allocations(connection, self._unusable_error)
                self._ensure_tables(connection, allocations)
                yield allocations

    @contextlib.contextmanager
    def _queue_threads(self) -> Iterator[None]:
        """Queue this process's threads, because SQLite's waiting is unfair."""
        if not self._lock.acquire(timeout=self._timeout):
            raise self._busy_error()
        try:
            yield
        finally:
            self._lock.release()

    def _open_file(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            # Python would begin transactions by itself, and too late.
            self.path,
            timeout=self._timeout,
            isolation_level=None,
        )
        # SQLite enforces them only where a connection asks for it.
        connection.execute('PRAGMA foreign_keys = ON')
        return connection

    def _ensure_tables(
        self, connection: sqlite3.Connection, allocations: Allocations
    ) -> None:
        """Make the tables, or migrate them to those of this release."""

        def number(query: str) -> int:
            return int(connection.execute(query).fetchone()[0])

        if number('SELECT count(*) FROM sqlite_master') == 0:
            for statement in TABLES:
                connection.execute(statement)
        if number('PRAGMA application_id') != APPLICATION:
            raise self._unusable_error(
                'is the database of another program; name another file'
            )
        if number('PRAGMA user_version') == 1:
            _migrate_to_2(connection, allocations)
        schema = number('PRAGMA user_version')
        if schema != SCHEMA:
            raise self._unusable_error(
                f'has schema {schema}, this release knows {SCHEMA}; install '
                'the release that wrote it, or a newer one'
            )

    @contextlib.contextmanager
    def _map_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._busy_error() from error
            raise self._unusable_error(
                f'{error}; check permissions and disk space'
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable_error(f'{error}; {RESTORE}') from error
        except OSError as error:
            raise self._unusable_error(
                f'{error.strerror} ({error.filename}); name a file that this '
                'process can write'
            ) from error

    def _busy_error(self) -> exceptions.ProviderUnavailable:
        return exceptions.ProviderUnavailable(
            f'{self.path}: in use by others for more than '
            f'{self._timeout:g} s; see [sriov_local] database_timeout'
        )

    def _unusable_error(self, why: str) -> exceptions.ConfigurationError:
        return exceptions.ConfigurationError(
            [f'[sriov_local] database {self.path}: {why}']
        )


def _migrate_to_2(
    connection: sqlite3.Connection, allocations: Allocations
) -> None:
    for statement in RUNS:
        connection.execute(statement)
    rows = connection.execute('SELECT network, ip FROM address').fetchall()
    for network, ip in rows:
        allocations.occupy(network, int.from_bytes(ip, 'big'))
