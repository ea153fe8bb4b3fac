# SPDX-License-Identifier: Apache-2.0
"""The driver's ports as this process knows them, which saves requests.

It is filled from Neutron when this process begins to lead, and follows every
change that the driver makes. Neutron is asked again about a pod's ports only
where they are in doubt: after a request whose answer was lost, and for a
while after the beginning, when requests of a predecessor may still arrive.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable

from kuryr_sriov.drivers.neutron.port_body import Port

SETTLING = 180.0
"""Seconds after which no request of a predecessor arrives any more.

Its client waits a minute for an answer (``[neutron] timeout``), and a server
behind a proxy may work on for as long again.
"""


class KnownPorts:
    """Ports by pod, and the VFs they are on. Thread-safe; no I/O."""

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        settling: float = SETTLING,
    ) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._settling = settling
        self.forget_all()

    def forget_all(self) -> None:
        """Know nothing, as at the beginning."""
        with self._lock:
            self._ports: dict[str, Port] = {}
            self._pods: dict[str, set[str]] = {}
            self._slots: dict[tuple[str, str], str] = {}
            self._slot_of: dict[str, tuple[str, str]] = {}
            self._lost: set[str] = set()
            self._asked: set[str] = set()
            self._settled_at = self._clock() + self._settling
            self._loaded = False

    @property
    def loaded(self) -> bool:
        """Whether the ports of earlier processes are known."""
        return self._loaded

    def load(self, ports: Iterable[Port]) -> None:
        """Take in what earlier processes have made."""
        with self._lock:
            for port in ports:
                self._put_port(port)
            self._loaded = True

    def put(self, port: Port) -> None:
        """Remember the port as it is now."""
        with self._lock:
            self._put_port(port)

    def drop(self, id: str) -> None:
        """Forget a port that is gone."""
        with self._lock:
            self._drop_port(id)

    def replace(self, pod_uid: str, ports: Iterable[Port]) -> None:
        """Remember exactly these ports of the pod: no doubt is left."""
        with self._lock:
            now = {port.id: port for port in ports}
            for id in tuple(self._pods.get(pod_uid, ())):
                if id not in now:
                    self._drop_port(id)
            for port in now.values():
                self._put_port(port)
            self._lost.discard(pod_uid)
            # Of use only while a predecessor's requests may still arrive.
            if self._clock() < self._settled_at:
                self._asked.add(pod_uid)
            else:
                self._asked.clear()

    def get(self, id: str) -> Port | None:
        """The port as it was last; None where it is not known."""
        return self._ports.get(id)

    def of(self, pod_uid: str) -> tuple[Port, ...]:
        """The pod's ports; for each interface, the one to use comes first.

        That is one whose VF is known already, else the oldest.
        """
        with self._lock:
            ports = [self._ports[id] for id in self._pods.get(pod_uid, ())]
        return tuple(sorted(ports, key=preference))

    def doubt(self, pod_uid: str) -> None:
        """An answer was lost: Neutron may have more or fewer of its ports."""
        with self._lock:
            self._lost.add(pod_uid)

    def lost_track_of(self, pod_uid: str) -> bool:
        """Whether what is known of the pod's ports may be wrong."""
        return pod_uid in self._lost

    def may_lack_some_of(self, pod_uid: str) -> bool:
        """Whether the pod may have ports that are not known."""
        unsettled = self._clock() < self._settled_at
        return pod_uid in self._lost or (
            unsettled and pod_uid not in self._asked
        )

    def claim(self, host: str, pci_slot: str, id: str) -> str:
        """Take the VF for the port, unless another one has it.

        :returns: the id of the port that has it now.
        """
        with self._lock:
            holder = self._slots.get((host, pci_slot), id)
            if holder == id:
                self._assign_slot((host, pci_slot), id)
            return holder

    def unclaim(self, id: str) -> None:
        """Give up a claim that came to nothing."""
        with self._lock:
            self._free_slot(id)
            port = self._ports.get(id)
            if port and port.pci_slot:
                self._assign_slot((port.host, port.pci_slot), id)

    def _put_port(self, port: Port) -> None:
        old = self._ports.get(port.id)
        if old is not None and old.pci_slot and not port.pci_slot:
            self._free_slot(port.id)  # somebody else has taken its VF from it
        self._ports[port.id] = port
        self._pods.setdefault(port.pod_uid, set()).add(port.id)
        slot = port.host, port.pci_slot
        if port.pci_slot and self._slots.get(slot, port.id) == port.id:
            self._assign_slot(slot, port.id)

    def _drop_port(self, id: str) -> None:
        self._free_slot(id)
        port = self._ports.pop(id, None)
        if port is not None:
            ids = self._pods[port.pod_uid]
            ids.discard(id)
            if not ids:
                del self._pods[port.pod_uid]

    def _assign_slot(self, slot: tuple[str, str], id: str) -> None:
        self._free_slot(id)
        self._slots[slot] = id
        self._slot_of[id] = slot

    def _free_slot(self, id: str) -> None:
        slot = self._slot_of.pop(id, None)
        if slot is not None:
            del self._slots[slot]


def preference(port: Port) -> tuple[bool, str, str]:
    """Sorts the port to use before its doubles."""
    created = port.created.isoformat() if port.created else ''
    return not port.pci_slot, created, port.id
