# SPDX-License-Identifier: Apache-2.0
"""A device plugin as the SR-IOV one is to the kubelet and to its operator.

``python deviceplugin.py CONFIGURATION``, as root on the node. It speaks the
kubelet's v1beta1 API (``k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1``) and
reads the other one's configuration file, of whose selectors it knows
``rootDevices`` and ``pciAddresses``. Like that one it looks at the VFs and
their drivers when it starts and never again, and a restarted kubelet hears
of it again.
"""

from __future__ import annotations

import functools
import json
import pathlib
import sys
import threading
from concurrent import futures
from typing import Any

import grpc
from google.protobuf import (
    descriptor_pb2,
    descriptor_pool,
    message_factory,
)

SOCKETS = pathlib.Path('/var/lib/kubelet/device-plugins')
KUBELET = SOCKETS / 'kubelet.sock'
DEVICES = pathlib.Path('/sys/bus/pci/devices')
PREFIX = 'intel.com'
SERVICE = 'v1beta1.DevicePlugin'

# Each field with its number and type, ``*`` for repeated.
MESSAGES = {
    'Empty': {},
    'DevicePluginOptions': {'pre_start_required': (1, 'bool')},
    'RegisterRequest': {
        'version': (1, 'string'),
        'endpoint': (2, 'string'),
        'resource_name': (3, 'string'),
        'options': (4, 'DevicePluginOptions'),
    },
    'ListAndWatchResponse': {'devices': (1, '*Device')},
    'Device': {'ID': (1, 'string'), 'health': (2, 'string')},
    'AllocateRequest': {'container_requests': (1, '*ContainerRequest')},
    'ContainerRequest': {'devices_ids': (1, '*string')},
    'AllocateResponse': {'container_responses': (1, '*ContainerResponse')},
    'ContainerResponse': {
        'envs': (1, '*Variable'),
        'devices': (3, '*DeviceSpec'),
    },
    # on the wire a map is a list of such pairs
    'Variable': {'key': (1, 'string'), 'value': (2, 'string')},
    'DeviceSpec': {
        'container_path': (1, 'string'),
        'host_path': (2, 'string'),
        'permissions': (3, 'string'),
    },
}


@functools.cache
def message_classes() -> dict[str, Any]:
    """The API's messages, by name."""
    kinds = descriptor_pb2.FieldDescriptorProto
    scalars = {'string': kinds.TYPE_STRING, 'bool': kinds.TYPE_BOOL}
    file = descriptor_pb2.FileDescriptorProto(
        name='deviceplugin.proto', package='v1beta1', syntax='proto3'
    )
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field, (number, text) in fields.items():
            word = text.removeprefix('*')
            many = text.startswith('*')
            added = message.field.add(
                name=field,
                number=number,
                label=kinds.LABEL_REPEATED if many else kinds.LABEL_OPTIONAL,
                type=scalars.get(word, kinds.TYPE_MESSAGE),
            )
            if word not in scalars:
                added.type_name = f'.v1beta1.{word}'
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f'v1beta1.{name}')
        )
        for name in MESSAGES
    }


def select_vfs(selectors: dict[str, list[str]]) -> list[str]:
    """PCI addresses of the VFs that are chosen.

    :raises ValueError: there is a selector that this plugin does not know.
    """
    unknown = selectors.keys() - {'rootDevices', 'pciAddresses'}
    if unknown:
        raise ValueError(f'selectors {sorted(unknown)}: not known here')
    roots = selectors.get('rootDevices')
    addresses = selectors.get('pciAddresses')
    chosen = []
    for path in sorted(DEVICES.glob('*/physfn')):
        pci, pf = path.parent.name, path.resolve().name
        if (roots is None or pf in roots) and (
            addresses is None or pci in addresses
        ):
            chosen.append(pci)
    return chosen


def device_nodes(pci: str) -> list[str]:
    """What a container needs to open a VF, by the driver it has now."""
    driver = DEVICES / pci / 'driver'
    if not driver.exists() or driver.resolve().name != 'vfio-pci':
        return []
    group = (DEVICES / pci / 'iommu_group').resolve().name
    return ['/dev/vfio/vfio', f'/dev/vfio/{group}']


class Pool:
    """The VFs of one resource, and the socket where the kubelet asks."""

    def __init__(self, name: str, vfs: list[str]) -> None:
        self.resource = f'{PREFIX}/{name}'
        self._nodes = {pci: device_nodes(pci) for pci in vfs}
        self._socket = SOCKETS / f'{name}.sock'
        self._server: grpc.Server | None = None

    def register(self) -> None:
        """Serve, and tell the kubelet that is there now.

        :raises grpc.RpcError: it does not answer.
        """
        if self._server is not None:
            self._server.stop(None).wait()
        self._socket.unlink(missing_ok=True)
        self._server = grpc.server(futures.ThreadPoolExecutor(8))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        self._server.add_insecure_port(f'unix://{self._socket}')
        self._server.start()
        kinds = message_classes()
        with grpc.insecure_channel(f'unix://{KUBELET}') as channel:
            call = channel.unary_unary(
                '/v1beta1.Registration/Register',
                request_serializer=lambda each: each.SerializeToString(),
                response_deserializer=kinds['Empty'].FromString,
            )
            call(
                kinds['RegisterRequest'](
                    version='v1beta1',
                    endpoint=self._socket.name,
                    resource_name=self.resource,
                ),
                timeout=30,
            )
        print(f'{self.resource}: {len(self._nodes)} VFs', flush=True)

    def _handlers(self) -> Any:
        kinds = message_classes()

        def unary(asked: str, answer: Any) -> Any:
            return grpc.unary_unary_rpc_method_handler(
                answer,
                request_deserializer=kinds[asked].FromString,
                response_serializer=lambda each: each.SerializeToString(),
            )

        methods = {
            'GetDevicePluginOptions': unary(
                'Empty', lambda _, __: kinds['DevicePluginOptions']()
            ),
            'ListAndWatch': grpc.unary_stream_rpc_method_handler(
                self._list,
                request_deserializer=kinds['Empty'].FromString,
                response_serializer=lambda each: each.SerializeToString(),
            ),
            'Allocate': unary('AllocateRequest', self._allocate),
        }
        return grpc.method_handlers_generic_handler(SERVICE, methods)

    def _list(self, _: Any, context: grpc.ServicerContext) -> Any:
        kinds = message_classes()
        devices = [
            kinds['Device'](ID=pci, health='Healthy') for pci in self._nodes
        ]
        yield kinds['ListAndWatchResponse'](devices=devices)
        ended = threading.Event()
        if context.add_callback(ended.set):
            ended.wait()

    def _allocate(self, asked: Any, context: grpc.ServicerContext) -> Any:
        kinds = message_classes()
        answer = kinds['AllocateResponse']()
        for container in asked.container_requests:
            ids = list(container.devices_ids)
            if unknown := [each for each in ids if each not in self._nodes]:
                context.abort(grpc.StatusCode.NOT_FOUND, f'no {unknown}')
            word = self.resource.upper().replace('.', '_').replace('/', '_')
            nodes = {node: None for pci in ids for node in self._nodes[pci]}
            response = answer.container_responses.add()
            response.envs.add(key=f'PCIDEVICE_{word}', value=','.join(ids))
            for node in nodes:
                response.devices.add(
                    container_path=node, host_path=node, permissions='mrw'
                )
        return answer


def identity() -> tuple[int, int] | None:
    """Of the kubelet's socket: another one after each of its starts."""
    try:
        found = KUBELET.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_ctime_ns


def main(configuration: pathlib.Path) -> None:
    """Offer the VFs to each kubelet that comes."""
    listed = json.loads(configuration.read_text())['resourceList']
    pools = [
        Pool(each['resourceName'], select_vfs(each['selectors']))
        for each in listed
    ]
    known = None
    pause = threading.Event()
    while True:
        found = identity()
        if found is not None and found != known:
            try:
                for pool in pools:
                    pool.register()
                known = found
            except grpc.RpcError as error:
                print(f'kubelet: {error}', flush=True)
        pause.wait(1)


if __name__ == '__main__':
    main(pathlib.Path(sys.argv[1]))
