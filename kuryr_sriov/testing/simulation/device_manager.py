# SPDX-License-Identifier: Apache-2.0
"""The part of a kubelet that allocates devices, and its checkpoint."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from kuryr_sriov import exceptions, model

NO_NUMA_NODE = -1

Entry = tuple[str, str, int]
"""Resource, device id and NUMA node."""


@dataclass
class _Container:
    init: bool
    devices: dict[str, list[str]]


@dataclass
class _Pod:
    namespace: str
    name: str
    containers: dict[str, _Container] = field(default_factory=dict)
    ended: bool = False

    def ids(self, resource: str, init: bool) -> set[str]:
        """What its init containers hold, or what its others do."""
        return {
            device_id
            for container in self.containers.values()
            if container.init == init
            for device_id in container.devices.get(resource, ())
        }


@dataclass(frozen=True, slots=True)
class ListedPod:
    """A pod as PodResources tells of it.

    :param containers: what each has by its name, without init containers.
    """

    namespace: str
    name: str
    ended: bool
    containers: Mapping[str, list[Entry]]


class DeviceManager:
    """Device plugins offer devices to it; containers get them exclusively.

    Keeps ``<root>/device-plugins/kubelet_internal_checkpoint``. Thread-safe.

    :param root: the kubelet's ``--root-dir``.
    """

    def __init__(self, root: str | os.PathLike[str]) -> None:
        self.root = os.fspath(root)
        self._lock = threading.Lock()
        self._offers: dict[str, dict[str, tuple[int, ...]]] = {}
        self._pods: dict[str, _Pod] = {}
        self._save()

    @property
    def checkpoint(self) -> str:
        """Path of the checkpoint."""
        return os.path.join(
            self.root, 'device-plugins', 'kubelet_internal_checkpoint'
        )

    def plug(
        self,
        resource: str,
        device_ids: Iterable[str],
        numa_nodes: Iterable[int] = (),
    ) -> None:
        """A device plugin offers these, in place of what it offered before.

        :param resource: full name.
        :param numa_nodes: that each of the devices is on.
        """
        nodes = tuple(numa_nodes) or (NO_NUMA_NODE,)
        with self._lock:
            self._offers[resource] = dict.fromkeys(device_ids, nodes)
            self._save()

    def allocate(
        self,
        namespace: str,
        name: str,
        uid: str,
        requests: Mapping[str, int],
        container: str = 'main',
        *,
        init: bool = False,
    ) -> tuple[model.Device, ...]:
        """Admit one container of a pod; its devices are its own until freed.

        The pod's later containers use again what its init containers had.

        :param requests: number of devices by full resource name.
        :param init: it is a plain init container, which is never listed.
        :raises NotAllocated: too few are free; nothing is allocated.
        """
        with self._lock:
            pod = self._pods.get(uid) or _Pod(namespace, name)
            chosen = {
                resource: self._choose(pod, resource, count)
                for resource, count in requests.items()
            }
            pod.containers[container] = _Container(init, chosen)
            self._pods[uid] = pod
            self._save()
        return tuple(
            model.Device(resource, device_id)
            for resource, ids in chosen.items()
            for device_id in ids
        )

    def end(self, uid: str) -> None:
        """The pod's containers have ended; others may get its devices."""
        with self._lock:
            self._pods[uid].ended = True
            self._save()

    def free(self, uid: str) -> None:
        """The pod is deleted. Idempotent."""
        with self._lock:
            self._pods.pop(uid, None)
            self._save()

    def listing(self) -> list[ListedPod]:
        """Every pod that was not deleted."""
        with self._lock:
            return [
                ListedPod(
                    pod.namespace,
                    pod.name,
                    pod.ended,
                    {
                        name: self._entries(container.devices)
                        for name, container in pod.containers.items()
                        if not container.init
                    },
                )
                for pod in self._pods.values()
            ]

    def offers(self) -> list[Entry]:
        """All that device plugins offer, allocated or not."""
        with self._lock:
            return self._entries(self._offers)

    def _choose(self, pod: _Pod, resource: str, count: int) -> list[str]:
        again = pod.ids(resource, True) - pod.ids(resource, False)
        held = {
            device_id
            for _, _, held_resource, ids in self._allocations()
            if held_resource == resource
            for device_id in ids
        }
        free = set(self._offers.get(resource, ())) - held
        choice = [*sorted(again), *sorted(free)]
        if count > len(choice):
            raise exceptions.NotAllocated(
                f'Pod {pod.namespace}/{pod.name} requests {count} {resource}, '
                f'but {len(choice)} are free; free a pod that has some, or '
                'plug more'
            )
        return choice[:count]

    def _allocations(self) -> Iterator[tuple[str, str, str, list[str]]]:
        """Pod UID, container, resource and device ids of each allocation."""
        for uid, pod in self._pods.items():
            if not pod.ended:
                for name, container in pod.containers.items():
                    for resource, ids in container.devices.items():
                        yield uid, name, resource, ids

    def _save(self) -> None:
        """Replace the checkpoint, in the form of Kubernetes 1.20 and later.

        Its checksum and the device plugins' answers are left empty.
        """
        entries = [
            {
                'PodUID': uid,
                'ContainerName': name,
                'ResourceName': resource,
                'DeviceIDs': self._by_numa_node(resource, ids),
                'AllocResp': '',
            }
            for uid, name, resource, ids in self._allocations()
        ]
        offers = {name: [*ids] for name, ids in self._offers.items()}
        data = {'PodDeviceEntries': entries, 'RegisteredDevices': offers}
        os.makedirs(os.path.dirname(self.checkpoint), exist_ok=True)
        new = f'{self.checkpoint}.new'
        with open(new, 'w', encoding='utf-8') as file:
            json.dump({'Data': data, 'Checksum': 0}, file)
        os.replace(new, self.checkpoint)

    def _by_numa_node(
        self, resource: str, ids: list[str]
    ) -> dict[int, list[str]]:
        nodes: dict[int, list[str]] = {}
        for _, device_id, node in self._entries({resource: ids}):
            nodes.setdefault(node, []).append(device_id)
        return nodes

    def _entries(self, devices: Mapping[str, Iterable[str]]) -> list[Entry]:
        return [
            (resource, device_id, node)
            for resource, ids in devices.items()
            for device_id in ids
            for node in self._nodes(resource, device_id)
        ]

    def _nodes(self, resource: str, device_id: str) -> tuple[int, ...]:
        # A plugin may have withdrawn a device that is still allocated.
        return self._offers.get(resource, {}).get(device_id, (NO_NUMA_NODE,))
