# SPDX-License-Identifier: Apache-2.0
"""The kubelet's device allocations, from its PodResources service.

Follows ``k8s.io/kubelet/pkg/apis/podresources`` v1 and v1alpha1: gRPC on
the unix socket ``<kubelet_root_dir>/pod-resources/kubelet.sock``. The
kubelet lists app containers and sidecars; what only a plain init container
has is not in its answers, and neither is a pod's UID.
"""

from __future__ import annotations

import os
import random
import time
import urllib.parse
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import grpc

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations import base
from kuryr_sriov.allocations.podresources_messages import message_classes
from kuryr_sriov.host import wait

GET = '/v1.PodResourcesLister/Get'
LIST = '/v1.PodResourcesLister/List'
LIST_V1ALPHA1 = '/v1alpha1.PodResourcesLister/List'
ALLOCATABLE = '/v1.PodResourcesLister/GetAllocatableResources'

MAX_REPLY = 16 * 2**20
"""Bytes; gRPC's own limit, 4 MiB, is too low for a node full of pods."""

_SHORTEST_PAUSE = 0.02
_LONGEST_PAUSE = 0.5

# How to ask for a pod, best first, and what a kubelet says that does not
# serve it. With Get switched off that is UNKNOWN, as for an absent pod.
_WAYS = (
    (GET, ('UNIMPLEMENTED', 'UNKNOWN')),
    (LIST, ('UNIMPLEMENTED',)),
    (LIST_V1ALPHA1, ('UNIMPLEMENTED',)),
)


class PodResources(base.Allocations):
    """Asks the kubelet which devices it allocated.

    Holds no connection between calls, since the kubelet makes a new socket
    at each start. So there is nothing to close, and threads may share one.
    A process that forks does so before its first call: gRPC cannot do it
    later.

    ``kubelet_timeout`` bounds a call, retries included.
    """

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        self.path = os.path.join(
            conf.kubelet_root_dir, 'pod-resources', 'kubelet.sock'
        )
        self._timeout: float = conf.kubelet_timeout
        # A socket, and the way its kubelet answers on: another socket is
        # another start of the kubelet, and perhaps another version.
        self._learnt: tuple[object, int] = None, 0
        self._process = 0

    def list_devices(self, pod: model.Pod) -> tuple[model.Device, ...]:
        """The devices that the kubelet lists for the pod.

        :raises KubeletUnavailable: no answer, or it does not know the pod.
        """
        holdings = {
            frozenset(
                model.Device(resource, device_id)
                for container in listed.containers
                for resource, device_id in _list_ids(container.devices)
            )
            for listed in self._find_pods(pod)
        }
        # Before Kubernetes 1.34 pods that have ended are listed as well.
        holdings.discard(frozenset())
        if len(holdings) > 1:
            raise _kubelet_error(
                self.path,
                f'lists {len(holdings)} pods {pod} with devices, and not '
                'which of them is meant; delete those that have ended',
            )
        devices = frozenset[model.Device]().union(*holdings)
        return tuple(sorted(devices, key=lambda d: (d.resource, d.pci)))

    def list_offered(self) -> Mapping[str, Collection[str]]:
        """Ids of the devices that the kubelet calls allocatable.

        :raises KubeletUnavailable: no answer, or the kubelet is too old.
        """
        with self._open_connection() as connection:
            reply = connection.ask(
                ALLOCATABLE,
                message_classes()['AllocatableResourcesRequest'](),
                'AllocatableResourcesResponse',
                ('UNIMPLEMENTED', 'UNKNOWN'),
            )
        if reply is None:
            raise _kubelet_error(
                self.path,
                'does not say what is allocatable (Kubernetes 1.23 and later '
                'do); see status.allocatable of the node object',
            )
        offers: dict[str, set[str]] = {}
        for resource, device_id in _list_ids(reply.devices):
            offers.setdefault(resource, set()).add(device_id)
        return {name: tuple(sorted(ids)) for name, ids in offers.items()}

    def _find_pods(self, pod: model.Pod) -> list[Any]:
        """The kubelet's pods of that namespace and name, at least one."""
        key = pod.namespace, pod.name
        with self._open_connection() as connection:
            learnt, first = self._learnt
            if learnt != connection.socket:
                first = 0
            for number, (method, elsewhere) in enumerate(_WAYS[first:], first):
                # An answer to Get is, on the wire, a list of one pod.
                reply = connection.ask(
                    method,
                    _request_for(method, pod),
                    'ListPodResourcesResponse',
                    elsewhere,
                )
                if reply is None:
                    continue
                pods = reply.pod_resources
                found = [p for p in pods if (p.namespace, p.name) == key]
                if not found:
                    raise _kubelet_error(
                        self.path,
                        f'does not know pod {pod}: it has only just started, '
                        'or the pod is deleted or on another node',
                    )
                self._learnt = connection.socket, number
                return found
        raise _kubelet_error(
            self.path,
            'serves neither v1 nor v1alpha1 of PodResources; Kubernetes 1.20 '
            'and later serve v1',
        )

    def _open_connection(self) -> _Connection:
        self._process = self._process or os.getpid()
        if self._process != os.getpid():
            raise exceptions.PermanentError(
                f'{type(self).__name__} was used before this process was '
                'forked, and gRPC would hang: fork first, then ask'
            )
        return _Connection(self.path, self._timeout)


class _Connection:
    """One connection to the kubelet, with one deadline for all calls."""

    def __init__(self, path: str, timeout: float) -> None:
        try:
            status = os.stat(path)
        except OSError as error:
            raise _kubelet_error(
                path,
                f'has no socket there: {error.strerror}; [sriov] '
                "kubelet_root_dir must be the kubelet's --root-dir, with its "
                'directory pod-resources mounted into this container',
            ) from error
        # What tells it from its successors.
        self.socket = status.st_dev, status.st_ino, status.st_ctime_ns
        self._path = path
        self._timeout = wait.time_left(timeout)
        self._deadline = time.monotonic() + self._timeout
        self._channel = grpc.insecure_channel(
            'unix:' + urllib.parse.quote(os.path.abspath(path)),
            options=(
                # By itself it is the quoted path, which Go's gRPC refuses.
                ('grpc.default_authority', 'localhost'),
                ('grpc.max_receive_message_length', MAX_REPLY),
                # Else threads share a connection, even one to the kubelet
                # that was here before.
                ('grpc.use_local_subchannel_pool', 1),
            ),
        )

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self._channel.close()

    def ask(
        self, method: str, request: Any, reply: str, elsewhere: Collection[str]
    ) -> Any:
        """The kubelet's reply; None where its status is in ``elsewhere``."""
        call = self._channel.unary_unary(
            method,
            request_serializer=type(request).SerializeToString,
            response_deserializer=message_classes()[reply].FromString,
        )
        pause = _SHORTEST_PAUSE
        refusal: grpc.RpcError | None = None
        while True:
            left = self._deadline - time.monotonic()
            try:
                return call(request, timeout=max(left, 0))
            except grpc.RpcError as error:
                if error.code().name in elsewhere:
                    return None
                if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    # What has used up the time is the reason to tell.
                    raise self._call_error(refusal or error) from error
                if not _rate_limited(error) or left < pause:
                    raise self._call_error(error) from error
                refusal = error
            # Out of step with the others that were refused.
            time.sleep(random.uniform(pause / 2, pause))
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _call_error(
        self, error: grpc.RpcError
    ) -> exceptions.KubeletUnavailable:
        status, details = error.code().name, error.details()
        if _rate_limited(error):
            remedy = 'find the client that asks it all the time'
        elif status == 'RESOURCE_EXHAUSTED':
            remedy = (
                'switch on its feature gate KubeletPodResourcesGet '
                '(Kubernetes 1.27 and later), so that it lists one pod only'
            )
        elif status == 'UNAVAILABLE':
            remedy = (
                'see that it runs, and that its directory pod-resources is '
                'mounted into this container, not the socket, which it '
                'replaces at each start'
            )
        else:
            remedy = 'see its log, or raise [sriov] kubelet_timeout'
        return _kubelet_error(
            self._path,
            f'did not say, in {self._timeout:.3g} s, what it allocated: '
            f'{status}, {details}; {remedy}',
        )


def _rate_limited(error: grpc.RpcError) -> bool:
    """The limit on all clients together, not the one on a reply's size."""
    return (
        error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        and 'larger than max' not in (error.details() or '')
    )


def _kubelet_error(path: str, what: str) -> exceptions.KubeletUnavailable:
    return exceptions.KubeletUnavailable(f'The kubelet at {path} {what}')


def _request_for(method: str, pod: model.Pod) -> Any:
    if method != GET:
        return message_classes()['ListPodResourcesRequest']()
    return message_classes()['GetPodResourcesRequest'](
        pod_namespace=pod.namespace, pod_name=pod.name
    )


def _list_ids(devices: Iterable[Any]) -> Iterator[tuple[str, str]]:
    """Resource and id of each device; again for each of its NUMA nodes."""
    for entry in devices:
        for device_id in entry.device_ids:
            yield entry.resource_name, device_id
