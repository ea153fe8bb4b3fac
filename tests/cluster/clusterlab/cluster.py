# SPDX-License-Identifier: Apache-2.0
"""The whole: control plane, node, Neutron, and this project installed."""

from __future__ import annotations

import json
import pathlib
import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from kubelab.cluster import place
from openstack.exceptions import NotFoundException
from servers import Running

from . import images
from .cloud import Cloud
from .controlplane import PORT_OBJECTS, ControlPlane
from .machine import Machine
from .node import Node
from .patience import wait_until
from .product import Product

EVENTS = '/api/v1/namespaces/default/events'


class Cluster(Running):
    """A cluster of one node, with this tree's daemons installed.

    :ivar plane: its API server, controllers and scheduler; has ``kubectl``.
    :ivar node: the node, which can be restarted.
    :ivar cloud: Neutron, outside.
    :ivar product: the daemons.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        (folder / 'neutron').mkdir()
        self.cloud = Cloud(folder / 'neutron')
        self.plane = ControlPlane(folder)
        self.machine = Machine(folder)
        self.node = Node(self.machine, self.plane)
        self.traces = self.node.traces
        self.product = Product(
            folder / 'product', self.machine, self.plane, self.cloud
        )

    def start(self) -> None:
        self.machine.put_disk(images.ensure_disk())
        self.plane.start()
        with ThreadPoolExecutor(2) as pool:
            cloud = pool.submit(self.cloud.start)
            self.node.start()
            cloud.result()
        self.product.install()

    def stop(self) -> None:
        """End everything that was started. Idempotent."""
        self.node.stop()
        self.plane.stop()
        self.cloud.stop()

    def pods(self) -> list[Any]:
        """Those of the default namespace that are not being deleted."""
        return [
            each
            for each in self.plane.get(place('Pod'))['items']
            if 'deletionTimestamp' not in each['metadata']
        ]

    def wait_running(
        self, count: int, without: list[Any] | None = None
    ) -> list[Any]:
        """The pods, once there are so many and all of them are Ready.

        :param without: pods as they were; no container of theirs counts.
        """
        old = {name for pod in without or () for name in container_ids(pod)}
        found: list[Any] = []

        def running() -> bool:
            found[:] = [
                each
                for each in self.pods()
                # a node that starts refuses pods of which it knows: the
                # device plugin comes later
                if each['status']['phase'] not in ('Failed', 'Succeeded')
            ]
            ready = [
                each
                for each in found
                if is_ready(each) and not old & container_ids(each)
            ]
            return len(ready) == len(found) == count

        wait_until(running, f'{count} pods to run')
        return found

    def create(self, *bodies: Mapping[str, Any]) -> None:
        """Make these objects, in the default namespace."""
        listed = {'apiVersion': 'v1', 'kind': 'List', 'items': list(bodies)}
        self.plane.run('create', '-f', '-', stdin=json.dumps(listed))

    def pod(self, name: str) -> Any:
        """One pod of the default namespace, as it is now."""
        return self.plane.get(f'{place("Pod")}/{name}')

    def wait_ready(self, *names: str) -> list[Any]:
        """These pods, once all of them are Ready; others may wait."""
        found: list[Any] = []

        def ready() -> bool:
            there = {each['metadata']['name']: each for each in self.pods()}
            found[:] = [there[name] for name in names if name in there]
            return len(found) == len(names) and all(map(is_ready, found))

        wait_until(ready, f'{", ".join(names)} to be Ready')
        return found

    def wait_event(self, name: str, pattern: str) -> str:
        """What an event of this pod says, once one matches the pattern.

        :param pattern: a regular expression, for ``REASON: MESSAGE``.
        """
        told: list[str] = []

        def matches() -> bool:
            chosen = f'{EVENTS}?fieldSelector=involvedObject.name={name}'
            items = self.plane.get(chosen)['items']
            told[:] = [f'{it["reason"]}: {it.get("message")}' for it in items]
            return any(re.search(pattern, each) for each in told)

        try:
            wait_until(matches, f'the event {pattern!r} of {name}')
        except RuntimeError as error:
            raise RuntimeError(f'{error}; it has {told}') from None
        return next(each for each in told if re.search(pattern, each))

    def delete_workloads(self) -> None:
        """Everything that a test may have started in the namespace."""
        kinds = 'deployments,statefulsets,daemonsets,jobs,pods'
        self.plane.run('delete', kinds, '--all', '--wait=false', '--now')

    # What is asserted of it, from outside.

    def ports(self) -> list[Any]:
        """Neutron's ports."""
        while True:
            try:
                return list(self.cloud.admin.network.ports())
            except NotFoundException:
                # the port that a page ended with went before the next one
                # was asked for: so this ends
                continue

    def port_objects(self) -> list[Any]:
        """The port objects of all namespaces."""
        found = self.plane.get(PORT_OBJECTS)
        return list(found['items'])

    def wait_vfs_back(self) -> None:
        """Return once no VF on the node is a pod's, or like one of a pod."""
        wait_until(
            lambda: not (self.traces.records() or self.traces.changes()),
            'all VFs to be given back',
        )

    def wait_accounted(self) -> None:
        """Return once no pod, port, record or trace of one is left.

        :raises RuntimeError: something is left; says what.
        """
        left: dict[str, Any] = {}

        def clean() -> bool:
            left.clear()
            found = self.plane.get(place('Pod'))['items']
            left['pods'] = [each['metadata']['name'] for each in found]
            objects = self.port_objects()
            left['port objects'] = [each['spec'] for each in objects]
            left['ports'] = [each.name for each in self.ports()]
            if any(left.values()):
                return False  # to look at the node takes its time
            left['records'] = [each['pci'] for each in self.traces.records()]
            left['node'] = self.traces.changes()
            return not any(left.values())

        try:
            wait_until(clean, 'everything to be given back')
        except RuntimeError as error:
            kept = {what: each for what, each in left.items() if each}
            raise RuntimeError(f'{error}; left: {kept}') from None


def is_ready(pod: Any) -> bool:
    """Whether all of a pod's containers are."""
    return has_condition(pod, 'Ready')


def has_condition(body: Any, kind: str) -> bool:
    """Whether an object of Kubernetes has a condition that is met."""
    return any(
        each['type'] == kind and each['status'] == 'True'
        for each in body.get('status', {}).get('conditions', ())
    )


def container_ids(pod: Any) -> set[str]:
    """Of the containers of a pod that run."""
    return {
        each['containerID']
        for each in pod['status'].get('containerStatuses', ())
        if 'containerID' in each
    }
