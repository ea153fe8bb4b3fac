# SPDX-License-Identifier: Apache-2.0
"""A kubelet, as far as devices go: PodResources over gRPC, and a checkpoint.

::

    with Kubelet(tmp_path) as kubelet:
        kubelet.plug('intel.com/physnet22', ['0000:02:10.0', '0000:02:10.2'])
        kubelet.allocate('default', 'web', 'uid-1', {'intel.com/physnet22': 1})
        ...  # with kubelet_root_dir = kubelet.root
        kubelet.free('uid-1')
"""

from __future__ import annotations

import functools
import os
import random
import threading
import urllib.parse
from collections.abc import Callable, Iterable
from concurrent import futures
from typing import Any, Literal, Self, TypeVar

import grpc

from kuryr_sriov.allocations import podresources
from kuryr_sriov.allocations.podresources_messages import message_classes
from kuryr_sriov.testing.simulation import device_manager

Served = Literal['yes', 'off', 'no']
"""A method is served, switched off by a feature gate, or not there yet."""

Answer = Callable[[bytes, grpc.ServicerContext], Any]

T = TypeVar('T')


class Kubelet(device_manager.DeviceManager):
    """A context manager: starts, and stops. Its pods outlive a restart.

    It answers in random order, as the kubelet does. Attributes may be
    changed at any time, by any thread.

    :param root: the kubelet's ``--root-dir``. It must be short: the path of
        a unix socket has at most 107 bytes, and 27 are added to it.
    :param v1: whether PodResources v1 is served (Kubernetes 1.20).
    :param v1alpha1: whether PodResources v1alpha1 is served.
    :param get: v1's ``Get`` (Kubernetes 1.27, on since 1.34).
    :param allocatable: v1's ``GetAllocatableResources`` (Kubernetes 1.21).
    :param list_ended: list pods that have ended (before Kubernetes 1.34).
    :param seed: of that random order, from each start.
    :ivar reject: how many of the next calls exceed its rate limit.
    :ivar delay: seconds before each answer.
    :ivar padding: bytes that each answer to ``List`` has in addition.
    :ivar calls: full names of the methods called so far.
    """

    def __init__(
        self,
        root: str | os.PathLike[str],
        *,
        v1: bool = True,
        v1alpha1: bool = True,
        get: Served = 'yes',
        allocatable: Served = 'yes',
        list_ended: bool = False,
        seed: int = 0,
    ) -> None:
        super().__init__(root)
        self.v1 = v1
        self.v1alpha1 = v1alpha1
        self.get = get
        self.allocatable = allocatable
        self.list_ended = list_ended
        self.reject = 0
        self.delay = 0.0
        self.padding = 0
        self.calls: list[str] = []
        self.seed = seed
        self._server: _Server | None = None

    @property
    def socket(self) -> str:
        """Path of its PodResources service."""
        return os.path.join(self.root, 'pod-resources', 'kubelet.sock')

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def start(self) -> None:
        """Serve, on a new socket."""
        os.makedirs(os.path.dirname(self.socket), exist_ok=True)
        self._server = _Server(self)

    def stop(self) -> None:
        """Remove the socket; calls in progress fail. Idempotent."""
        if self._server:
            self._server.stop()
        self._server = None


class _Server(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """One run of the PodResources service."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet
        self._random = random.Random(kubelet.seed)
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._threads = futures.ThreadPoolExecutor(8, 'kubelet')
        self._server = grpc.server(self._threads, handlers=[self])
        self._server.add_insecure_port(
            'unix:' + urllib.parse.quote(os.path.abspath(kubelet.socket))
        )
        self._server.start()

    def stop(self) -> None:
        """Returns when the socket and all threads are gone."""
        self._stopping.set()
        self._server.stop(grace=None).wait()
        self._threads.shutdown()

    def service(
        self, handler_call_details: grpc.HandlerCallDetails
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        """What answers a method; None (UNIMPLEMENTED) if not served."""
        kubelet, method = self._kubelet, handler_call_details.method
        kubelet.calls.append(method)
        answers: dict[str, tuple[Served, Answer]] = {}
        if kubelet.v1:
            answers = {
                podresources.LIST: ('yes', self._list),
                podresources.GET: (kubelet.get, self._get),
                podresources.ALLOCATABLE: (
                    kubelet.allocatable,
                    self._allocatable,
                ),
            }
        if kubelet.v1alpha1:
            answers[podresources.LIST_V1ALPHA1] = (
                'yes',
                functools.partial(self._list, topology=False),
            )
        served, answer = answers.get(method, ('no', self._list))
        if served == 'no':
            return None
        return grpc.unary_unary_rpc_method_handler(
            functools.partial(self._handle, served, answer),
            response_serializer=lambda message: message.SerializeToString(),
        )

    def _handle(
        self,
        served: Served,
        answer: Answer,
        request: bytes,
        context: grpc.ServicerContext,
    ) -> Any:
        self._stopping.wait(self._kubelet.delay)
        with self._lock:
            rejected = self._kubelet.reject > 0
            self._kubelet.reject -= rejected
        if rejected:
            context.abort(
                grpc.StatusCode.RESOURCE_EXHAUSTED, 'rejected by rate limit'
            )
        if served == 'off':
            context.abort(grpc.StatusCode.UNKNOWN, 'API method disabled')
        return answer(request, context)

    def _list(
        self,
        request: bytes,
        context: grpc.ServicerContext,
        topology: bool = True,
    ) -> Any:
        pods = [
            self._pod(pod, topology)
            for pod in self._kubelet.listing()
            if not pod.ended or self._kubelet.list_ended
        ]
        padding = message_classes()['PodResources'](
            name='x' * self._kubelet.padding
        )
        return message_classes()['ListPodResourcesResponse'](
            pod_resources=self._shuffled([*pods, padding])
        )

    def _get(self, request: bytes, context: grpc.ServicerContext) -> Any:
        wanted = message_classes()['GetPodResourcesRequest'].FromString(
            request
        )
        name, namespace = wanted.pod_name, wanted.pod_namespace
        pods = [
            pod
            for pod in self._kubelet.listing()
            if (pod.namespace, pod.name) == (namespace, name)
        ]
        if not pods:
            context.abort(
                grpc.StatusCode.UNKNOWN,
                f'pod {name} in namespace {namespace} not found',
            )
        return message_classes()['GetPodResourcesResponse'](
            pod_resources=self._pod(pods[-1])
        )

    def _allocatable(
        self, request: bytes, context: grpc.ServicerContext
    ) -> Any:
        return message_classes()['AllocatableResourcesResponse'](
            devices=self._devices(self._kubelet.offers())
        )

    def _pod(
        self, pod: device_manager.ListedPod, topology: bool = True
    ) -> Any:
        containers = [
            message_classes()['ContainerResources'](
                name=name, devices=self._devices(entries, topology)
            )
            for name, entries in pod.containers.items()
        ]
        return message_classes()['PodResources'](
            name=pod.name,
            namespace=pod.namespace,
            containers=self._shuffled(containers),
        )

    def _devices(
        self, entries: Iterable[device_manager.Entry], topology: bool = True
    ) -> list[Any]:
        """One for each NUMA node of each device, as the kubelet has it."""
        return self._shuffled(
            message_classes()['ContainerDevices'](
                resource_name=resource,
                device_ids=[device_id],
                topology=_topology(node) if topology else None,
            )
            for resource, device_id, node in entries
        )

    def _shuffled(self, items: Iterable[T]) -> list[T]:
        shuffled = list(items)
        with self._lock:
            self._random.shuffle(shuffled)
        return shuffled


def _topology(node: int) -> Any:
    if node == device_manager.NO_NUMA_NODE:
        return None
    return message_classes()['TopologyInfo'](
        nodes=[message_classes()['NUMANode'](ID=node)]
    )
