# SPDX-License-Identifier: Apache-2.0
"""From a node's report to VIFs whose place the network provider knows."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from kuryr_sriov import (
    Condition,
    Controller,
    Kubernetes,
    KuryrSriovError,
    PortObject,
    ReportedAttachment,
    Vif,
)
from kuryr_sriov_daemon.controller import conditions
from kuryr_sriov_daemon.controller.conditions import ACTIVE, REQUESTED
from kuryr_sriov_daemon.controller.portcache import PortObjects
from kuryr_sriov_daemon.podevents import PodEvent, PodEvents


class Activation:
    """Tells the provider where VIFs are, and the port object what it said."""

    def __init__(
        self,
        library: Controller,
        kubernetes: Kubernetes,
        ports: PortObjects,
        events: PodEvents,
    ) -> None:
        self._library = library
        self._kubernetes = kubernetes
        self._ports = ports
        self._events = events
        self._lock = threading.Lock()
        self._confirmed: set[str] = set()

    def confirm(self, vif_ids: Iterable[str]) -> None:
        """The provider says that traffic of these flows."""
        with self._lock:
            self._confirmed = set(vif_ids)

    def update(self, port: PortObject) -> None:
        """Activate what is reported and not activated yet.

        :raises KuryrSriovError: a VIF could not be activated; look again.
        """
        if not port.request:
            return  # its request could not be met
        vifs = {vif.id: vif for vif in port.reported_vifs}
        placed = {
            one.vif_id: one for one in port.attachments if one.vif_id in vifs
        }
        activated = {
            vif_id: pci
            for vif_id, pci in port.activated.items()
            if vif_id in placed and placed[vif_id].location.pci_slot == pci
        }
        failure = None
        silent = {
            vif_id
            for vif_id in activated
            if not self._is_confirmed(port, vif_id)
        }
        for vif_id in placed.keys() - activated.keys():
            try:
                if not self._activate_vif(port, vifs[vif_id], placed[vif_id]):
                    silent.add(vif_id)
                activated[vif_id] = placed[vif_id].location.pci_slot
            except KuryrSriovError as error:
                failure = failure or error
        if failure is not None:
            reason = type(failure).__name__
            self._events.tell(
                PodEvent(port.pod, reason, str(failure), 'ActivateVifs')
            )
            verdict = conditions.failure_of(failure)
            self._write_conditions(port, verdict, activated)
            raise failure
        if not vifs:
            verdict = conditions.NO_VIFS
        elif placed.keys() != vifs.keys():
            verdict = conditions.NOT_ATTACHED
        elif silent:
            verdict = conditions.UNCONFIRMED
        else:
            verdict = conditions.ACTIVATED
        self._write_conditions(port, verdict, activated)

    def _activate_vif(
        self, port: PortObject, vif: Vif, place: ReportedAttachment
    ) -> bool:
        """Whether the provider says that its traffic flows."""
        return self._library.activate(port.pod, vif, place.location).active

    def _is_confirmed(self, port: PortObject, vif_id: str) -> bool:
        active = port.conditions.get(ACTIVE)
        if active is not None and active.status == 'True':
            return True
        with self._lock:
            return vif_id in self._confirmed

    def _write_conditions(
        self, port: PortObject, verdict: Condition, activated: dict[str, str]
    ) -> None:
        met = conditions.MET if port.promises else conditions.NOT_OURS
        wanted = {REQUESTED: met, ACTIVE: verdict}
        if conditions.says_all(port, wanted) and activated == port.activated:
            return
        ours = conditions.merge_conditions(port, wanted)
        self._ports.put(self._kubernetes.record(port.pod, ours, activated))
