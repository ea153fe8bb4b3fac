# SPDX-License-Identifier: Apache-2.0
"""Who has which VIF, MAC, address and VF."""

from __future__ import annotations

import math
import sqlite3
import time
from collections.abc import Callable, Iterator

from kuryr_sriov import codec, exceptions, model

RESTORE = 'restore it from a backup, or name another file'


class Allocations:
    """The tables, inside one transaction.

    Networks are the provider's, as in ``model.Subnet``; addresses are the
    numbers of ``addresses``. Holders are named ``namespace/pod (ifname)``.

    :param unusable: makes the error for a record that cannot be read.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        unusable: Callable[[str], exceptions.ConfigurationError],
    ) -> None:
        self._execute = connection.execute
        self._unusable = unusable

    def find(self, pod_uid: str, ifname: str) -> tuple[model.Vif, str] | None:
        """The VIF of a pod's interface, and the request it was made for."""
        row = self._execute(
            'SELECT record, request FROM vif WHERE pod_uid = ? AND ifname = ?',
            (pod_uid, ifname),
        ).fetchone()
        return (self._vif(row[0]), row[1]) if row else None

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
        return self._vif(row[0]) if row else None

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
        return [model.OwnedVif(uid, self._vif(record)) for uid, record in rows]

    def _holder(self, query: str, values: tuple[str | bytes, ...]) -> str:
        row = self._execute(query, values).fetchone()
        return f'{row[0]} ({row[1]})' if row else ''

    def _vif(self, record: str) -> model.Vif:
        return codec.from_json(
            model.Vif,
            record,
            lambda why: self._unusable(f'record of a VIF: {why}; {RESTORE}'),
        )


def _key(ip: int) -> bytes:
    """An address as it sorts in SQLite, whose integers are too short."""
    return ip.to_bytes(16, 'big')
