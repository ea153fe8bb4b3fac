# SPDX-License-Identifier: Apache-2.0
"""Tells drift from a change at the network provider that is on its way."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from kuryr_sriov import Drifted, Node

Key = tuple[str, str]


class DriftWatch:
    """Checks VFs. Thread-safe.

    Neutron's SR-IOV agent sets rates, spoof check and link state of a port
    at once when they change in Neutron; the controller finds it out by its
    period. Until then the VF differs from its record, and nothing is wrong.

    :param settle_time: seconds after which that is drift.
    """

    def __init__(self, node: Node, settle_time: float) -> None:
        self._node = node
        self._settle_time = settle_time
        self._first_seen: dict[Key, float] = {}
        self._lock = threading.Lock()

    def check(self, container_id: str, ifname: str = '') -> None:
        """Compare VFs with their records, as ``Node.check`` does.

        :raises Drifted: one is not as it was attached, and that is no
            change that may be on its way.
        """
        key = container_id, ifname
        try:
            self._node.check(container_id, ifname)
        except Drifted as error:
            if not error.may_settle or self._has_lasted(key):
                raise
        else:
            with self._lock:
                self._first_seen.pop(key, None)

    def forget_others(self, container_ids: Collection[str]) -> None:
        """Forget sandboxes that are gone."""
        with self._lock:
            for key in [*self._first_seen]:
                if key[0] not in container_ids:
                    del self._first_seen[key]

    def _has_lasted(self, key: Key) -> bool:
        now = time.monotonic()
        with self._lock:
            first = self._first_seen.setdefault(key, now)
        return now - first >= self._settle_time
