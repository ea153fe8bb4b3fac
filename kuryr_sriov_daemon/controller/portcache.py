# SPDX-License-Identifier: Apache-2.0
"""The port objects as they are now, our own last writes included."""

from __future__ import annotations

import threading

from kuryr_sriov import Change, ObjectCache, PortObject


class PortObjects:
    """What was watched, or written since: whichever is newer. Thread-safe.

    Without it a worker that looks at a pod again, before the watch has told
    what it wrote, would write that again.
    """

    def __init__(self) -> None:
        self._watched: ObjectCache[PortObject] | None = None
        self._written: dict[str, PortObject] = {}
        self._gone: set[str] = set()
        self._lock = threading.Lock()

    def read_from(self, watched: ObjectCache[PortObject]) -> None:
        """Say where the watched ones are."""
        self._watched = watched

    def get(self, pod_uid: str) -> PortObject | None:
        """The pod's port object; None for none."""
        watched = self._watched.get(pod_uid) if self._watched else None
        with self._lock:
            written = self._written.get(pod_uid)
            gone = pod_uid in self._gone
        if gone:
            return None
        if written is None:
            return watched
        if watched is None or _is_newer(written, watched):
            return written
        return watched

    def put(self, port: PortObject) -> PortObject:
        """Remember what was written, as the API server answered it."""
        with self._lock:
            self._gone.discard(port.pod.uid)
            self._written[port.pod.uid] = port
        return port

    def drop(self, pod_uid: str) -> None:
        """The object is gone, whatever the watch still has of it."""
        with self._lock:
            self._written.pop(pod_uid, None)
            if self._watched is not None and self._watched.get(pod_uid):
                self._gone.add(pod_uid)

    def take_in(self, change: Change[PortObject]) -> None:
        """Forget what was written once the watch has it."""
        uid = str(change.key)
        with self._lock:
            if change.new is None:
                self._gone.discard(uid)
            written = self._written.get(uid)
            if written is None:
                return
            if change.new is None:
                # The deletion of a predecessor may be told only now, but
                # then its successor's write is told as well.
                if change.deleted:
                    del self._written[uid]
            elif not _is_newer(written, change.new):
                del self._written[uid]


def _is_newer(port: PortObject, other: PortObject) -> bool:
    # etcd's revisions, which Kubernetes 1.35 declares to be comparable
    return int(port.resource_version or 0) > int(other.resource_version or 0)
