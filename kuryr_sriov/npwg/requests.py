# SPDX-License-Identifier: Apache-2.0
"""From Kubernetes objects to network requests.

Pods and NetworkAttachmentDefinitions (NADs) are what the Kubernetes API
returns, as dicts. They are only read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.exceptions import InvalidAnnotation, NotAllocated
from kuryr_sriov.npwg import nad_config
from kuryr_sriov.npwg.annotation import (
    NETWORKS,
    Selection,
    parse_networks,
    refuse_unknown,
)
from kuryr_sriov.npwg.device_counts import (
    requested_devices,
    requesting_init_containers,
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
    'wants_vifs',
]

ENDED = 'Succeeded', 'Failed'
"""Phases of a pod none of whose containers runs or will run again."""


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
        # Sidecars, since Kubernetes 1.28.
        if container.get('restartPolicy') == 'Always'
    )
    for container in (*(spec.get('containers') or ()), *sidecars):
        if container.get('name'):
            yield container['name']


def entries_of(body: Mapping[str, Any]) -> tuple[Selection, ...]:
    """The entries of a pod's networks annotation; none without one.

    :raises InvalidAnnotation: naming entry, offending part and remedy.
    """
    value = _annotations_of(body).get(NETWORKS, '')
    return parse_networks(value, body['metadata']['namespace'])


def wants_networks(body: Mapping[str, Any]) -> bool:
    """Whether a pod names networks; it costs no parsing."""
    return bool(_annotations_of(body).get(NETWORKS, '').strip())


def can_have_vifs(body: Mapping[str, Any]) -> bool:
    """Whether a pod can have VIFs, whatever networks it names.

    It is on a node, has a network namespace of its own (``hostNetwork``: the
    VF would go to the host), and has neither ended nor begun to be deleted.
    """
    spec = body.get('spec') or {}
    return (
        bool(spec.get('nodeName'))
        and not spec.get('hostNetwork')
        and not body['metadata'].get('deletionTimestamp')
        and (body.get('status') or {}).get('phase') not in ENDED
    )


def wants_vifs(body: Mapping[str, Any]) -> bool:
    """Whether a pod may need VIFs: only then is it worth a request."""
    return can_have_vifs(body) and wants_networks(body)


def request_of(
    entry: Selection, nad: Mapping[str, Any]
) -> model.NetworkRequest | None:
    """The request that an entry and its NAD make; None if it is not ours.

    Ours is a NAD whose ``openstack.org/kuryr-config`` has the driverType
    ``sriov``. What an entry asks for beyond addresses and a default route,
    a VF cannot do, so that it is refused rather than left out; addresses
    and MAC are refused, too, unless the NAD's author allows to choose them.

    :raises InvalidAnnotation: naming the NAD, what is wrong and the remedy.
    """

    def invalid(what: str, remedy: str) -> InvalidAnnotation:
        return InvalidAnnotation(
            f'NetworkAttachmentDefinition {entry.namespace}/{entry.name}: '
            f'{what}; {remedy}.'
        )

    config = nad_config.read_nad_config(_annotations_of(nad), invalid)
    if config is None:
        return None
    refuse_unknown(entry)
    if entry.extras:
        raise invalid(
            f'an SR-IOV network cannot do {", ".join(entry.extras)}',
            f"remove that from the pod's annotation {NETWORKS}",
        )
    chosen = {
        'ips': entry.ips,
        'mac': entry.mac,
        'infiniband-guid': entry.guid,
    }
    for key, value in chosen.items():
        if value and key not in config.allow:
            raise invalid(
                f'its pods may not choose {key}',
                f'remove {key} from the annotation {NETWORKS} of the pod, or '
                f'add {key!r} to "allow" in {nad_config.KURYR_CONFIG}',
            )
    return model.NetworkRequest(
        namespace=entry.namespace,
        name=entry.name,
        ifname=entry.ifname,
        subnet_ids=config.subnet_ids,
        resource=config.resource,
        ips=entry.ips,
        mac=entry.mac,
        guid=entry.guid,
        gateways=entry.gateways,
        policy=config.policy,
    )


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
        f'{requested.get(resource, 0)}{_tell_init(body, resource)})'
        for resource, count in needed.items()
        if count > requested.get(resource, 0)
    )
    if short:
        raise NotAllocated(
            f'the networks of pod {pod_of(body)} need {short}; raise '
            f'resources.requests and resources.limits of a container, or '
            f'remove networks from its annotation {NETWORKS}.'
        )


def _tell_init(body: Mapping[str, Any], resource: str) -> str:
    """Why what init containers request is not among what is counted."""
    names = requesting_init_containers(body, resource)
    if not names:
        return ''
    return (
        f', and what its init container {", ".join(names)} requests does '
        'not count, since the kubelet does not tell the node which devices '
        'those are'
    )


def _annotations_of(body: Mapping[str, Any]) -> Mapping[str, str]:
    return body.get('metadata', {}).get('annotations') or {}
