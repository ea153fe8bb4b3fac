# SPDX-License-Identifier: Apache-2.0
"""Leases and Events: what daemons keep at the API server for others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kuryr_sriov.clients.kubernetes.session import (
    MERGE_PATCH,
    KubernetesSession,
    Resource,
)

EVENTS = Resource('/apis/events.k8s.io/v1', 'events')
LEASES = Resource('/apis/coordination.k8s.io/v1', 'leases')


class _Missing(Exception):
    """The API server answered 404."""


def read_lease(
    session: KubernetesSession, namespace: str, name: str
) -> Mapping[str, Any] | None:
    """The Lease object; None where there is none."""
    path = LEASES.path(namespace, name)
    try:
        return session.call('GET', path, missing=_Missing)
    except _Missing:
        return None


def write_lease(session: KubernetesSession, lease: Mapping[str, Any]) -> None:
    """Replace the Lease that was read, or make it.

    :raises ResourceConflict: another one was faster.
    """
    metadata = lease['metadata']
    known = 'resourceVersion' in metadata
    session.call(
        # A PUT is refused where the object's resourceVersion has changed, so
        # that of several candidates one wins.
        'PUT' if known else 'POST',
        LEASES.path(metadata['namespace'], metadata['name'] if known else ''),
        {**lease, 'apiVersion': LEASES.api_version, 'kind': 'Lease'},
    )


def create_event(session: KubernetesSession, event: Mapping[str, Any]) -> None:
    """Make an Event of ``events.k8s.io/v1``.

    :raises ResourceConflict: there is one of that name.
    """
    session.call(
        'POST',
        EVENTS.path(event['metadata']['namespace']),
        {**event, 'apiVersion': EVENTS.api_version, 'kind': 'Event'},
    )


def patch_event(
    session: KubernetesSession,
    namespace: str,
    name: str,
    patch: Mapping[str, Any],
) -> bool:
    """Change an Event; whether there is one of that name."""
    path = EVENTS.path(namespace, name)
    try:
        session.call('PATCH', path, patch, MERGE_PATCH, missing=_Missing)
    except _Missing:
        return False
    return True
