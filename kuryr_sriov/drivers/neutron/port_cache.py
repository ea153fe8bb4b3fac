# SPDX-License-Identifier: Apache-2.0
"""The driver's ports as this process knows them, so that it need not ask.

It is filled from Neutron once and follows every change that the driver
makes. A request whose answer was lost leaves its pod *in doubt*: then, and
only then, Neutron is asked again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from kuryr_sriov.drivers.neutron.port_body import Port


class KnownPorts:
    """Ports by pod, and the VFs they are on. Thread-safe; no I/O."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ports: dict[str, Port] = {}
        self._pods: dict[str, set[str]] = {}
        self._slots: dict[tuple[str, str], str] = {}
        self._slot_of: dict[str, tuple[str, str]] = {}
        self._doubted: set[str] = set()
        self._loaded = False

    @property
    def loaded(self) -> bool:
        """Whether the ports of earlier processes are known."""
        return self._loaded

    def load(self, ports: Iterable[Port]) -> None:
        """Take in what earlier processes have made."""
        with self._lock:
            for port in ports:
                self._put(port)
            self._loaded = True

    def put(self, port: Port) -> None:
        """Remember the port as it is now."""
        with self._lock:
            self._put(port)

    def drop(self, id: str) -> None:
        """Forget a port that is gone."""
        with self._lock:
            self._drop(id)

    def replace(self, pod_uid: str, ports: Iterable[Port]) -> None:
        """Remember exactly these ports of the pod: no doubt is left."""
        with self._lock:
            for id in tuple(self._pods.get(pod_uid, ())):
                self._drop(id)
            for port in ports:
                self._put(port)
            self._doubted.discard(pod_uid)

    def get(self, id: str) -> Port | None:
        return self._ports.get(id)

    def of(self, pod_uid: str) -> tuple[Port, ...]:
        """The pod's ports; for each interface, the one to use comes first.

        That is one whose VF is known already, else the oldest.
        """
        with self._lock:
            ports = [self._ports[id] for id in self._pods.get(pod_uid, ())]
        return tuple(sorted(ports, key=preference))

    def doubt(self, pod_uid: str) -> None:
        """Neutron may have more or fewer ports of the pod than we know."""
        with self._lock:
            self._doubted.add(pod_uid)

    def in_doubt(self, pod_uid: str) -> bool:
        return pod_uid in self._doubted

    def claim(self, host: str, pci_slot: str, id: str) -> str:
        """Take the VF for the port, unless another one has it.

        :returns: the id of the port that has it now.
        """
        with self._lock:
            holder = self._slots.get((host, pci_slot), id)
            if holder == id:
                self._assign((host, pci_slot), id)
            return holder

    def unclaim(self, id: str) -> None:
        """Give up a claim that came to nothing."""
        with self._lock:
            self._free(id)
            port = self._ports.get(id)
            if port and port.pci_slot:
                self._assign((port.host, port.pci_slot), id)

    def _put(self, port: Port) -> None:
        self._ports[port.id] = port
        self._pods.setdefault(port.pod_uid, set()).add(port.id)
        slot = port.host, port.pci_slot
        if port.pci_slot and self._slots.get(slot, port.id) == port.id:
            self._assign(slot, port.id)

    def _drop(self, id: str) -> None:
        self._free(id)
        port = self._ports.pop(id, None)
        if port is not None:
            ids = self._pods[port.pod_uid]
            ids.discard(id)
            if not ids:
                del self._pods[port.pod_uid]

    def _assign(self, slot: tuple[str, str], id: str) -> None:
        self._free(id)
        self._slots[slot] = id
        self._slot_of[id] = slot

    def _free(self, id: str) -> None:
        slot = self._slot_of.pop(id, None)
        if slot is not None:
            del self._slots[slot]


def preference(port: Port) -> tuple[bool, str, str]:
    """Sorts the port to use before its doubles."""
    created = port.created.isoformat() if port.created else ''
    return not port.pci_slot, created, port.id
