# SPDX-License-Identifier: Apache-2.0
"""Kubernetes Events on pods: what their authors and operators must know."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from kuryr_sriov import (
    KubernetesSession,
    KuryrSriovError,
    Pod,
    ResourceConflict,
    create_event,
    patch_event,
)

LOG = logging.getLogger(__name__)

QUIET = 300.0
"""Seconds for which the same event of the same pod is not told again."""

LONGEST_NOTE = 1024
"""Bytes; the API server refuses more."""

MOST_WAITING = 1000
MOST_REMEMBERED = 10000

Kind = Literal['Normal', 'Warning']


@dataclass(frozen=True, slots=True)
class PodEvent:
    """What happened to a pod.

    :param reason: one word in CamelCase.
    :param note: a sentence; cut off at 1 KiB.
    :param action: what was tried, one word.
    """

    pod: Pod
    reason: str
    note: str
    action: str
    kind: Kind = 'Warning'

    @property
    def name(self) -> str:
        """The same for the same event, so that a restart counts on."""
        text = f'{self.pod.uid} {self.reason} {self.note}'
        digest = hashlib.sha256(text.encode()).hexdigest()[:16]
        # Names have 253 characters at most.
        return f'{self.pod.name[:230]}.{digest}'


class PodEvents:
    """Writes events in a thread of its own; nobody waits for it.

    An event that was told within the last five minutes is not told again,
    and then it counts up the one there is.

    :param controller: who reports, ``kuryr-sriov-controller``.
    :param instance: which of them, such as its pod or node.
    :ivar dropped: how many were lost, for there were too many.
    """

    def __init__(
        self, session: KubernetesSession, controller: str, instance: str
    ) -> None:
        self._session = session
        self._controller = controller
        self._instance = instance
        self._waiting: deque[PodEvent] = deque()
        self._told: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._changed = threading.Condition()
        self._stopping = False
        self.dropped = 0

    def tell(self, event: PodEvent) -> None:
        """Have it written, soon."""
        now = time.monotonic()
        with self._changed:
            told, count = self._told.get(event.name, (now - QUIET, 0))
            if now - told < QUIET:
                return
            if len(self._waiting) >= MOST_WAITING:
                self.dropped += 1
                return
            self._told[event.name] = now, count + 1
            self._told.move_to_end(event.name)
            if len(self._told) > MOST_REMEMBERED:
                self._told.popitem(last=False)
            self._waiting.append(event)
            self._changed.notify()

    def run(self) -> None:
        """Write what is told, until ``stop``; the rest is written then."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                event = self._waiting.popleft()
                count = self._told.get(event.name, (0.0, 1))[1]
            try:
                self._write_event(event, count)
            except KuryrSriovError as error:
                LOG.warning(
                    'event %s of %s: %s', event.reason, event.pod, error
                )

    def stop(self) -> None:
        """End ``run``."""
        with self._changed:
            self._stopping = True
            self._changed.notify()

    def _write_event(self, event: PodEvent, count: int) -> None:
        now = datetime.now(UTC).strftime('%Y-%m-%dT%H:%M:%S.%fZ')
        if count == 1:
            try:
                create_event(self._session, self._event_body(event, now))
                return
            except ResourceConflict:
                pass  # an earlier process has told it
        # events.k8s.io counts repetitions in a series, from 2 on.
        series = {'count': max(2, count), 'lastObservedTime': now}
        if not patch_event(
            self._session, event.pod.namespace, event.name, {'series': series}
        ):
            create_event(self._session, self._event_body(event, now))

    def _event_body(self, event: PodEvent, now: str) -> dict[str, object]:
        pod = event.pod
        note = event.note.encode()[:LONGEST_NOTE].decode(errors='ignore')
        return {
            'metadata': {'namespace': pod.namespace, 'name': event.name},
            'eventTime': now,
            'reportingController': self._controller,
            # The API server's limit.
            'reportingInstance': self._instance[:128],
            'action': event.action,
            'reason': event.reason,
            'type': event.kind,
            'note': note,
            'regarding': {
                'apiVersion': 'v1',
                'kind': 'Pod',
                'namespace': pod.namespace,
                'name': pod.name,
                'uid': pod.uid,
            },
        }
