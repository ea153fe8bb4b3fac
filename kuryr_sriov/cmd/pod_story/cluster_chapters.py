# SPDX-License-Identifier: Apache-2.0
"""What the API server knows: the pod, its networks, its port object."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kuryr_sriov import exceptions, model
from kuryr_sriov.clients.kubernetes.objects import PODS, Kubernetes
from kuryr_sriov.clients.kubernetes.portobject import (
    ACTIVE,
    ATTACHED,
    REQUESTED,
    PortObject,
)
from kuryr_sriov.clients.kubernetes.session import Resource
from kuryr_sriov.cmd.pod_story.chapters import Line, Trouble
from kuryr_sriov.npwg import requests

EVENTS = Resource('/api/v1', 'events')
NEWEST_EVENTS = 5

WAITED_FOR = {
    REQUESTED: 'See whether kuryr-sriov-controller runs, and what it logs.',
    ATTACHED: 'See whether kuryr-sriov-node runs on the node, and what it '
    'logs.',
    ACTIVE: 'See the port in Neutron, and the agent of the node.',
}
"""What to look at while a condition is missing, by its type."""


class ClusterSide:
    """The API server's chapters on one pod.

    :ivar body: the pod object; empty where there is none, or no answer.
    :ivar port: its port object; None where there is none, or no answer.
    """

    def __init__(
        self, kubernetes: Kubernetes, namespace: str, name: str
    ) -> None:
        self._kubernetes = kubernetes
        self._namespace = namespace
        self._name = name
        self.body: Mapping[str, Any] = {}
        self.port: PortObject | None = None

    @property
    def pod(self) -> model.Pod | None:
        """The pod, if the API server has it."""
        return requests.pod_of(self.body) if self.body else None

    def read_pod(self) -> Iterator[Line]:
        """The pod object."""
        # A list, since the node daemon may list pods, but not get them.
        query = {'fieldSelector': f'metadata.name={self._name}'}
        pages = self._kubernetes.session.list_objects(
            PODS.path(self._namespace), query
        )
        self.body = next((item for p in pages for item in p['items']), {})
        if not self.body:
            yield Trouble(
                f'The API server has no pod {self._namespace}/{self._name}.',
                'If it has just been deleted, see "kuryr-sriov repair" on '
                'its node for VFs that are still on record.',
            )
            return
        spec, status = self.body['spec'], self.body.get('status', {})
        metadata = self.body['metadata']
        yield f'uid {metadata["uid"]}'
        yield (
            f'{status.get("phase", "no phase")} on node '
            f'{spec.get("nodeName") or "none: it is not scheduled"}'
        )
        if metadata.get('deletionTimestamp'):
            yield f'being deleted since {metadata["deletionTimestamp"]}'
        if not spec.get('nodeName'):
            yield Trouble(
                'The pod is not scheduled to a node.',
                f'See "kubectl describe pod -n {self._namespace} '
                f'{self._name}"; often no node has a free VF.',
            )
        if spec.get('hostNetwork'):
            yield Trouble(
                'The pod is in the network of its host, where no VF is wired.',
                'Remove hostNetwork from its spec.',
            )

    def read_networks(self) -> Iterator[Line]:
        """The networks annotation, and the NAD of each entry."""
        if not self.body:
            return
        try:
            entries = requests.entries_of(self.body)
        except exceptions.InvalidAnnotation as error:
            yield Trouble(str(error))
            return
        if not entries:
            yield Trouble(
                'The pod asks for no network.',
                f'Name them in its annotation {requests.NETWORKS}.',
            )
        ours = []
        for entry in entries:
            try:
                nad = self._kubernetes.get_nad(entry.namespace, entry.name)
                request = requests.request_of(entry, nad)
            except (
                exceptions.InvalidAnnotation,
                exceptions.NetworkMissing,
            ) as error:
                yield Trouble(str(error))
                continue
            where = f'{entry.ifname}: {entry.namespace}/{entry.name}'
            if request is None:
                yield f'{where}, of another driver'
                continue
            ours.append(request)
            resource = request.resource or "its physnet's resource"
            yield f'{where}, a VF of {resource}'
        yield from self._check_devices(ours)

    def _check_devices(
        self, ours: list[model.NetworkRequest]
    ) -> Iterator[Line]:
        named = [request for request in ours if request.resource]
        for resource, number in requests.requested_devices(self.body).items():
            yield f'its containers request {number} {resource}'
        try:
            requests.check_requested(named, self.body)
        except exceptions.NotAllocated as error:
            yield Trouble(str(error))

    def read_port_object(self) -> Iterator[Line]:
        """What the controller promised, and what became of it."""
        if self.pod is None:
            return
        self.port = self._kubernetes.get_port_object(self.pod)
        if self.port is None:
            yield Trouble(
                'The controller has not made a port object for the pod.',
                WAITED_FOR[REQUESTED],
            )
            return
        yield from map(_describe_vif, self.port.reported_vifs)
        for one in self.port.attachments:
            yield (
                f'{one.interface}: reported on VF {one.location.pci_slot}'
                + (f', {one.message}' if one.message else '')
            )
        yield from self._read_conditions(self.port)

    def _read_conditions(self, port: PortObject) -> Iterator[Line]:
        for kind, remedy in WAITED_FOR.items():
            condition = port.conditions.get(kind)
            if condition is None:
                yield f'{kind}: not yet'
                yield Trouble(f'The pod is not {kind} yet.', remedy)
                return
            yield (
                f'{kind}: {condition.status} ({condition.reason}) since '
                f'{condition.since}'
            )
            if condition.status != 'True':
                message = condition.message or condition.reason
                yield Trouble(f'{kind}: {message}')
                return

    def read_events(self) -> Iterator[Line]:
        """The newest events of the pod that warn, or are ours."""
        if self.pod is None:
            return
        query = {'fieldSelector': f'involvedObject.uid={self.pod.uid}'}
        pages = self._kubernetes.session.list_objects(
            EVENTS.path(self._namespace), query
        )
        told = [
            event
            for page in pages
            for event in page['items']
            if event.get('type') == 'Warning'
            or event.get('reportingComponent', '').startswith('kuryr-sriov')
        ]
        told.sort(key=_time_of)
        for event in told[-NEWEST_EVENTS:]:
            yield (
                f'{_time_of(event)} {event.get("reason", "")}: '
                f'{event.get("message") or event.get("note") or ""}'
            )


def _time_of(event: Mapping[str, Any]) -> str:
    series = event.get('series') or {}
    return str(
        series.get('lastObservedTime')
        or event.get('lastTimestamp')
        or event.get('eventTime')
        or ''
    )


def _describe_vif(vif: model.Vif) -> str:
    if vif.provider_network and not vif.mac:
        found = f'port {vif.id}' if vif.id else 'the port that its VF is'
        return f'{vif.ifname}: {found}, on network {vif.provider_network}'
    return (
        f'{vif.ifname}: port {vif.id}, MAC {vif.mac}, '
        f'{", ".join(vif.addresses) or "no address"}, VLAN {vif.vlan}'
    )
