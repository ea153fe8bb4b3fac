# SPDX-License-Identifier: Apache-2.0
"""The messages of the kubelet's PodResources service, v1 and v1alpha1."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

# The fields that device plugins fill in, each with its number and type, ``*``
# for repeated. CPUs, memory and DRA claims are not ours, and protobuf skips
# what it does not know.
_MESSAGES: Mapping[str, Mapping[str, tuple[int, str]]] = {
    'ListPodResourcesRequest': {},
    'ListPodResourcesResponse': {'pod_resources': (1, '*PodResources')},
    'GetPodResourcesRequest': {
        'pod_name': (1, 'string'),
        'pod_namespace': (2, 'string'),
    },
    'GetPodResourcesResponse': {'pod_resources': (1, 'PodResources')},
    'AllocatableResourcesRequest': {},
    'AllocatableResourcesResponse': {'devices': (1, '*ContainerDevices')},
    'PodResources': {
        'name': (1, 'string'),
        'namespace': (2, 'string'),
        'containers': (3, '*ContainerResources'),
    },
    'ContainerResources': {
        'name': (1, 'string'),
        'devices': (2, '*ContainerDevices'),
    },
    'ContainerDevices': {
        'resource_name': (1, 'string'),
        'device_ids': (2, '*string'),
        'topology': (3, 'TopologyInfo'),
    },
    'TopologyInfo': {'nodes': (1, '*NUMANode')},
    'NUMANode': {'ID': (1, 'int64')},
}


@functools.cache
def message_classes() -> Mapping[str, Any]:
    """The service's message classes, by name.

    Built at run time: generated code works with one major version of
    protobuf only. They are in a descriptor pool of their own, where no
    other package's PodResources can collide.
    """
    from google.protobuf import (
        descriptor_pb2,
        descriptor_pool,
        message_factory,
    )

    field = descriptor_pb2.FieldDescriptorProto
    scalars = {'string': field.TYPE_STRING, 'int64': field.TYPE_INT64}
    file = descriptor_pb2.FileDescriptorProto(
        name='podresources.proto', package='v1', syntax='proto3'
    )
    for message, fields in _MESSAGES.items():
        descriptor = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            repeated, kind = kind.startswith('*'), kind.removeprefix('*')
            scalar = scalars.get(kind)
            descriptor.field.add(
                name=name,
                number=number,
                label=field.LABEL_REPEATED
                if repeated
                else field.LABEL_OPTIONAL,
                type=scalar or field.TYPE_MESSAGE,
                type_name=None if scalar else f'.v1.{kind}',
            )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(
            pool.FindMessageTypeByName(f'v1.{name}')
        )
        for name in _MESSAGES
    }
