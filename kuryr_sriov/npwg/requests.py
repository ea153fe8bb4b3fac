# SPDX-License-Identifier: Apache-2.0
"""From Kubernetes objects to network requests.

Pods and NetworkAttachmentDefinitions (NADs) are what the Kubernetes API
returns, as dicts. They are only read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation, NotAllocated
from kuryr_sriov.npwg.annotation import (
    NETWORKS,
    Invalid,
    Selection,
    parse_networks,
    read_json,
)

__all__ = [
    'NETWORKS',
    'Selection',
    'check_requested',
    'entries_of',
    'parse_networks',
    'pod_of',
    'request_of',
    'requested_devices',
    'wants_networks',
]

KURYR_CONFIG = 'openstack.org/kuryr-config'
"""Annotation of a NAD: JSON with ``driverType`` and ``subnetId``."""

RESOURCE_NAME = 'k8s.v1.cni.cncf.io/resourceName'
"""Annotation of a NAD: full name of the resource its VFs come from."""

_RESOURCE = re.compile('[^/]+/[a-zA-Z0-9_-]+')
_QUANTITY = re.compile('([0-9]{1,18}(?:[eE][0-9]{1,2})?)([kMGTPE]?|[KMGTPE]i)')
_UNITS = {
    '': 1,
    **{unit: 1000**power for power, unit in enumerate('kMGTPE', 1)},
    **{f'{unit}i': 1024**power for power, unit in enumerate('KMGTPE', 1)},
}


def pod_of(body: Mapping[str, Any]) -> model.Pod:
    """The pod that a Kubernetes object describes."""
    metadata = body['metadata']
    return model.Pod(
        namespace=metadata['namespace'],
        name=metadata['name'],
        uid=metadata['uid'],
        node=body.get('spec', {}).get('nodeName') or '',
        containers=tuple(_running_containers(body.get('spec', {}))),
    )


def _running_containers(spec: Mapping[str, Any]) -> Iterator[str]:
    """Names of the containers that run with the pod's network.

    A sidecar is an init container that keeps running.
    """
    sidecars = (
        container
        for container in spec.get('initContainers') or ()
        if container.get('restartPolicy') == 'Always'
    )
    for container in (*(spec.get('containers') or ()), *sidecars):
        if container.get('name'):
            yield container['name']


def wants_networks(body: Mapping[str, Any]) -> bool:
    """Whether a pod's networks annotation names any, ours or not."""
    return bool(_annotations(body).get(NETWORKS, '').strip())


def entries_of(body: Mapping[str, Any]) -> tuple[Selection, ...]:
    """The entries of a pod's networks annotation; none without one.

    :raises InvalidAnnotation: naming entry, offending part and remedy.
    """
    value = _annotations(body).get(NETWORKS, '')
    return parse_networks(value, body['metadata']['namespace'])


def request_of(
    entry: Selection, nad: Mapping[str, Any]
) -> model.NetworkRequest | None:
    """The request that an entry and its NAD make; None if it is not ours.

    Ours is a NAD whose ``openstack.org/kuryr-config`` has the driverType
    ``sriov``. What an entry asks for beyond addresses and a default route,
    a VF cannot do, so that it is refused rather than left out.

    :raises InvalidAnnotation: naming the NAD, what is wrong and the remedy.
    """

    def invalid(what: str, remedy: str) -> InvalidAnnotation:
        return InvalidAnnotation(
            f'NetworkAttachmentDefinition {entry.namespace}/{entry.name}: '
            f'{what}; {remedy}.'
        )

    annotations = _annotations(nad)
    if KURYR_CONFIG not in annotations:
        return None
    subnets = _subnets(invalid, annotations[KURYR_CONFIG])
    if subnets is None:
        return None
    resource = annotations.get(RESOURCE_NAME, '')
    if resource and not _RESOURCE.fullmatch(resource):
        raise invalid(
            f'{RESOURCE_NAME} {resource!r} is not a full resource name',
            'write PREFIX/NAME, such as intel.com/physnet22',
        )
    if entry.extras:
        raise invalid(
            f'an SR-IOV network cannot do {", ".join(entry.extras)}',
            f"remove that from the pod's annotation {NETWORKS}",
        )
    return model.NetworkRequest(
        namespace=entry.namespace,
        name=entry.name,
        ifname=entry.ifname,
        subnet_ids=subnets,
        resource=resource,
        ips=entry.ips,
        mac=entry.mac,
        gateways=entry.gateways,
    )


def requested_devices(body: Mapping[str, Any]) -> dict[str, int]:
    """How many devices a pod requests of each extended resource.

    As Kubernetes counts: the sum over its containers, sidecars (init
    containers that keep running) among them, or what one init container
    requests if that is more. Requests default to limits.
    """
    spec = body.get('spec', {})
    running: Counter[str] = Counter()
    for container in spec.get('containers') or ():
        running += _devices(container)
    passing: Counter[str] = Counter()
    for container in spec.get('initContainers') or ():
        if container.get('restartPolicy') == 'Always':
            running += _devices(container)
        else:
            passing |= _devices(container)
    return dict(running | passing)


def check_requested(
    requests: Sequence[model.NetworkRequest], body: Mapping[str, Any]
) -> None:
    """Refuse networks for which the pod requests too few devices.

    :param requests: each with its ``resource``.
    :raises NotAllocated: naming each resource with both numbers.
    """
    requested = requested_devices(body)
    needed = Counter(request.resource for request in requests)
    short = ', '.join(
        f'{count} {resource} (its containers request '
        f'{requested.get(resource, 0)})'
        for resource, count in needed.items()
        if count > requested.get(resource, 0)
    )
    if short:
        raise NotAllocated(
            f'the networks of pod {pod_of(body)} need {short}; raise '
            f'resources.requests and resources.limits of a container, or '
            f'remove networks from its annotation {NETWORKS}.'
        )


def _annotations(body: Mapping[str, Any]) -> Mapping[str, str]:
    return body.get('metadata', {}).get('annotations') or {}


def _subnets(invalid: Invalid, text: str) -> tuple[str, ...] | None:
    """Subnet ids of a kuryr-config; None if it is another driver's."""

    def wrong(what: str, remedy: str) -> InvalidAnnotation:
        return invalid(f'{KURYR_CONFIG}: {what}', remedy)

    config = read_json(text, wrong)
    if not isinstance(config, dict):
        raise wrong(f'{config!r} is not an object', 'write {...}')
    driver = config.get('driverType')
    if not isinstance(driver, str | None):
        raise wrong(f'driverType {driver!r} is not a string', 'correct it')
    if driver != 'sriov':
        return None
    if 'subnetId' not in config:
        return ()
    given = config['subnetId']
    subnets = given if isinstance(given, list) else [given]
    if (
        not 1 <= len(subnets) <= 2
        or not all(isinstance(subnet, str) and subnet for subnet in subnets)
        or len(set(subnets)) < len(subnets)
    ):
        raise wrong(
            f'subnetId {given!r} is neither an id nor a list of two',
            'write the id of a subnet, or leave it out for the default of '
            'the physnet',
        )
    return tuple(subnets)


def _devices(container: Mapping[str, Any]) -> Counter[str]:
    resources = container.get('resources') or {}
    quantities = {
        **(resources.get('limits') or {}),
        **(resources.get('requests') or {}),
    }
    return Counter(
        {
            resource: _count(resource, quantity)
            for resource, quantity in quantities.items()
            if '/' in resource  # else Kubernetes' own, such as cpu
        }
    )


def _count(resource: str, quantity: object) -> int:
    """A quantity, which Kubernetes keeps whole for extended resources."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise InvalidAnnotation(
            f'the request for {resource} is {quantity!r}, which is no whole '
            f'number; request a number of devices.'
        )
    number, unit = match.groups()
    return int(Decimal(number) * _UNITS[unit])
