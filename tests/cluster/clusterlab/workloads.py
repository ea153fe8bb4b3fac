# SPDX-License-Identifier: Apache-2.0
"""Small pods with VFs, for tests of what happens to clusters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

KERNEL, VFIO = 'sriov-net2', 'sriov-net1'
"""The how-to's networks: an interface in the pod, and a VF for DPDK."""

RESOURCES = {
    KERNEL: 'intel.com/physnet23',
    VFIO: 'intel.com/physnet22',
}

NETWORKS = 'k8s.v1.cni.cncf.io/networks'

FOREVER = "trap 'exit 0' TERM; sleep 2147483647 & wait"


def small_pod(
    name: str,
    *networks: str,
    devices: Mapping[str, int] | None = None,
    script: str = FOREVER,
    **spec: Any,
) -> dict[str, Any]:
    """A pod of one container, with a VF for each of its networks.

    :param devices: how many it asks for, by resource, if not these.
    :param script: of the shell that it runs.
    :param spec: further fields of its specification.
    """
    if devices is None:
        devices = Counter(RESOURCES[each] for each in networks)
    counts = {resource: str(count) for resource, count in devices.items()}
    metadata: dict[str, Any] = {'name': name, 'labels': {'app': name}}
    if networks:
        metadata['annotations'] = {NETWORKS: ','.join(networks)}
    container = {
        'name': 'main',
        'image': 'nginx:1.29',
        'command': ['sh', '-c', script],
        'resources': {'limits': counts},
    }
    return {
        'apiVersion': 'v1',
        'kind': 'Pod',
        'metadata': metadata,
        'spec': {
            'containers': [container],
            # nobody waits for a shell that is asked to leave
            'terminationGracePeriodSeconds': 1,
            **spec,
        },
    }


def with_init_container(
    pod: dict[str, Any], keep: bool = True
) -> dict[str, Any]:
    """Such a pod with an init container that requests the same devices.

    :param keep: whether its other container goes on requesting them.
    """
    (main,) = pod['spec']['containers']
    first = {**main, 'name': 'first', 'command': ['true']}
    rest = main if keep else {**main, 'resources': {}}
    spec = {**pod['spec'], 'initContainers': [first], 'containers': [rest]}
    return {**pod, 'spec': spec}


def template(pod: Mapping[str, Any]) -> dict[str, Any]:
    """What a controller of Kubernetes makes such pods of."""
    metadata = {
        key: value for key, value in pod['metadata'].items() if key != 'name'
    }
    return {'metadata': metadata, 'spec': pod['spec']}


def replicated(
    kind: str, pod: Mapping[str, Any], replicas: int = 1
) -> dict[str, Any]:
    """A Deployment or a StatefulSet of such pods."""
    name = pod['metadata']['name']
    spec: dict[str, Any] = {
        'replicas': replicas,
        'selector': {'matchLabels': pod['metadata']['labels']},
        'template': template(pod),
    }
    if kind == 'StatefulSet':
        spec['serviceName'] = name
    return {
        'apiVersion': 'apps/v1',
        'kind': kind,
        'metadata': {'name': name},
        'spec': spec,
    }


def job(pod: Mapping[str, Any]) -> dict[str, Any]:
    """A Job that runs one such pod once."""
    once = template(pod)
    once['spec'] = {**once['spec'], 'restartPolicy': 'Never'}
    return {
        'apiVersion': 'batch/v1',
        'kind': 'Job',
        'metadata': {'name': pod['metadata']['name']},
        'spec': {'template': once, 'backoffLimit': 0},
    }


def network(name: str, subnet: str) -> dict[str, Any]:
    """A NetworkAttachmentDefinition for VFs on a subnet of Neutron's."""
    return {
        'apiVersion': 'k8s.cni.cncf.io/v1',
        'kind': 'NetworkAttachmentDefinition',
        'metadata': {
            'name': name,
            'annotations': {
                'openstack.org/kuryr-config': (
                    f'{{"subnetId": "{subnet}", "driverType": "sriov"}}'
                )
            },
        },
    }
