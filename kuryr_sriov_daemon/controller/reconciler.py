# SPDX-License-Identifier: Apache-2.0
"""What one pod needs: looked at, and done.

Whatever led here, an event, a retry or a restart, what is done follows from
the pod and its port object as they are now; so each step may be cut short.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass

from kuryr_sriov import (
    Controller,
    Kubernetes,
    KuryrSriovError,
    ObjectCache,
    Pod,
    PortObject,
    TransientError,
    Vif,
)
from kuryr_sriov_daemon.controller import conditions
from kuryr_sriov_daemon.controller.activation import Activation
from kuryr_sriov_daemon.controller.changes import ChangedVifs
from kuryr_sriov_daemon.controller.completion import Completion
from kuryr_sriov_daemon.controller.conditions import ACTIVE, REQUESTED
from kuryr_sriov_daemon.controller.pods import KeptPod
from kuryr_sriov_daemon.controller.portcache import PortObjects
from kuryr_sriov_daemon.podevents import PodEvent, PodEvents

LOG = logging.getLogger(__name__)

BRIEF = 10.0
"""Seconds: who may retry sooner is told of no trouble at first."""

FINALIZER = 'openstack.org/kuryr-sriov'


@dataclass(frozen=True, slots=True)
class View:
    """What is known of the cluster.

    :param pods: by uid.
    :param ports: by the pod's uid.
    """

    pods: ObjectCache[KeptPod]
    ports: PortObjects


class Reconciler:
    """Does what a pod needs. Thread-safe, for one thread at a time per pod.

    :param library: calls ``publish`` of this object.
    :ivar changes: of VIFs, at the provider.
    """

    def __init__(
        self,
        library: Controller,
        kubernetes: Kubernetes,
        view: View,
        events: PodEvents,
    ) -> None:
        self._library = library
        self._kubernetes = kubernetes
        self._view = view
        self._events = events
        self._completion = Completion(library, kubernetes, view.ports)
        self.changes = ChangedVifs(library, kubernetes, view.ports, events)
        self._activation = Activation(library, kubernetes, view.ports, events)
        self._lock = threading.Lock()
        self._unmet: dict[str, frozenset[Hashable]] = {}
        self._requested: dict[str, str] = {}
        self._proven_gone: set[str] = set()

    def note_deleted(self, pod_uid: str) -> None:
        """The API server has told that the pod is deleted."""
        with self._lock:
            self._unmet.pop(pod_uid, None)
            if self._view.ports.get(pod_uid) is not None:
                self._proven_gone.add(pod_uid)

    def confirm(self, vif_ids: Iterable[str]) -> None:
        """The provider says that traffic of these VIFs flows."""
        self._activation.confirm(vif_ids)

    def list_silent(
        self, ports: Mapping[Hashable, PortObject]
    ) -> dict[str, frozenset[str]]:
        """Ids of VIFs, by the pod's uid, that may not be confirmed yet."""
        return self._activation.list_silent(ports)

    def waiting_for(self, nad: Hashable) -> tuple[str, ...]:
        """Uids of pods whose request failed and that name this network."""
        with self._lock:
            return tuple(
                uid for uid, nads in self._unmet.items() if nad in nads
            )

    def reconcile(self, pod_uid: str) -> None:
        """Bring provider and port object to what the pod needs now.

        :raises KuryrSriovError: something could not be done; look again.
        """
        port = self._view.ports.get(pod_uid)
        kept = self._view.pods.get(pod_uid)
        if kept is None:
            if port is not None:
                self._look_for_pod(port)
        elif kept.ended:
            if port is not None:
                self._give_back(port)
        else:
            # A port object that was deleted by hand stays, by its finalizer,
            # and does its work until its pod is gone.
            if not kept.deleting:
                port = self._request_vifs(kept, port)
            if port is not None:
                port = self._complete_vifs(kept, port)
                self._activation.update(self.changes.publish(port))

    def publish(self, pod: Pod, vifs: tuple[Vif, ...]) -> None:
        """Hand the VIFs to the pod's node: what the library calls."""
        digest = self._requested.get(pod.uid, '')
        self._view.ports.put(self._kubernetes.publish(pod, vifs, digest))

    def _request_vifs(
        self, kept: KeptPod, port: PortObject | None
    ) -> PortObject | None:
        uid, digest = kept.pod.uid, kept.digest
        if port is not None and port.request == digest:
            return port
        if port is not None and port.attachments:
            self._tell_too_late(kept.pod)
            return port
        self._requested[uid] = digest
        try:
            vifs = self._library.request(kept.body)
        except KuryrSriovError as error:
            self._note_unmet(kept, port, error)
            raise
        finally:
            del self._requested[uid]
            # What counts is what was published; it is kept but once.
            self._library.forget(uid)
        with self._lock:
            self._unmet.pop(uid, None)
        if not vifs:
            # its node, which asks for each pod with networks, is told so
            return self._view.ports.put(
                self._kubernetes.publish(kept.pod, (), digest)
            )
        return self._view.ports.get(uid)

    def _complete_vifs(self, kept: KeptPod, port: PortObject) -> PortObject:
        try:
            return self._completion.complete(port)
        except KuryrSriovError as error:
            self._note_unmet(kept, port, error)
            raise

    def _note_unmet(
        self, kept: KeptPod, port: PortObject | None, error: KuryrSriovError
    ) -> None:
        """Tell the pod's author, its node and the operator why."""
        uid = kept.pod.uid
        with self._lock:
            again = uid in self._unmet
            self._unmet[uid] = kept.networks
        brief = isinstance(error, TransientError) and error.retry_after < BRIEF
        if brief and not again:
            return  # it may be over at the first retry
        self._events.tell(
            PodEvent(kept.pod, type(error).__name__, str(error), 'RequestVifs')
        )
        if port is None:
            port = self._view.ports.put(
                self._kubernetes.publish(kept.pod, (), '')
            )
        wanted = {REQUESTED: conditions.failure_of(error)}
        if not port.promises:
            wanted[ACTIVE] = conditions.NO_VIFS
        if not conditions.says_all(port, wanted):
            ours = conditions.merge_conditions(port, wanted)
            self._view.ports.put(
                self._kubernetes.record(port.pod, ours, port.activated)
            )

    def _tell_too_late(self, pod: Pod) -> None:
        self._events.tell(
            PodEvent(
                pod,
                'ChangeIgnored',
                'the networks annotation was changed after the VFs were '
                'attached; that has no effect on this pod: recreate it',
                'RequestVifs',
            )
        )

    def _look_for_pod(self, port: PortObject) -> None:
        """Give the VIFs back once the pod is proven to be gone.

        It may be there without an annotation: its author can take that away.
        """
        uid = port.pod.uid
        gone = uid in self._proven_gone
        if not gone:
            pod = port.pod
            body = self._kubernetes.get_pod(pod.namespace, pod.name)
            there = bool(body) and body['metadata']['uid'] == uid
            phase = (body.get('status') or {}).get('phase')
            gone = not there or phase in ('Succeeded', 'Failed')
        if gone:
            self._give_back(port)
            with self._lock:
                self._proven_gone.discard(uid)
        else:
            self._activation.update(port)

    def _give_back(self, port: PortObject) -> None:
        pod = port.pod
        if not port.deleting:
            deleted = self._kubernetes.delete_port_object(port)
            if deleted is None:
                self._view.ports.drop(pod.uid)
                deleted = port
            else:
                self._view.ports.put(deleted)
            port = deleted
        if FINALIZER in port.finalizers:
            self._library.release(pod)
            LOG.info('gave back the VIFs of pod %s', pod)
            self._kubernetes.remove_finalizer(port)
        self._view.ports.drop(pod.uid)
