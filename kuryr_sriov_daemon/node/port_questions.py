# SPDX-License-Identifier: Apache-2.0
"""The node asks the controller what the network provider says of a port.

On a node that is a VM whose metadata does not tell addresses, or old ones:
the node has no credentials for the provider, and the controller does not know
which port a VF is. So the node writes into the port object which one it has
found, and the controller completes the VIF there.
"""

from __future__ import annotations

import time

from kuryr_sriov import Kubernetes, Pod, PortObject, TransientError, Vif
from kuryr_sriov_daemon.node.node_view import NodeView


class PortQuestions:
    """Asks, and waits for the answer. Thread-safe.

    :param timeout: seconds to wait for the controller.
    """

    def __init__(
        self, kubernetes: Kubernetes, view: NodeView, timeout: float
    ) -> None:
        self._kubernetes = kubernetes
        self._view = view
        self._timeout = timeout

    def ask(self, pod: Pod, vif: Vif, port_id: str) -> Vif:
        """The VIF on that port, as the provider has it.

        :raises TransientError: the controller has not answered in time, or
            says why it cannot.
        """
        deadline = time.monotonic() + self._timeout
        port = self._view.get_port(pod.uid)
        found = dict(port.found) if port else {}
        if found.get(vif.ifname) != port_id:
            found[vif.ifname] = port_id
            self._kubernetes.tell_found(pod, found)

        def answer() -> Vif | None:
            port = self._view.get_port(pod.uid)
            return _find_answer(port, vif.ifname, port_id) if port else None

        answered = self._view.wait_until(answer, deadline, lambda: None)
        if answered is None:
            raise TransientError(
                f'the controller has not told what the provider says of port '
                f'{port_id} ({vif.ifname} of pod {pod}); see whether it '
                'runs, and the events of the pod'
            )
        return answered


def _find_answer(port: PortObject, ifname: str, port_id: str) -> Vif | None:
    for vif in port.vifs:
        if (vif.ifname, vif.id) == (ifname, port_id):
            return vif
    requested = port.conditions.get('Requested')
    if (
        port.found.get(ifname) == port_id
        and requested is not None
        and requested.status != 'True'
    ):
        raise TransientError(
            f'the controller cannot tell what port {port_id} has: '
            f'{requested.message or requested.reason}'
        )
    return None
