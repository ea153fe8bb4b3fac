# SPDX-License-Identifier: Apache-2.0
"""The kubelet's device allocations, from the checkpoint that it keeps.

For nodes whose PodResources service is not used (``[sriov]
enable_pod_resource_service = False``). The file is an internal of the
kubelet, ``pkg/kubelet/cm/devicemanager/checkpoint``. Its checksum is over
Go's own print of the data, so that nobody else can verify it; the kubelet
replaces the file by a rename, so that a reader never sees half of one.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeVar

from kuryr_sriov import exceptions, model
from kuryr_sriov.allocations import base

T = TypeVar('T')


class Checkpoint(base.Allocations):
    """Reads ``device-plugins/kubelet_internal_checkpoint``.

    The file keeps what an init container had, which the kubelet may have
    given to another pod's container since. It does not say which containers
    are such: ``Pod.containers`` does.
    """

    def __init__(self, conf: Any) -> None:
        super().__init__(conf)
        self.path = os.path.join(
            conf.kubelet_root_dir,
            'device-plugins',
            'kubelet_internal_checkpoint',
        )

    def list_devices(self, pod: model.Pod) -> tuple[model.Device, ...]:
        """The devices that are on file for the pod.

        The file goes by pod UID: an earlier pod of the same name is another
        one. A pod that is not in the file has no devices. Where the pod's
        containers are not known, all on file count.

        :raises KubeletUnavailable: the file cannot be read.
        """
        with self._saying_if_malformed():
            return _devices_of(self._read_file(), pod)

    def list_offered(self) -> Mapping[str, Collection[str]]:
        """Ids of the devices that are on file as healthy.

        :raises KubeletUnavailable: the file cannot be read.
        """
        with self._saying_if_malformed():
            registered = self._read_file()['Data']['RegisteredDevices'] or {}
            return {
                name: tuple(sorted(_require_type(ids or [], list)))
                for name, ids in registered.items()
            }

    @contextlib.contextmanager
    def _saying_if_malformed(self) -> Iterator[None]:
        try:
            yield
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise exceptions.KubeletUnavailable(
                f'{self.path} is no checkpoint of the kubelet '
                f'({type(error).__name__}: {error}); set [sriov] '
                'enable_pod_resource_service = True, which does not need it'
            ) from error

    def _read_file(self) -> Any:
        try:
            with open(self.path, 'rb') as file:
                return json.load(file)
        except OSError as error:
            raise exceptions.KubeletUnavailable(
                f'Cannot read {self.path}: {error.strerror}; [sriov] '
                "kubelet_root_dir must be the kubelet's --root-dir, with its "
                'directory device-plugins mounted into this container, or '
                '[sriov] enable_pod_resource_service must be True'
            ) from error


def _devices_of(checkpoint: Any, pod: model.Pod) -> tuple[model.Device, ...]:
    entries = checkpoint['Data']['PodDeviceEntries'] or ()
    devices = {
        model.Device(
            _require_type(entry['ResourceName'], str),
            _require_type(device_id, str),
        )
        for entry in entries
        if entry['PodUID'] == pod.uid
        # What an init container had is free again once it has ended.
        and (not pod.containers or entry['ContainerName'] in pod.containers)
        for device_id in _flatten_ids(entry['DeviceIDs'])
    }
    return tuple(sorted(devices, key=lambda d: (d.resource, d.pci)))


def _flatten_ids(ids: Any) -> Iterator[Any]:
    """By NUMA node, or, before Kubernetes 1.20, a plain list."""
    for node in ids.values() if isinstance(ids, Mapping) else (ids,):
        # Go writes a list of nothing as null.
        yield from _require_type(node or [], list)


def _require_type(value: Any, kind: type[T]) -> T:
    if not isinstance(value, kind):
        raise TypeError(f'{value!r} is no {kind.__name__}')
    return value
