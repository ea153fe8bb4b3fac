# SPDX-License-Identifier: Apache-2.0
"""From a node's report to VIFs whose place the network provider knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

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

PATIENCE = 10.0
"""Seconds for which the provider may be silent before that is written.

Neutron's agents take one to a few. What is over by then costs no write."""


@dataclass(slots=True)
class _Silence:
    """What the provider was told, and has not confirmed.

    :param since: when it was told first, or found to be silent.
    :param activated: PCI address by VIF id; the port object need not say so
        yet.
    """

    since: float
    activated: dict[str, str]


class Activation:
    """Tells the provider where VIFs are, and the port object what it said.

    Thread-safe, for one thread at a time per pod.
    """

    def __init__(
        self,
        library: Controller,
        kubernetes: Kubernetes,
        ports: PortObjects,
        events: PodEvents,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._silences: dict[str, _Silence] = {}
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

    def list_silent(
        self, ports: Mapping[Hashable, PortObject]
    ) -> dict[str, frozenset[str]]:
        """Ids of activated VIFs, by the pod's uid, where some are silent.

        :param ports: all port objects, by the pod's uid.
        """
        with self._lock:
            for uid in self._silences.keys() - ports.keys():
                del self._silences[str(uid)]
            silent = {
                uid: frozenset(silence.activated)
                for uid, silence in self._silences.items()
            }
        unconfirmed = (port for port in ports.values() if port.is_unconfirmed)
        for port in unconfirmed:
            silent[port.pod.uid] = frozenset(port.activated)
        return silent

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
            for vif_id, pci in self._told_of(port).items()
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
            self._tell_failure(port, failure, activated)
            raise failure
        verdict: Condition | None = conditions.ACTIVATED
        if not vifs:
            verdict = conditions.NO_VIFS
        elif placed.keys() != vifs.keys():
            verdict = conditions.NOT_ATTACHED
        elif silent:
            unsure = [(vifs[each], placed[each]) for each in sorted(silent)]
            verdict = self._judge_silence(port, unsure, activated)
        if verdict is not None:
            self._write_conditions(port, verdict, activated)

    def _told_of(self, port: PortObject) -> dict[str, str]:
        """PCI address by VIF id: what the provider has been told."""
        with self._lock:
            silence = self._silences.get(port.pod.uid)
        unwritten = silence.activated if silence is not None else {}
        return {**port.activated, **unwritten}

    def _judge_silence(
        self,
        port: PortObject,
        silent: Iterable[tuple[Vif, ReportedAttachment]],
        activated: dict[str, str],
    ) -> Condition | None:
        """What to say of VIFs that the provider has not confirmed.

        None while nobody has to hear of it.
        """
        seconds = self._note_silence(port, activated)
        for vif, place in silent:
            timeout = vif.policy.active_timeout if vif.policy else None
            if timeout and seconds >= timeout:
                overdue = conditions.not_active(vif, place.location, timeout)
                self._tell(port, overdue.reason, overdue.message)
                return overdue
        if seconds < PATIENCE and _may_stay_unsaid(port):
            return None
        return conditions.UNCONFIRMED

    def _note_silence(
        self, port: PortObject, activated: dict[str, str]
    ) -> float:
        """Seconds for which the provider has been silent."""
        now = self._clock()
        with self._lock:
            silence = self._silences.setdefault(
                port.pod.uid, _Silence(now, activated)
            )
            if silence.activated != activated:
                silence.since = now
                silence.activated = activated
            return now - silence.since

    def _tell_failure(
        self,
        port: PortObject,
        failure: KuryrSriovError,
        activated: dict[str, str],
    ) -> None:
        self._tell(port, type(failure).__name__, str(failure))
        verdict = conditions.failure_of(failure)
        self._write_conditions(port, verdict, activated)

    def _tell(self, port: PortObject, reason: str, note: str) -> None:
        self._events.tell(PodEvent(port.pod, reason, note, 'ActivateVifs'))

    def _activate_vif(
        self, port: PortObject, vif: Vif, place: ReportedAttachment
    ) -> bool:
        """Whether the provider says that its traffic flows."""
        # A worker that waited for one port would keep others waiting.
        told = self._library.activate(
            port.pod, vif, place.location, wait=False
        )
        return told.active

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
        if (
            not conditions.says_all(port, wanted)
            or activated != port.activated
        ):
            ours = conditions.merge_conditions(port, wanted)
            self._ports.put(self._kubernetes.record(port.pod, ours, activated))
        if verdict.status != conditions.UNCONFIRMED.status:
            with self._lock:
                self._silences.pop(port.pod.uid, None)


def _may_stay_unsaid(port: PortObject) -> bool:
    """Whether nobody has to hear yet that the provider is silent.

    Told before, of another VF, or of a failure, the verdict on the port
    object would be wrong meanwhile.
    """
    said = port.conditions.get(ACTIVE)
    return said is None or said.says(conditions.NOT_ATTACHED)
