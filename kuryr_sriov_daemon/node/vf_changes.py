# SPDX-License-Identifier: Apache-2.0
"""Running VFs follow what the controller publishes of their VIFs."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Iterator

from kuryr_sriov import Attachment, KuryrSriovError, Node, Vif
from kuryr_sriov_daemon.node.node_view import NodeView
from kuryr_sriov_daemon.podevents import PodEvent
from kuryr_sriov_daemon.workqueue import WorkQueue

LOG = logging.getLogger(__name__)

CHANGED, NOT_CHANGED = 'VfChanged', 'VfNotChanged'
ACTION = 'ChangeSettings'


class VfChanges:
    """Compares the VFs of a pod with its port object whenever that changes.

    What a killed daemon has left half-way, its successor finishes. It works
    in a thread of its own.

    :param tell: has an event written on a pod.
    :param longest_pause: seconds between two attempts, at most.
    """

    def __init__(
        self,
        node: Node,
        view: NodeView,
        tell: Callable[[PodEvent], None],
        longest_pause: float,
    ) -> None:
        self._node = node
        self._view = view
        self._tell = tell
        self._queue: WorkQueue[str] = WorkQueue(longest_pause=longest_pause)
        self._thread = threading.Thread(
            target=self._queue.serve,
            args=[self._change_vfs],
            name='vf-changes',
        )

    def start(self) -> None:
        """Begin; first with all pods that have VFs."""
        self._view.add_listener(self._pod_changed)
        for record in self._node.attachments():
            self._queue.put(record.sandbox.pod.uid)
        self._thread.start()

    def stop(self) -> None:
        """End it after what it is at."""
        self._queue.close()
        self._thread.join()

    def _pod_changed(self, uid: str) -> None:
        port = self._view.get_port(uid)
        if port is not None and port.attachments:
            self._queue.put(uid)

    def _change_vfs(self, uid: str) -> None:
        """Change each VF that lags behind; raise the first failure."""
        port = self._view.get_port(uid)
        if port is None or port.deleting:
            return
        failures = []
        promised = {vif.id: vif for vif in port.vifs}
        for record in self._node.attachments(pod_uid=uid):
            newer = promised.get(record.vif.id)
            if newer is None:
                continue
            try:
                self._change_vf(record, newer)
            except KuryrSriovError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def _change_vf(self, record: Attachment, newer: Vif) -> None:
        what = ' and '.join(_list_changes(record, newer))
        pod, ifname = record.sandbox.pod, record.vif.ifname
        try:
            changed = self._node.change_settings(record, newer)
        except KuryrSriovError as error:
            note = (
                f'{ifname}: {what}, by the network provider; VF {record.pci} '
                f'does not follow: {error}; it is tried again'
            )
            self._tell(PodEvent(pod, NOT_CHANGED, note, ACTION))
            raise
        if changed:
            note = f'{ifname}: {what} on VF {record.pci}'
            self._tell(PodEvent(pod, CHANGED, note, ACTION, 'Normal'))


def _list_changes(record: Attachment, newer: Vif) -> Iterator[str]:
    before = record.vif
    after = before.adopt_settings(newer)
    if before == after:
        yield 'as before a change that was not finished'
    for field in dataclasses.fields(before):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if old != new:
            yield (f'{field.name} is {_describe(new)}, was {_describe(old)}')


def _describe(value: object) -> str:
    return 'unset' if value is None else str(value)
