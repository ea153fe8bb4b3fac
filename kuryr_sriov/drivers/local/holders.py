# SPDX-License-Identifier: Apache-2.0
"""Who has which VIF, MAC, address and VF."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence

from kuryr_sriov import codec, exceptions, model

RESTORE = 'restore it from a backup, or name another file'


class Allocations:
    """The tables, inside one transaction.

    Networks are the provider's, as in ``model.Subnet``; addresses are the
    numbers of ``ip_ranges``. Holders are named ``namespace/pod (ifname)``.
    Runs are addresses in use without a gap between them: so the next free
    one is found without a look at all that are not free.

    :param unusable: makes the error for a record that cannot be read.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        unusable: Callable[[str], exceptions.ConfigurationError],
    ) -> None:
        self._execute = connection.execute
        self._unusable = unusable

    def find_vifs(self, pod_uid: str) -> dict[str, tuple[model.Vif, str]]:
        """A pod's VIFs by interface, with the request each was made for."""
        rows = self._execute(
            'SELECT ifname, record, request FROM vif WHERE pod_uid = ?',
            (pod_uid,),
        )
        return {row[0]: (self._read_vif(row[1]), row[2]) for row in rows}

    def mac_holder(self, network: str, mac: str) -> str:
        """Who has a MAC; ``network`` empty for any. Empty for nobody."""
        return self._find_holder(
            "SELECT pod, ifname FROM vif WHERE mac = ? AND ? IN ('', network)",
            (mac, network),
        )

    def address_holder(self, network: str, ip: int) -> str:
        """Who has an address; empty for nobody."""
        return self._find_holder(
            'SELECT pod, ifname FROM vif JOIN address ON vif.id = address.vif'
            ' WHERE address.network = ? AND ip = ?',
            (network, _to_key(ip)),
        )

    def device_holder(self, node: str, pci_slot: str, but: str) -> str:
        """Who has a VF, other than the VIF ``but``; empty for nobody."""
        return self._find_holder(
            'SELECT pod, ifname FROM vif'
            ' WHERE node = ? AND pci_slot = ? AND id != ?',
            (node, pci_slot, but),
        )

    def lowest_free(self, network: str, pools: Sequence[range]) -> int | None:
        """The lowest address of the pools that nobody has; None for none."""
        for pool in sorted(pools, key=lambda pool: pool.start):
            run = self._run_at_or_before(network, pool.start)
            free = pool.start
            if run and free in run:
                free = run.stop
            if free < pool.stop:
                return free
        return None

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
                (network, _to_key(ip), vif.id),
            )
            self.occupy(network, ip)

    def occupy(self, network: str, ip: int) -> None:
        """Make a free address part of a run."""
        first, last = ip, ip
        before = self._run_at_or_before(network, ip)
        if before and before.stop == ip:
            first = before.start
            self._drop_run(network, before.start)
        row = self._execute(
            'SELECT first, last FROM run WHERE network = ? AND first > ?'
            ' ORDER BY first LIMIT 1',
            (network, _to_key(ip)),
        ).fetchone()
        if row and _to_number(row[0]) == ip + 1:
            last = _to_number(row[1])
            self._drop_run(network, ip + 1)
        self._add_run(network, range(first, last + 1))

    def _split_run(self, network: str, ip: int) -> None:
        run = self._run_at_or_before(network, ip)
        if run and ip in run:
            self._drop_run(network, run.start)
            self._add_run(network, range(run.start, ip))
            self._add_run(network, range(ip + 1, run.stop))

    def _run_at_or_before(self, network: str, ip: int) -> range | None:
        row = self._execute(
            'SELECT first, last FROM run WHERE network = ? AND first <= ?'
            ' ORDER BY first DESC LIMIT 1',
            (network, _to_key(ip)),
        ).fetchone()
        return (
            range(_to_number(row[0]), _to_number(row[1]) + 1) if row else None
        )

    def _add_run(self, network: str, run: range) -> None:
        if run:
            self._execute(
                'INSERT INTO run (network, first, last) VALUES (?, ?, ?)',
                (network, _to_key(run[0]), _to_key(run[-1])),
            )

    def _drop_run(self, network: str, first: int) -> None:
        self._execute(
            'DELETE FROM run WHERE network = ? AND first = ?',
            (network, _to_key(first)),
        )

    def get(self, vif_id: str) -> tuple[model.Vif, str] | None:
        """The VIF of that id, and the uid of its pod."""
        row = self._execute(
            'SELECT record, pod_uid FROM vif WHERE id = ?', (vif_id,)
        ).fetchone()
        return (self._read_vif(row[0]), row[1]) if row else None

    def place(self, vif: model.Vif, location: model.Location) -> None:
        """Record a VIF as it is now, and where."""
        self._execute(
            'UPDATE vif SET node = ?, pci_slot = ?, record = ? WHERE id = ?',
            (location.node, location.pci_slot, codec.to_json(vif), vif.id),
        )

    def release(self, pod_uid: str) -> None:
        """Forget a pod's VIFs, and with them their addresses."""
        rows = self._execute(
            'SELECT id FROM vif WHERE pod_uid = ?', (pod_uid,)
        ).fetchall()
        for (vif_id,) in rows:
            self.remove(vif_id)

    def remove(self, vif_id: str) -> None:
        """Forget one VIF."""
        rows = self._execute(
            'SELECT network, ip FROM address WHERE vif = ?', (vif_id,)
        ).fetchall()
        for network, ip in rows:
            self._split_run(network, _to_number(ip))
        self._execute('DELETE FROM vif WHERE id = ?', (vif_id,))

    def list_owned(self) -> list[model.OwnedVif]:
        """All VIFs, oldest first."""
        rows = self._execute(
            'SELECT pod_uid, pod, record, created, pci_slot FROM vif'
            ' ORDER BY created, id'
        )
        now = time.time()
        found = []
        for uid, pod, record, created, pci_slot in rows:
            namespace, _, name = pod.partition('/')
            found.append(
                model.OwnedVif(
                    model.Pod(namespace, name, uid),
                    self._read_vif(record),
                    age=max(0.0, now - created),
                    placed=pci_slot is not None,
                )
            )
        return found

    def _find_holder(self, query: str, values: tuple[str | bytes, ...]) -> str:
        row = self._execute(query, values).fetchone()
        return f'{row[0]} ({row[1]})' if row else ''

    def _read_vif(self, record: str) -> model.Vif:
        return codec.from_json(
            model.Vif,
            record,
            lambda why: self._unusable(f'record of a VIF: {why}; {RESTORE}'),
        )


def _to_key(ip: int) -> bytes:
    """An address as it sorts in SQLite, whose integers are too short."""
    return ip.to_bytes(16, 'big')


def _to_number(key: bytes) -> int:
    return int.from_bytes(key, 'big')
