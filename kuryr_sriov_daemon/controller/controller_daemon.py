# SPDX-License-Identifier: Apache-2.0
"""The controller's process: waits to lead, then works until it ends."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from prometheus_client import CollectorRegistry

from kuryr_sriov import (
    Change,
    ConfigurationError,
    Controller,
    Kubernetes,
    KubernetesSession,
    KuryrSriovError,
    ObjectCache,
    Pod,
    PortObject,
)
from kuryr_sriov_daemon.controller.controller_metrics import ControllerMetrics
from kuryr_sriov_daemon.controller.pods import KeptPod, keep_pod
from kuryr_sriov_daemon.controller.portcache import PortObjects
from kuryr_sriov_daemon.controller.reconciler import Reconciler, View
from kuryr_sriov_daemon.health import HealthServer
from kuryr_sriov_daemon.leadership import Leadership, Timing
from kuryr_sriov_daemon.podevents import PodEvents
from kuryr_sriov_daemon.workqueue import WorkQueue

LOG = logging.getLogger(__name__)

NAME = 'kuryr-sriov-controller'

DRAIN = 20.0
"""Seconds for the work under way when the process is told to end."""

PERMANENT_PAUSE = 30.0
"""Seconds before what somebody has to change first is tried again."""


def keep_nad(body: Mapping[str, Any]) -> Mapping[str, Any]:
    """What our library reads of a NetworkAttachmentDefinition."""
    metadata = body['metadata']
    annotations = {
        key: value
        for key, value in (metadata.get('annotations') or {}).items()
        if key.startswith(('k8s.v1.cni.cncf.io/', 'openstack.org/'))
    }
    kept = {key: metadata[key] for key in ('namespace', 'name')}
    return {'metadata': {**kept, 'annotations': annotations}}


class ControllerDaemon:
    """One replica.

    :param conf: from ``load_config``, with the daemon's sections.
    :param identity: differs between all replicas, also after a restart.
    """

    _library: Controller
    _reconciler: Reconciler

    def __init__(self, conf: Any, identity: str) -> None:
        own = conf.sriov_controller
        self._conf = conf
        self._kubernetes = Kubernetes(self._make_session(timeout=10.0))
        self._leadership = Leadership(
            # two attempts of it fit into the time that a leader has
            self._make_session(timeout=own.lease_duration / 5),
            own.lease_namespace,
            own.lease_name,
            identity,
            _timing_of(own.lease_duration),
        )
        self._queue: WorkQueue[str] = WorkQueue(
            permanent_pause=PERMANENT_PAUSE, workers=own.workers
        )
        self._events = PodEvents(self._kubernetes.session, NAME, identity)
        self._ports = PortObjects()
        self._pods = self._kubernetes.watch_pods(keep_pod, self._pod_changed)
        self._nads = self._kubernetes.watch_nads(keep_nad, self._nad_changed)
        self._watched_ports = self._kubernetes.watch_port_objects(
            self._port_changed
        )
        self._ports.read_from(self._watched_ports)
        self._over = threading.Event()
        self._told_to_end = False
        self._working = False
        self._threads: list[threading.Thread] = []
        registry = CollectorRegistry()
        self._metrics = ControllerMetrics(registry)
        self._add_gauges()
        self.health = HealthServer(
            (own.http_host, own.http_port),
            registry,
            live=[self._what_hangs],
            ready=[self._what_is_missing],
        )

    def run(self) -> int:
        """Lead when it is this replica's turn; the exit status at the end.

        :raises ConfigurationError: listing every mistake in kuryr.conf.
        """
        self.health.start()
        self._start_thread('events', self._events.run)
        try:
            if self._load_drivers() and self._leadership.wait_for_lease():
                self._start_thread('lease', self._keep_lease)
                self._work_as_leader()
        finally:
            self._shut_down()
        if self._told_to_end:
            return 0
        LOG.error(
            'the lease is lost: this process ends, so that nothing is done '
            'by two replicas'
        )
        return 1

    def stop(self) -> None:
        """End ``run``; what is under way is finished first."""
        self._told_to_end = True
        self._leadership.stop()
        self._over.set()

    def _load_drivers(self) -> bool:
        """Make the library's controller; False where it is to end first."""
        while not self._over.is_set():
            try:
                cluster_uid = self._kubernetes.get_cluster_uid()
            except ConfigurationError:
                raise
            except KuryrSriovError as error:
                LOG.warning('%s', error)
                self._over.wait(2.0)
                continue
            self._library = Controller(
                self._conf,
                self._get_nad,
                self._publish_vifs,
                cluster_uid=cluster_uid,
                observe=self._metrics.observe,
            )
            self._reconciler = Reconciler(
                self._library,
                self._kubernetes,
                View(self._pods, self._ports),
                self._events,
            )
            return True
        return False

    def _work_as_leader(self) -> None:
        self._library.gain_leadership()
        caches: dict[str, ObjectCache[Any]] = {
            'pods': self._pods,
            'networks': self._nads,
            'port objects': self._watched_ports,
        }
        for name, cache in caches.items():
            self._start_thread(f'watch {name}', cache.run)
        for cache in caches.values():
            while not cache.wait_complete(0.2):
                if self._over.is_set():
                    return
        LOG.info(
            'knows %d pods with networks, %d networks, %d port objects',
            *(len(cache) for cache in caches.values()),
        )
        self._working = True
        for number in range(self._conf.sriov_controller.workers):
            self._start_thread(f'worker {number}', self._serve_queue)
        self._start_thread('orphans', self._look_for_orphans)
        self._start_thread('confirm', self._confirm_silent_vifs)
        self._start_thread('changes', self._look_for_changes)
        self._over.wait()

    def _keep_lease(self) -> None:
        self._leadership.renew_until_lost()
        self._over.set()

    def _shut_down(self) -> None:
        """Finish what is under way, if that may still be done."""
        self._over.set()
        self._queue.close()
        deadline = time.monotonic() + DRAIN
        for thread in self._threads:
            if thread.name.startswith('worker') and self._told_to_end:
                thread.join(max(0.0, deadline - time.monotonic()))
        for cache in (self._pods, self._nads, self._watched_ports):
            cache.stop()
        self._leadership.stop()
        if self._told_to_end:
            self._events.stop()
            for thread in self._threads:
                thread.join(max(0.0, deadline - time.monotonic()))
            self._leadership.give_up()
        self.health.stop()

    def _serve_queue(self) -> None:
        self._queue.serve(self._reconcile_pod, self._metrics.observe_pod)

    def _reconcile_pod(self, uid: str) -> None:
        if self._leadership.is_leader():
            self._reconciler.reconcile(uid)

    def _look_for_orphans(self) -> None:
        period = self._conf.sriov_controller.orphan_period
        while not self._over.is_set() and self._leadership.is_leader():
            try:
                gone = self._library.collect_orphans(self._is_there)
                self._metrics.orphans.inc(len(gone))
                if gone:
                    LOG.warning('gave back orphaned VIFs: %s', ', '.join(gone))
            except KuryrSriovError as error:
                LOG.warning('orphans: %s', error)
            for uid in self._watched_ports.all():
                if self._pods.get(uid) is None:
                    self._put_pod(str(uid))
            self._over.wait(period)

    def _is_there(self, pod: Pod) -> bool:
        """Whether a pod may need its VIFs; the API server is asked at last.

        A copy that is old errs on the side of the pod.
        """
        kept = self._pods.get(pod.uid)
        if kept is not None:
            return not kept.ended
        return self._kubernetes.is_pod_there(pod)

    def _confirm_silent_vifs(self) -> None:
        """Ask the provider for those that it has not confirmed."""
        period = self._conf.sriov_controller.confirm_period
        while not self._over.wait(period) and self._leadership.is_leader():
            silent = self._reconciler.list_silent(self._watched_ports.all())
            if not silent:
                continue
            vif_ids = frozenset[str]().union(*silent.values())
            try:
                self._reconciler.confirm(self._library.find_active(vif_ids))
            except KuryrSriovError as error:
                LOG.warning('unconfirmed VIFs: %s', error)
            for uid in silent:
                self._put_pod(uid)  # which may have been silent for long

    def _look_for_changes(self) -> None:
        """Have nodes and pods hear of VIFs changed at the provider."""
        period = self._conf.sriov_controller.changes_period
        while not self._over.wait(period) and self._leadership.is_leader():
            try:
                changed = self._reconciler.changes.look(
                    self._watched_ports.all().values()
                )
            except KuryrSriovError as error:
                LOG.warning('changed VIFs: %s', error)
                continue
            for uid in changed:
                self._put_pod(uid)

    def _pod_changed(self, change: Change[KeptPod]) -> None:
        uid = str(change.key)
        if change.deleted:
            self._reconciler.note_deleted(uid)
        if change.new is not None or self._ports.get(uid) is not None:
            self._put_pod(uid)

    def _port_changed(self, change: Change[PortObject]) -> None:
        self._ports.take_in(change)
        self._put_pod(str(change.key))

    def _nad_changed(self, change: Change[Mapping[str, Any]]) -> None:
        for uid in self._reconciler.waiting_for(change.key):
            self._put_pod(uid)

    def _put_pod(self, uid: str) -> None:
        """Have a worker look at it, beside others of the same networks."""
        self._queue.put(uid, lane=self._lane_of(uid))

    def _lane_of(self, uid: str) -> Hashable:
        """What hangs if the pod does: its networks.

        Those of a pod that is gone are named by its port object. They are
        another lane: where ports cannot be made they may well be deleted.
        """
        kept = self._pods.get(uid)
        if kept is not None:
            return kept.networks
        port = self._ports.get(uid)
        return 'gone', port.networks if port is not None else None

    def _get_nad(self, namespace: str, name: str) -> Mapping[str, Any]:
        key: Hashable = (namespace, name)
        kept = self._nads.get(key)
        # made so recently that the watch has not told it yet, or not there
        return kept or self._kubernetes.get_nad(namespace, name)

    def _publish_vifs(self, pod: Pod, vifs: Any) -> None:
        self._reconciler.publish(pod, vifs)

    def _make_session(self, timeout: float) -> KubernetesSession:
        own = self._conf.sriov_daemon
        return KubernetesSession(
            own.api_root, own.kubeconfig, timeout=timeout, user_agent=NAME
        )

    def _start_thread(self, name: str, target: Callable[[], None]) -> None:
        # A daemon thread: one that hangs does not keep the process alive.
        thread = threading.Thread(target=target, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _what_hangs(self) -> str:
        if not self._leadership.is_alive():
            return 'the lease has not been looked at for minutes'
        dead = [t.name for t in self._threads if not t.is_alive()]
        if dead and not self._over.is_set():
            return f'threads ended: {", ".join(dead)}'
        return ''

    def _what_is_missing(self) -> str:
        if self._over.is_set():
            return 'about to end'
        if self._leadership.is_leader() and not self._working:
            return 'reading pods, networks and port objects'
        return ''

    def _add_gauges(self) -> None:
        gauge = self._metrics.add_gauge
        gauge(
            'leader',
            'Whether this replica acts.',
            lambda: float(self._leadership.is_leader()),
        )
        gauge(
            'queue_depth',
            'Pods that are due and wait for a worker.',
            lambda: float(self._queue.depth()),
        )
        gauge(
            'queue_wait_seconds',
            'For how long the first of them has been due.',
            self._queue.longest_wait,
        )
        gauge('pods', 'Pods with networks.', lambda: float(len(self._pods)))
        gauge(
            'port_objects',
            'Port objects.',
            lambda: float(len(self._watched_ports)),
        )
        gauge(
            'changed_vifs',
            'VIFs that were changed at the provider since they were attached.',
            lambda: (
                float(self._reconciler.changes.count) if self._working else 0.0
            ),
        )
        gauge(
            'events_dropped',
            'Events that were too many to be written.',
            lambda: float(self._events.dropped),
        )


def _timing_of(duration: float) -> Timing:
    return Timing(duration, duration * 2 / 3, duration / 7.5)
