# SPDX-License-Identifier: Apache-2.0
"""Periodic work: lost DELs are made good, and VFs are checked."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping

from kuryr_sriov import (
    Attachment,
    KuryrSriovError,
    Node,
    Pod,
    TransientError,
)
from kuryr_sriov_daemon.node.drift_watch import DriftWatch
from kuryr_sriov_daemon.node.node_view import NodeView
from kuryr_sriov_daemon.node.reports import StatusReports
from kuryr_sriov_daemon.podevents import PodEvent

LOG = logging.getLogger(__name__)

COUNT_EVERY = 60.0
"""Seconds; VFs come and go with the device plugin, not with pods."""

SOON = 5.0
"""Seconds from a request to reconcile until it is done."""


class Upkeep:
    """Reconciles and checks, in a thread of its own.

    :param drift_watch: compares VFs with their records.
    :param tell: has an event written on a pod.
    :param reconcile_every: seconds; so is ``check_every``.
    :ivar drifts: what the last check has found, by the records' keys.
    :ivar owed: why a record could not be restored, by the records' keys.
    :ivar offered: the VFs that the kubelet offers, by resource.
    :ivar without_vfs: pods that run without the VFs they were promised.
    """

    def __init__(
        self,
        node: Node,
        drift_watch: DriftWatch,
        view: NodeView,
        reports: StatusReports,
        tell: Callable[[PodEvent], None],
        reconcile_every: float,
        check_every: float,
    ) -> None:
        self._node = node
        self._drift_watch = drift_watch
        self._view = view
        self._reports = reports
        self._tell = tell
        self._every: Mapping[Callable[[], None], float] = {
            self.reconcile: reconcile_every,
            self.check: check_every,
            self.count_offered: COUNT_EVERY,
        }
        now = time.monotonic()
        self._due = {task: now + every for task, every in self._every.items()}
        self._due[self.count_offered] = now
        self._changed = threading.Condition()
        self._stopping = False
        self.drifts: Mapping[tuple[str, str], str] = {}
        self.owed: Mapping[tuple[str, str], str] = {}
        self.offered: Mapping[str, frozenset[str]] = {}
        self.without_vfs: tuple[Pod, ...] = ()
        self._thread = threading.Thread(target=self._run_tasks, name='upkeep')

    def start(self) -> None:
        """Begin; VFs are counted at once, all else is due after its period."""
        self._thread.start()

    def stop(self) -> None:
        """End it after what it is at."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def reconcile_soon(self) -> None:
        """Reconcile soon."""
        with self._changed:
            due = self._due[self.reconcile], time.monotonic() + SOON
            self._due[self.reconcile] = min(due)
            self._changed.notify()

    def reconcile(self) -> None:
        """Give back what a crash, a reboot or a lost DEL left."""
        done = self._node.reconcile()
        self.owed = {
            (each.container_id, each.ifname): str(each.error)
            for each in done.failed
        }
        for record in done.restored:
            self._reports.report(record.sandbox.pod)
        for record in self._node.attachments() if self.owed else ():
            if record.key in self.owed:
                why = self.owed[record.key]
                self._tell_pod(record, 'VfNotRestored', why, 'Restore')

    def count_offered(self) -> None:
        """Ask the kubelet which VFs there are."""
        self.offered = self._node.list_offered()

    def check(self) -> None:
        """Compare every VF with its record, and pods with their promises."""
        drifts = {}
        records = self._node.attachments()
        self._drift_watch.forget_others(
            {record.sandbox.container_id for record in records}
        )
        for record in records:
            if not record.done:
                continue
            try:
                self._drift_watch.check(*record.key)
            except TransientError as error:
                LOG.info('%s: %s', record.sandbox.pod, error)
            except KuryrSriovError as error:
                drifts[record.key] = str(error)
                if self._is_on_record(record):
                    self._tell_pod(record, 'VfDrifted', str(error), 'Check')
                else:
                    del drifts[record.key]
        self.drifts = drifts
        self._reports.set_drifts(drifts)
        self._look_for_pods_without_vfs()

    def _is_on_record(self, record: Attachment) -> bool:
        """Whether it was not given back meanwhile."""
        left = self._node.attachments(container_id=record.sandbox.container_id)
        return any(record.key == each.key for each in left)

    def _look_for_pods_without_vfs(self) -> None:
        """Pods that were started while this plugin was not in the list."""
        served = {
            record.sandbox.pod.uid for record in self._node.attachments()
        }
        without = []
        for uid, known in self._view.list_pods().items():
            port = self._view.get_port(uid)
            if (
                known.phase == 'Running'
                and uid not in served
                and port is not None
                and port.promises
                and not port.deleting
            ):
                without.append(known.pod)
        self.without_vfs = tuple(without)
        for pod in without:
            self._tell(
                PodEvent(
                    pod,
                    'RunsWithoutVfs',
                    'the pod was started without its VFs: this plugin was '
                    "not in the node's CNI configuration then; recreate the "
                    'pod',
                    'Check',
                )
            )

    def _tell_pod(
        self, record: Attachment, reason: str, note: str, action: str
    ) -> None:
        self._tell(PodEvent(record.sandbox.pod, reason, note, action))

    def _run_tasks(self) -> None:
        while True:
            with self._changed:
                task = min(self._due, key=lambda task: self._due[task])
                while not self._stopping:
                    left = self._due[task] - time.monotonic()
                    if left <= 0:
                        break
                    self._changed.wait(left)
                    task = min(self._due, key=lambda task: self._due[task])
                if self._stopping:
                    return
                self._due[task] = time.monotonic() + self._every[task]
            try:
                task()
            except KuryrSriovError as error:
                LOG.error('%s', error)
            except Exception:
                LOG.exception('upkeep')
