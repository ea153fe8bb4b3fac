# SPDX-License-Identifier: Apache-2.0
"""VIFs of machines, completed by what the network provider says of a port."""

from __future__ import annotations

from kuryr_sriov import Controller, Kubernetes, PortObject, Vif
from kuryr_sriov_daemon.controller.portcache import PortObjects


class Completion:
    """Answers nodes that have found a port, and ask what it has."""

    def __init__(
        self, library: Controller, kubernetes: Kubernetes, ports: PortObjects
    ) -> None:
        self._library = library
        self._kubernetes = kubernetes
        self._ports = ports

    def complete(self, port: PortObject) -> PortObject:
        """The port object, with the VIFs completed that were asked for.

        :raises KuryrSriovError: the provider does not tell, or the port is
            on another network than was promised.
        """
        if not port.found:
            return port
        vifs = port.vifs
        completed = tuple(self._answer(vif, port) for vif in vifs)
        if completed == vifs:
            return port
        return self._ports.put(
            self._kubernetes.publish(port.pod, completed, port.request)
        )

    def _answer(self, vif: Vif, port: PortObject) -> Vif:
        found = port.found.get(vif.ifname, vif.id)
        if not vif.provider_network or found == vif.id:
            return vif
        return self._library.complete(vif, found)
