# SPDX-License-Identifier: Apache-2.0
"""How many devices a pod requests of each resource."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from kuryr_sriov.exceptions import InvalidAnnotation

_QUANTITY = re.compile('([0-9]{1,18}(?:[eE][0-9]{1,2})?)([kMGTPE]?|[KMGTPE]i)')
_UNITS = {
    '': 1,
    **{unit: 1000**power for power, unit in enumerate('kMGTPE', 1)},
    **{f'{unit}i': 1024**power for power, unit in enumerate('KMGTPE', 1)},
}


def requested_devices(body: Mapping[str, Any]) -> dict[str, int]:
    """How many devices of each extended resource a pod's networks can have.

    The sum over its containers and its sidecars, the init containers that
    keep running. Requests default to limits.
    """
    spec = body.get('spec', {})
    running: Counter[str] = Counter()
    for container in spec.get('containers') or ():
        running += _count_devices(container)
    for container in spec.get('initContainers') or ():
        if _is_sidecar(container):
            running += _count_devices(container)
    return dict(running)


def requesting_init_containers(
    body: Mapping[str, Any], resource: str
) -> tuple[str, ...]:
    """Names of the init containers whose devices its networks cannot have.

    The kubelet keeps such devices for the pod, but its PodResources service
    lists only those of containers and sidecars, so that nobody on the node
    is told them.
    """
    return tuple(
        container.get('name', '')
        for container in body.get('spec', {}).get('initContainers') or ()
        if not _is_sidecar(container) and _count_devices(container)[resource]
    )


def _is_sidecar(init_container: Mapping[str, Any]) -> bool:
    """Whether it keeps running; since Kubernetes 1.28."""
    return bool(init_container.get('restartPolicy') == 'Always')


def _count_devices(container: Mapping[str, Any]) -> Counter[str]:
    resources = container.get('resources') or {}
    quantities = {
        **(resources.get('limits') or {}),
        **(resources.get('requests') or {}),
    }
    return Counter(
        {
            resource: _read_quantity(resource, quantity)
            for resource, quantity in quantities.items()
            if '/' in resource  # else Kubernetes' own, such as cpu
        }
    )


def _read_quantity(resource: str, quantity: object) -> int:
    """A quantity, which Kubernetes keeps whole for extended resources."""
    match = _QUANTITY.fullmatch(str(quantity))
    if match is None:
        raise InvalidAnnotation(
            f'the request for {resource} is {quantity!r}, which is no whole '
            f'number; request a number of devices.'
        )
    number, unit = match.groups()
    return int(Decimal(number) * _UNITS[unit])
