# SPDX-License-Identifier: Apache-2.0
"""This node's pods and port objects, as the API server tells of them.

Both are watched, so that a request of the runtime costs no call, and a pod
without networks of ours is answered from memory.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from kuryr_sriov import (
    NETWORK_STATUS,
    Change,
    Kubernetes,
    Pod,
    PortObject,
    TransientError,
    Vif,
    pod_of,
    wants_networks,
)

STATIC = 'kubernetes.io/config.hash'
"""Annotation of a mirror pod: the uid that the runtime knows its pod by."""

ENDED = 'Succeeded', 'Failed'

T = TypeVar('T')


@dataclass(frozen=True, slots=True)
class KnownPod:
    """What is kept of a pod.

    :param runtime_uid: what the kubelet tells the runtime; a static pod has
        another uid than its mirror in the API server.
    :param network_status: the annotation of that name, as it is.
    """

    pod: Pod
    runtime_uid: str
    wants_networks: bool
    phase: str
    network_status: str
    resource_version: str

    @property
    def is_over(self) -> bool:
        """Whether its containers have ended for good."""
        return self.phase in ENDED


def keep_pod(body: Mapping[str, Any]) -> KnownPod:
    """What is kept of a pod object."""
    metadata = body['metadata']
    annotations = metadata.get('annotations') or {}
    return KnownPod(
        pod=pod_of(body),
        runtime_uid=annotations.get(STATIC, metadata['uid']),
        wants_networks=wants_networks(body),
        phase=(body.get('status') or {}).get('phase', ''),
        network_status=annotations.get(NETWORK_STATUS, ''),
        resource_version=metadata['resourceVersion'],
    )


class NodeView:
    """Follows the node's objects from ``start`` to ``stop``. Thread-safe.

    :param node_name: as Kubernetes knows the node.
    """

    def __init__(self, kubernetes: Kubernetes, node_name: str) -> None:
        self._changed = threading.Condition()  # on a lock that is reentrant
        self._by_name: dict[tuple[str, str], dict[str, KnownPod]] = {}
        self._listeners: list[Callable[[str], None]] = []
        self._pods = kubernetes.watch_pods(
            keep_pod, self._pod_changed, node_name
        )
        self._ports = kubernetes.watch_port_objects(
            self._port_changed, node_name
        )
        self._threads = [
            threading.Thread(target=cache.run, name=name, daemon=True)
            for cache, name in (
                (self._pods, 'watch-pods'),
                (self._ports, 'watch-ports'),
            )
        ]

    def start(self) -> None:
        """Begin to follow."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End it."""
        self._pods.stop()
        self._ports.stop()
        for thread in self._threads:
            thread.join()

    def add_listener(self, listener: Callable[[str], None]) -> None:
        """Call ``listener`` with the uid of each pod that changes."""
        self._listeners.append(listener)

    @property
    def is_complete(self) -> bool:
        """Whether all objects have been listed once."""
        return self._pods.is_complete and self._ports.is_complete

    @property
    def trouble(self) -> str:
        """Why what is known may be old; empty while it is not."""
        return str(self._pods.trouble or self._ports.trouble or '')

    def get_pod(self, uid: str) -> KnownPod | None:
        """The pod of that uid."""
        return self._pods.get(uid)

    def list_pods(self) -> Mapping[str, KnownPod]:
        """All pods of the node, by uid."""
        return {str(uid): pod for uid, pod in self._pods.all().items()}

    def get_port(self, uid: str) -> PortObject | None:
        """The port object of the pod of that uid."""
        return self._ports.get(uid)

    def wake_waiters(self) -> None:
        """Have those who wait look whether they still want to."""
        with self._changed:
            self._changed.notify_all()

    def find_pod(self, namespace: str, name: str, uid: str) -> KnownPod | None:
        """The pod that the runtime speaks of, if it is known.

        :param uid: as the runtime knows it; empty where it does not.
        """
        # By name too: an annotation that names another pod's uid finds
        # nobody's pod but its author's own.
        with self._changed:
            named = tuple(self._by_name.get((namespace, name), {}).values())
        return next(
            (
                known
                for known in named
                if uid in (known.pod.uid, known.runtime_uid)
                or not (uid or known.is_over)
            ),
            None,
        )

    def wait_for_pod(
        self,
        namespace: str,
        name: str,
        uid: str,
        deadline: float,
        raise_if_over: Callable[[], None],
    ) -> KnownPod:
        """The pod that the runtime speaks of; see ``find_pod``.

        :param deadline: on the monotonic clock.
        :param raise_if_over: called now and then; what it raises ends the
            wait.
        :raises TransientError: the API server did not tell of it in time.
        """

        found = self.wait_until(
            lambda: self.find_pod(namespace, name, uid),
            deadline,
            raise_if_over,
        )
        if found is None:
            raise TransientError(
                f'the API server has not told of pod {namespace}/{name} '
                f'({uid or "without uid"}) on this node'
                f'{self._trouble_suffix()}; see whether the pod is still there'
            )
        return found

    def wait_for_vifs(
        self,
        known: KnownPod,
        deadline: float,
        raise_if_over: Callable[[], None],
    ) -> tuple[Vif, ...]:
        """What the controller promised to a pod; empty for none of ours.

        :raises TransientError: nothing has been promised in time, or the
            controller says why it cannot.
        """
        uid = known.pod.uid

        def find() -> PortObject | None:
            port = self.get_port(uid)
            if port is None:
                return None
            # Without VIFs, the condition says whether there will be any.
            decided = port.promises or 'Requested' in port.conditions
            return port if decided else None

        port = self.wait_until(find, deadline, raise_if_over)
        if port is None:
            raise TransientError(
                f'the controller has promised no VIFs to pod {known.pod} '
                f'(KuryrSriovPort {known.pod.namespace}/{uid})'
                f'{self._trouble_suffix()}; see whether the controller runs, '
                'and the events of the pod'
            )
        requested = port.conditions.get('Requested')
        if requested is not None and requested.status != 'True':
            raise TransientError(
                f'the controller has no VIFs for pod {known.pod}: '
                f'{requested.message or requested.reason}'
            )
        return port.vifs

    def wait_for_active(
        self,
        uid: str,
        pcis: Mapping[str, str],
        deadline: float,
        raise_if_over: Callable[[], None],
    ) -> None:
        """Return once the provider says that traffic flows.

        :param pcis: PCI address by VIF id: what was attached. That those
            of an earlier sandbox were active means nothing.
        :raises TransientError: it has not said so in time.
        """

        def find() -> PortObject | None:
            port = self.get_port(uid)
            if port is None or 'Active' not in port.conditions:
                return None
            active = port.conditions['Active'].status == 'True'
            ours = pcis.items() <= port.activated.items()
            return port if active and ours else None

        if self.wait_until(find, deadline, raise_if_over) is None:
            port = self.get_port(uid)
            condition = port.conditions.get('Active') if port else None
            raise TransientError(
                'the VFs are attached, but their ports did not become '
                f'active{self._trouble_suffix()}: '
                f'{condition.message if condition else "nothing is known"}'
            )

    def wait_until(
        self,
        find: Callable[[], T | None],
        deadline: float,
        raise_if_over: Callable[[], None],
    ) -> T | None:
        """What ``find`` finds, as soon as it does; None after the deadline."""
        with self._changed:
            while (found := find()) is None:
                raise_if_over()
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(min(left, 1.0))  # to look in between
            return found

    def _trouble_suffix(self) -> str:
        return f' ({self.trouble})' if self.trouble else ''

    def _pod_changed(self, change: Change[KnownPod]) -> None:
        with self._changed:
            if change.old is not None:
                pod = change.old.pod
                named = self._by_name[pod.namespace, pod.name]
                del named[pod.uid]
                if not named:
                    del self._by_name[pod.namespace, pod.name]
            if change.new is not None:
                pod = change.new.pod
                named = self._by_name.setdefault((pod.namespace, pod.name), {})
                named[pod.uid] = change.new
            self._changed.notify_all()
        self._tell_listeners(str(change.key))

    def _port_changed(self, change: Change[PortObject]) -> None:
        self.wake_waiters()
        self._tell_listeners(str(change.key))

    def _tell_listeners(self, uid: str) -> None:
        for listener in self._listeners:
            listener(uid)
