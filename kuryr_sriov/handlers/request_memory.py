# SPDX-License-Identifier: Apache-2.0
"""Answers to pods' requests, so that an unchanged pod costs nothing."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kuryr_sriov import model
from kuryr_sriov.npwg.requests import NETWORKS, requested_devices

T = TypeVar('T')

MOST = 65536
"""Pods that are remembered; to forget one costs no more than a look."""


class _Recent(Generic[T]):
    """The latest values by pod uid. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._values: OrderedDict[str, T] = OrderedDict()

    def get(self, uid: str) -> T | None:
        with self._lock:
            return self._values.get(uid)

    def put(self, uid: str, value: T) -> None:
        with self._lock:
            self._values[uid] = value
            self._values.move_to_end(uid)
            if len(self._values) > MOST:
                self._values.popitem(last=False)

    def drop(self, uid: str) -> None:
        with self._lock:
            self._values.pop(uid, None)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


@dataclass(frozen=True, slots=True)
class Answered:
    """A request that succeeded.

    :param digest: of what it depended on.
    """

    digest: bytes
    vifs: tuple[model.Vif, ...]


class RequestMemory:
    """Answered requests and released pods, by uid. Thread-safe.

    A uid never comes back: a request for a released pod is one of an event
    that was seen late.
    """

    def __init__(self) -> None:
        self._answered: _Recent[Answered] = _Recent()
        self._released: _Recent[bool] = _Recent()

    def find(self, uid: str) -> Answered | None:
        """The pod's last answer."""
        return self._answered.get(uid)

    def remember(self, uid: str, answered: Answered) -> None:
        """Keep the pod's answer."""
        self._answered.put(uid, answered)

    def update_vif(self, uid: str, vif: model.Vif) -> None:
        """Keep what has become of one of the pod's VIFs."""
        answered = self._answered.get(uid)
        if answered is not None:
            vifs = tuple(
                vif if one.id == vif.id else one for one in answered.vifs
            )
            self._answered.put(uid, Answered(answered.digest, vifs))

    def forget(self, uid: str) -> None:
        """Look at the pod again when it is asked for next."""
        self._answered.drop(uid)

    def note_release(self, uid: str) -> None:
        """The pod is released, now or in a moment."""
        self._released.put(uid, True)
        self._answered.drop(uid)

    def is_released(self, uid: str) -> bool:
        """Whether the pod was released; it is not asked for again."""
        return bool(self._released.get(uid))

    def clear(self) -> None:
        """Forget everything: others may have acted meanwhile."""
        self._answered.clear()
        self._released.clear()


def digest_of(body: Mapping[str, Any]) -> bytes:
    """A digest of all that a pod's request depends on, except the NADs.

    A pod that has its VIFs does not get others when a NAD is edited: it may
    be running on them.
    """
    metadata = body['metadata']
    parts = [
        (metadata.get('annotations') or {}).get(NETWORKS, ''),
        (body.get('spec') or {}).get('nodeName') or '',
        requested_devices(body),
    ]
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
