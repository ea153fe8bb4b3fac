# SPDX-License-Identifier: Apache-2.0
"""Who has which VIF, MAC and address: a SQLite file."""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from kuryr_sriov import codec, exceptions, model

APPLICATION = 0x6B737276
"""SQLite's ``application_id``, so that no other database is taken for it."""

SCHEMA = 1
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
    f'PRAGMA user_version = {SCHEMA}',
)


class Allocations:
    """The tables, inside one transaction.

    Networks are the provider's, as in ``model.Subnet``; addresses are the
    numbers of ``addresses``. Holders are named ``namespace/pod (ifname)``.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute

    def find(self, pod_uid: str, ifname: str) -> tuple[model.Vif, str] | None:
        """The VIF of a pod's interface, and the request it was made for."""
        row = self._execute(
            'SELECT record, request FROM vif WHERE pod_uid = ? AND ifname = ?',
            (pod_uid, ifname),
        ).fetchone()
        return (_vif(row[0]), row[1]) if row else None

    def mac_holder(self, network: str, mac: str) -> str:
        """Who has a MAC; ``network`` empty for any. Empty for nobody."""
        return self._holder(
            "SELECT pod, ifname FROM vif WHERE mac = ? AND ? IN ('', network)",
            (mac, network),
        )

    def address_holder(self, network: str, ip: int) -> str:
        """Who has an address; empty for nobody."""
        return self._holder(
            'SELECT pod, ifname FROM vif JOIN address ON vif.id = address.vif'
            ' WHERE address.network = ? AND ip = ?',
            (network, _key(ip)),
        )

    def device_holder(self, node: str, pci_slot: str, but: str) -> str:
        """Who has a VF, the VIF ``but`` aside; empty for nobody."""
        return self._holder(
            'SELECT pod, ifname FROM vif'
            ' WHERE node = ? AND pci_slot = ? AND id != ?',
            (node, pci_slot, but),
        )

    def used(self, network: str, first: int, last: int) -> Iterator[int]:
        """Addresses in use from ``first`` to ``last``, in order."""
        rows = self._execute(
            'SELECT ip FROM address'
            ' WHERE network = ? AND ip BETWEEN ? AND ? ORDER BY ip',
            (network, _key(first), _key(last)),
        )
        return (int.from_bytes(row[0], 'big') for row in rows)

    def add(
        self,
        pod: model.Pod,
        network: str,
        ips: list[int],
        request: str,
        vif: model.Vif,
    ) -> None:
        """Record a new VIF and its addresses."""
        self._execute(
            'INSERT INTO vif (id, pod_uid, pod, ifname, network, mac, created,'
            ' request, record) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)',
            (
                vif.id,
                pod.uid,
                str(pod),
                vif.ifname,
                network,
                vif.mac,
                time.time(),
                request,
                codec.to_json(vif),
            ),
        )
        for ip in ips:
            self._execute(
                'INSERT INTO address (network, ip, vif) VALUES (?, ?, ?)',
                (network, _key(ip), vif.id),
            )

    def get(self, vif_id: str) -> model.Vif | None:
        """The VIF of that id."""
        row = self._execute(
            'SELECT record FROM vif WHERE id = ?', (vif_id,)
        ).fetchone()
        return _vif(row[0]) if row else None

    def place(self, vif: model.Vif, location: model.Location) -> None:
        """Record a VIF as it is now, and where."""
        self._execute(
            'UPDATE vif SET node = ?, pci_slot = ?, record = ? WHERE id = ?',
            (location.node, location.pci_slot, codec.to_json(vif), vif.id),
        )

    def release(self, pod_uid: str) -> None:
        """Forget a pod's VIFs, and with them their addresses."""
        self._execute('DELETE FROM vif WHERE pod_uid = ?', (pod_uid,))

    def remove(self, vif_id: str) -> None:
        """Forget one VIF."""
        self._execute('DELETE FROM vif WHERE id = ?', (vif_id,))

    def owned(self, until: float = math.inf) -> list[model.OwnedVif]:
        """The VIFs made ``until`` then (Unix time), oldest first."""
        rows = self._execute(
            'SELECT pod_uid, record FROM vif WHERE created <= ?'
            ' ORDER BY created, id',
            (until,),
        )
        return [model.OwnedVif(uid, _vif(record)) for uid, record in rows]

    def _holder(self, query: str, values: tuple[str | bytes, ...]) -> str:
        row = self._execute(query, values).fetchone()
        return f'{row[0]} ({row[1]})' if row else ''


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
            self._mapped(),
            self._alone(),
            contextlib.closing(self._connect()) as connection,
        ):
            connection.execute('BEGIN IMMEDIATE')
            with connection:
                self._prepare(connection)
                yield Allocations(connection)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Queue this process's threads: SQLite's own waiting is unfair."""
        if not self._lock.acquire(timeout=self._timeout):
            raise self._busy()
        try:
            yield
        finally:
            self._lock.release()

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        connection = sqlite3.connect(
            self.path, timeout=self._timeout, isolation_level=None
        )
        connection.execute('PRAGMA foreign_keys = ON')
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        def number(query: str) -> int:
            return int(connection.execute(query).fetchone()[0])

        if number('SELECT count(*) FROM sqlite_master') == 0:
            for statement in TABLES:
                connection.execute(statement)
        if number('PRAGMA application_id') != APPLICATION:
            raise self._unusable(
                'is the database of another program; name another file'
            )
        schema = number('PRAGMA user_version')
        if schema != SCHEMA:
            raise self._unusable(
                f'has schema {schema}, this release knows {SCHEMA}; install '
                'the release that wrote it, or a newer one'
            )

    @contextlib.contextmanager
    def _mapped(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._busy() from error
            raise self._unusable(
                f'{error}; check permissions and disk space'
            ) from error
        except sqlite3.DatabaseError as error:
            raise self._unusable(
                f'{error}; restore it from a backup, or name another file'
            ) from error
        except OSError as error:
            raise self._unusable(
                f'{error.strerror} ({error.filename}); name a file that this '
                'process can write'
            ) from error

    def _busy(self) -> exceptions.ProviderUnavailable:
        return exceptions.ProviderUnavailable(
            f'{self.path}: in use by others for more than '
            f'{self._timeout:g} s; see [sriov_local] database_timeout'
        )

    def _unusable(self, why: str) -> exceptions.ConfigurationError:
        return exceptions.ConfigurationError(
            [f'[sriov_local] database {self.path}: {why}']
        )


def _key(ip: int) -> bytes:
    """An address as it sorts in SQLite, whose integers are too short."""
    return ip.to_bytes(16, 'big')


def _vif(record: str) -> model.Vif:
    return codec.from_json(model.Vif, record, exceptions.PermanentError)
