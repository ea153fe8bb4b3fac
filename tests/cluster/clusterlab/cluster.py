# SPDX-License-Identifier: Apache-2.0
"""Control plane and node together."""

from __future__ import annotations

import pathlib
from typing import Any

from servers import Running, wait_for

from . import images
from .controlplane import ControlPlane
from .machine import REPOSITORY, Machine
from .node import Node

HOWTO = REPOSITORY / 'examples/howto'


class Cluster(Running):
    """A cluster of one node whose VFs the device plugin offers.

    :ivar plane: its API server, controllers and scheduler; has ``kubectl``.
    :ivar node: the node, which can be restarted.
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.plane = ControlPlane(folder)
        self.machine = Machine(folder)
        self.node = Node(self.machine, self.plane)

    def start(self) -> None:
        self.machine.put_disk(images.ensure_disk(images.ensure_pod_image()))
        self.plane.start()
        self.node.start()

    def stop(self) -> None:
        """End everything that was started. Idempotent."""
        self.node.stop()
        self.plane.stop()

    def pods(self) -> list[Any]:
        """Those of the default namespace that are not being deleted."""
        items = self.plane.get('pods')['items']
        return [
            each
            for each in items
            if 'deletionTimestamp' not in each['metadata']
        ]

    def wait_running(self, count: int, timeout: float = 300) -> list[Any]:
        """The pods, once there are so many and all of them are Ready."""
        found: list[Any] = []

        def running() -> bool:
            found[:] = self.pods()
            ready = [each for each in found if is_ready(each)]
            return len(ready) == len(found) == count

        wait_for(running, timeout, f'{count} pods to run')
        return found

    def delete_workloads(self) -> None:
        """Everything that a test may have started; return when it is gone."""
        kinds = 'deployments,pods'
        self.plane.run('delete', kinds, '--all', '--now', timeout=300)
        wait_for(self._is_empty, 300, 'the pods to be gone')

    def _is_empty(self) -> bool:
        return not self.plane.get('pods')['items']


def is_ready(pod: Any) -> bool:
    """Whether all of a pod's containers are."""
    return any(
        each['type'] == 'Ready' and each['status'] == 'True'
        for each in pod['status'].get('conditions', ())
    )
