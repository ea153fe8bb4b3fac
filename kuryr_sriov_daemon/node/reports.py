# SPDX-License-Identifier: Apache-2.0
"""What the node has attached, told to the API server.

What is told is made of the ledger each time, and compared with what the API
server has: several changes of a pod make one report, and one that a killed
daemon owes is made by its successor.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from kuryr_sriov import (
    AttachedVif,
    Attachment,
    Condition,
    Kubernetes,
    Node,
    Pod,
    PortObject,
    ReportedAttachment,
    network_status,
)
from kuryr_sriov_daemon.node.node_view import KnownPod, NodeView
from kuryr_sriov_daemon.workqueue import WorkQueue

LOG = logging.getLogger(__name__)


class StatusReports:
    """Reports by pod, in a thread of its own.

    :param annotate: whether the annotation ``network-status`` is ours to
        write; where we are a delegate, Multus writes it.
    """

    def __init__(
        self,
        node: Node,
        view: NodeView,
        kubernetes: Kubernetes,
        annotate: bool,
    ) -> None:
        self._node = node
        self._view = view
        self._kubernetes = kubernetes
        self._annotate = annotate
        # A pod's port is not active before its report is there.
        self._queue: WorkQueue[str] = WorkQueue(
            longest_pause=10.0, permanent_pause=5.0
        )
        self._drifts: Mapping[tuple[str, str], str] = {}
        self._thread = threading.Thread(
            target=self._queue.serve, args=[self._report_pod], name='reports'
        )

    def start(self) -> None:
        """Report from now on; first of all pods that have VFs."""
        self._view.add_listener(self._pod_changed)
        for record in self._node.attachments():
            self.report(record.sandbox.pod)
        self._thread.start()

    def stop(self) -> None:
        """End it; what is owed is left to the next start."""
        self._queue.close()
        self._thread.join()

    def report(self, pod: Pod) -> None:
        """Tell what is attached for a pod, soon."""
        self._queue.put(pod.uid)

    def set_drifts(self, drifts: Mapping[tuple[str, str], str]) -> None:
        """What CHECK has found: a sentence for each record's key."""
        changed = set(drifts.items()) ^ set(self._drifts.items())
        keys = {key for key, _ in changed}
        self._drifts = dict(drifts)
        for record in self._node.attachments():
            if record.key in keys:
                self.report(record.sandbox.pod)

    def _pod_changed(self, uid: str) -> None:
        port = self._view.get_port(uid)
        if port is not None and (port.promises or port.attachments):
            self._queue.put(uid)

    def _report_pod(self, uid: str) -> None:
        port = self._view.get_port(uid)
        if port is None:
            return  # nobody is left to be told, or it is not known yet
        records = {
            record.vif.ifname: record
            for record in self._node.attachments(pod_uid=uid)
            if record.done
        }
        attached = {
            ifname: self._node.describe(record)
            for ifname, record in records.items()
        }
        told = {one.interface: one for one in port.attachments}
        attachments = [
            self._report_of(record, attached[ifname], told.get(ifname))
            for ifname, record in records.items()
        ]
        condition = _attached_condition(port, attachments)
        before = port.conditions.get('Attached')
        if before is None and not attachments:
            return  # its ADD has not come yet, which is no news
        if tuple(attachments) != port.attachments or not condition.says(
            before
        ):
            kept = before and before.status == condition.status
            since = before.since if before and kept else _now_text()
            condition = dataclasses.replace(condition, since=since)
            self._kubernetes.report(port.pod, attachments, condition)
        known = self._view.get_pod(uid)
        if self._annotate and known is not None and not known.is_over:
            self._write_network_status(known, port, list(attached.values()))

    def _report_of(
        self,
        record: Attachment,
        attached: AttachedVif,
        told: ReportedAttachment | None,
    ) -> ReportedAttachment:
        same = (
            told is not None
            and told.vif_id == record.vif.id
            and told.location.pci_slot == record.pci
        )
        return ReportedAttachment(
            interface=record.vif.ifname,
            vif_id=record.vif.id,
            location=attached.location,
            driver=record.driver,
            pf=record.pf,
            attached_at=told.attached_at if told and same else _now_text(),
            message=self._drifts.get(record.key, ''),
        )

    def _write_network_status(
        self,
        known: KnownPod,
        port: PortObject,
        attached: Sequence[AttachedVif],
    ) -> None:
        ours = {vif.ifname for vif in port.vifs}
        before = _read_status(known.network_status)
        others = [one for one in before if one.get('interface') not in ours]
        status = [*others, *network_status(attached)]
        if status != before:
            # Others write it as well (Multus); a change since this was read
            # makes the API server refuse it.
            self._kubernetes.patch_network_status(
                known.pod, status, known.resource_version
            )


def _attached_condition(
    port: PortObject, attachments: Sequence[ReportedAttachment]
) -> Condition:
    """The condition Attached."""
    drifted = [one.message for one in attachments if one.message]
    if drifted:
        return Condition('False', 'Drifted', '; '.join(drifted))
    there = {one.interface for one in attachments}
    missing = [vif.ifname for vif in port.vifs if vif.ifname not in there]
    if not there:
        return Condition('False', 'NotAttached', 'no VF is in the pod')
    if missing:
        return Condition(
            'False', 'Incomplete', f'without a VF: {", ".join(missing)}'
        )
    return Condition('True', 'Attached')


def _read_status(text: str) -> list[Mapping[str, Any]]:
    """The objects in a ``network-status``, which anybody may have written."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return []
    items = found if isinstance(found, list) else []
    return [item for item in items if isinstance(item, dict)]


def _now_text() -> str:
    return datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')
