# SPDX-License-Identifier: Apache-2.0
"""What the tests of the controller's daemon say of a cluster."""

from __future__ import annotations

import pathlib
import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from kubelab.cluster import PORTS, ApiError, Cluster, place
from kubelab.controllers import SUBNETS, ControllerProcess
from servers import wait_for

from kuryr_sriov import Condition, Kubernetes, Location, PortObject, model
from kuryr_sriov.clients.kubernetes.portobject import (
    ReportedAttachment,
    read_port_object,
)

MERGE = 'application/merge-patch+json'
NETWORKS = 'k8s.v1.cni.cncf.io/networks'
PODS = place('Pod')
SECONDS = 180
RESOURCES = {'sriov-net1': 'physnet22', 'sriov-net2': 'physnet23'}


class World:
    """Pods, networks and what became of them."""

    def __init__(self, cluster: Cluster, folder: pathlib.Path) -> None:
        self.cluster = cluster
        self.folder = folder
        (folder / 'subnets.yaml').write_text(SUBNETS)

    def make_nad(self, name: str, subnet: str = '') -> None:
        """A network with the how-to's configuration.

        :param subnet: its id; empty for the wide one of ``SUBNETS``, which
            only the how-to's own two networks have.
        """
        subnet = subnet or RESOURCES[name].replace('physnet', 'wide')
        self.cluster.make_nad(name, subnet)

    def make_pod(
        self,
        name: str,
        networks: str = 'sriov-net1,sriov-net2',
        node: str = 'node1',
        **spec: Any,
    ) -> model.Pod:
        """A pod that asks for one device of each resource."""
        devices = {f'intel.com/{one}': '1' for one in RESOURCES.values()}
        container = {
            'name': 'c',
            'image': 'nginx:1.29',
            'resources': {'requests': devices, 'limits': devices},
        }
        made = self.cluster.create(
            {
                'apiVersion': 'v1',
                'kind': 'Pod',
                'metadata': {
                    'name': name,
                    'annotations': {NETWORKS: networks} if networks else {},
                },
                'spec': {'nodeName': node, 'containers': [container], **spec},
            }
        )
        return model.Pod('default', name, made['metadata']['uid'], node)

    def patch_pod(self, name: str, patch: Any, part: str = '') -> None:
        path = f'{PODS}/{name}{part}'
        self.cluster.call('PATCH', path, patch, Content_Type=MERGE)

    def annotate(self, name: str, networks: str | None) -> None:
        """Edit a pod's annotation, as its author may."""
        self.patch_pod(
            name, {'metadata': {'annotations': {NETWORKS: networks}}}
        )

    def end_pod(self, name: str, phase: str = 'Succeeded') -> None:
        self.patch_pod(name, {'status': {'phase': phase}}, '/status')

    def delete_pod(self, name: str) -> None:
        self.cluster.call('DELETE', f'{PODS}/{name}?gracePeriodSeconds=0')

    def lose_port_object(self, pod: model.Pod) -> None:
        """As a person who removes finalizers."""
        path = f'{PORTS}/{pod.uid}'
        free = {'metadata': {'finalizers': None}}
        self.cluster.call('PATCH', path, free, Content_Type=MERGE)
        self.cluster.call('DELETE', path)

    def port(self, pod: model.Pod) -> PortObject | None:
        """The pod's port object; None for none."""
        try:
            body = self.cluster.call('GET', f'{PORTS}/{pod.uid}')
        except ApiError as error:
            if error.code != 404:
                raise
            return None
        return read_port_object(body)

    def ports(self) -> dict[str, PortObject]:
        """All port objects, by the uid of their pod."""
        items = self.cluster.call('GET', PORTS)['items']
        found = map(read_port_object, items)
        return {port.pod.uid: port for port in found}

    def says(self, pod: model.Pod, kind: str) -> tuple[str, str]:
        """Status and reason of a condition."""
        port = self.port(pod)
        found = port.conditions.get(kind) if port else None
        return (found.status, found.reason) if found else ('', '')

    def wait_says(
        self, pod: model.Pod, kind: str, status: str, reason: str
    ) -> None:
        wait_for(
            lambda: self.says(pod, kind) == (status, reason),
            SECONDS,
            f'{pod}: {kind} {status} {reason}, not {self.says(pod, kind)}',
        )

    def wait_promised(self, *pods: model.Pod) -> list[PortObject]:
        """Wait until each has two VIFs and is told so."""

        def promised() -> bool:
            ports = self.ports()
            return all(
                pod.uid in ports
                and len(ports[pod.uid].vifs) == 2
                and 'Active' in ports[pod.uid].conditions
                for pod in pods
            )

        wait_for(promised, SECONDS, f'{len(pods)} pods to get their VIFs')
        ports = self.ports()
        return [ports[pod.uid] for pod in pods]

    def wait_gone(self, *pods: model.Pod) -> None:
        """Wait until nothing is left of them, and nobody holds a VIF."""

        def gone() -> bool:
            left = self.ports().keys() & {pod.uid for pod in pods}
            return not left and not self.holders() & {p.uid for p in pods}

        wait_for(gone, SECONDS, f'the ports of {len(pods)} pods to go')

    def holders(self) -> set[str]:
        """Uids of the pods that have VIFs of the local driver."""
        return {uid for uid, _ in self.vifs()}

    def vifs(self) -> list[tuple[str, str]]:
        """Pod uid and VIF id of all VIFs of the local driver."""
        path = self.folder / 'local.sqlite'
        connection = sqlite3.connect(f'file:{path}?mode=ro', uri=True)
        try:
            return list(
                connection.execute('SELECT pod_uid, id FROM vif').fetchall()
            )
        finally:
            connection.close()

    def events(self, pod: model.Pod) -> list[Any]:
        """The Events on it."""
        items = self.cluster.call('GET', place('Event'))['items']
        return [one for one in items if one['regarding'].get('uid') == pod.uid]


def report(
    node: Kubernetes,
    port: PortObject,
    slot: int = 0,
    pcis: Sequence[str] = (),
) -> None:
    """What the node's daemon reports once it has attached all VIFs.

    :param pcis: the VFs; by default those of two PFs, number ``slot``.
    """
    pcis = pcis or [f'0000:02:{16 + n:02x}.{slot}' for n in (0, 1)]
    attachments = [
        ReportedAttachment(
            vif.ifname,
            vif.id,
            Location(port.pod.node, pci, '8086:10ca', vif.physnet),
        )
        for pci, vif in zip(pcis, port.vifs, strict=True)
    ]
    done = Condition('True', 'Attached', 'all', '2026-01-01T00:00:00Z')
    node.report(port.pod, attachments, done)


def names(calls: Iterable[str]) -> list[str]:
    """Methods and last words of paths: ``PATCH status``."""
    return [
        f'{method} {path.rpartition("/")[2]}'
        for method, path in (call.split() for call in calls)
    ]


def working(*processes: ControllerProcess) -> ControllerProcess:
    """The one that works, once there is one."""
    wait_for(
        lambda: any(one.works() for one in processes), SECONDS, 'a leader'
    )
    (leader,) = (one for one in processes if one.leads())
    return leader
