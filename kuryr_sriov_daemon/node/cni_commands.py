# SPDX-License-Identifier: Apache-2.0
"""What the node does for the runtime: ADD, CHECK, DEL, GC, STATUS.

There are two ways in, of which an installation has one:

chained
    After a primary CNI, for every pod: all VIFs that the pod's annotation
    asks for, added to the result of the plugins before.
delegate
    Of Multus, for each network of ours: the one VIF of that interface.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from kuryr_sriov import (
    AttachedVif,
    Attachment,
    Device,
    Drifted,
    Node,
    Pod,
    Sandbox,
    TransientError,
    Vif,
)
from kuryr_sriov_daemon.node import delegation
from kuryr_sriov_daemon.node.cni_request import (
    CONFIG,
    CniError,
    CniRequest,
    valid_container_ids,
)
from kuryr_sriov_daemon.node.cni_result import NOT_AVAILABLE, result_of
from kuryr_sriov_daemon.node.cni_server import Gone
from kuryr_sriov_daemon.node.deadlines import Deadline, Limits
from kuryr_sriov_daemon.node.drift_watch import DriftWatch
from kuryr_sriov_daemon.node.node_view import NodeView
from kuryr_sriov_daemon.node.sandboxes import Adding, Sandboxes

Way = Literal['chained', 'delegate']
Result = Mapping[str, Any] | None


class Reporter(Protocol):
    """Tells the API server what the node has attached."""

    def report(self, pod: Pod) -> None:
        """Soon, what is attached by then."""


class CniCommands:
    """Serves the requests of the runtime. Thread-safe.

    :param drift_watch: compares VFs with their records.
    :param repair: has the node reconciled soon, for an ADD that nobody
        waited for.
    """

    def __init__(
        self,
        node: Node,
        drift_watch: DriftWatch,
        view: NodeView,
        reporter: Reporter,
        way: Way,
        limits: Limits,
        repair: Callable[[], None],
    ) -> None:
        self._node = node
        self._drift_watch = drift_watch
        self._view = view
        self._reporter = reporter
        self._delegate = way == 'delegate'
        self._limits = limits
        self._repair = repair
        self._sandboxes = Sandboxes()
        self._draining = False
        self._commands: Mapping[str, Callable[[CniRequest, Gone], Result]] = {
            'ADD': self._serve_add,
            'CHECK': self._serve_check,
            'DEL': self._serve_del,
            'GC': self._serve_gc,
            'STATUS': self._serve_status,
        }

    def drain(self) -> None:
        """End what waits for others, and begin nothing any more."""
        self._draining = True
        self._view.wake_waiters()

    def serve(self, request: CniRequest, gone: Gone) -> Result:
        """The result of one request; None for an empty one."""
        return self._commands[request.command](request, gone)

    def finish(self, request: CniRequest, delivered: bool) -> None:
        """After the answer to an ADD: tell the neighbours.

        An ADD whose answer nobody has taken is undone: the runtime begins
        again, and its DEL for this one may be lost.
        """
        if request.command != 'ADD':
            return
        if delivered:
            self._node.announce(request.container_id)
            return
        try:
            self._undo_add(request)
        finally:
            self._repair()

    # ADD

    def _serve_add(self, request: CniRequest, gone: Gone) -> Result:
        if not self._delegate and request.previous is None:
            raise CniError(
                CONFIG,
                'there is no prevResult: this node is configured for '
                '[sriov_node] way = chained, where kuryr-sriov comes after a '
                'primary CNI in a list; for Multus, say way = delegate',
            )
        deadline = Deadline(self._limits.request)
        with self._sandboxes.adding(request.container_id) as adding:

            def raise_if_over() -> None:
                adding.check()
                if gone():
                    raise TransientError('the runtime has given up waiting')
                if self._draining:
                    raise TransientError(
                        'the node daemon ends; its successor serves this'
                    )

            attached = self._attach_vfs(
                request, adding, deadline, raise_if_over
            )
        return result_of(
            request.version, attached, request.netns, request.previous
        )

    def _attach_vfs(
        self,
        request: CniRequest,
        adding: Adding,
        deadline: Deadline,
        raise_if_over: Callable[[], None],
    ) -> Sequence[AttachedVif]:
        promised_by = deadline.at_most(self._limits.vifs)
        known = self._view.wait_for_pod(
            request.pod_namespace,
            request.pod_name,
            request.pod_uid,
            promised_by,
            raise_if_over,
        )
        if not (known.wants_networks or self._delegate):
            return ()
        vifs = self._view.wait_for_vifs(known, promised_by, raise_if_over)
        devices: Collection[Device] = ()
        if self._delegate:
            vif = delegation.vif_of(request, vifs)
            vifs = (vif,)
            devices = delegation.devices_of(
                request, vif, lambda: self._node.allocated(known.pod)
            )
        if not vifs:
            return ()
        raise_if_over()
        sandbox = Sandbox(request.container_id, request.netns, known.pod)
        with adding.alone(deadline.left()):
            attached = self._node.attach(
                sandbox, vifs, tuple(devices), timeout=deadline.left()
            )
        self._reporter.report(known.pod)
        try:
            self._complete_add(
                request, known.pod.uid, attached, deadline, raise_if_over
            )
        except Exception:
            self._undo_add(request)
            raise
        return attached

    def _complete_add(
        self,
        request: CniRequest,
        uid: str,
        attached: Sequence[AttachedVif],
        deadline: Deadline,
        raise_if_over: Callable[[], None],
    ) -> None:
        """What an ADD needs besides VFs that are wired."""
        delegation.write_device_info(request, attached)
        if self._limits.active:
            self._view.wait_for_active(
                uid,
                {each.vif.id: each.location.pci_slot for each in attached},
                deadline.at_most(self._limits.active),
                raise_if_over,
            )

    def _undo_add(self, request: CniRequest) -> None:
        """Give back what an ADD has attached."""
        deadline = Deadline(self._limits.request)
        with self._sandboxes.deleting(request.container_id, deadline.left()):
            self._detach_vfs(request, deadline)

    # The others

    def _serve_del(self, request: CniRequest, gone: Gone) -> Result:
        deadline = Deadline(self._limits.request)
        with self._sandboxes.deleting(request.container_id, deadline.left()):
            # An ADD that waits for its VIFs sees that it is deleted.
            self._view.wake_waiters()
            self._detach_vfs(request, deadline)
        delegation.remove_device_info(request)
        return None

    def _detach_vfs(self, request: CniRequest, deadline: Deadline) -> None:
        pods = {record.sandbox.pod for record in self._list_records(request)}
        try:
            self._node.detach(
                request.container_id,
                self._ifname_of(request),
                timeout=deadline.left(),
            )
        finally:
            for pod in pods:
                self._reporter.report(pod)

    def _serve_check(self, request: CniRequest, gone: Gone) -> Result:
        if self._delegate or self._list_records(request):
            self._drift_watch.check(
                request.container_id, self._ifname_of(request)
            )
            return None
        vifs = self._promised_vifs(request)
        if vifs:
            raise Drifted(
                f'pod {request.pod_namespace}/{request.pod_name} has no VFs, '
                f'but was promised {", ".join(vif.ifname for vif in vifs)}; '
                'recreate the pod'
            )
        return None

    def _promised_vifs(self, request: CniRequest) -> Sequence[Vif]:
        known = self._view.find_pod(
            request.pod_namespace, request.pod_name, request.pod_uid
        )
        port = (
            self._view.get_port(known.pod.uid) if known is not None else None
        )
        return port.vifs if port is not None else ()

    def _serve_gc(self, request: CniRequest, gone: Gone) -> Result:
        valid = valid_container_ids(request.config)
        if valid is None:
            return None
        if not self._delegate:
            # Those of one network configuration. A pod that still runs may
            # have been attached under an earlier name of it.
            self._node.collect_garbage(valid | self._running_sandboxes())
        # A delegate's are those of one network of several.
        self._node.reconcile()
        return None

    def _running_sandboxes(self) -> frozenset[str]:
        pods = self._view.list_pods()
        return frozenset(
            record.sandbox.container_id
            for record in self._node.attachments()
            if (known := pods.get(record.sandbox.pod.uid)) is not None
            and not known.is_over
        )

    def _serve_status(self, request: CniRequest, gone: Gone) -> Result:
        if self._draining:
            raise CniError(NOT_AVAILABLE, 'the node daemon ends')
        if not self._view.is_complete:
            raise CniError(
                NOT_AVAILABLE,
                'the API server has not told which pods this node has; '
                f'{self._view.trouble or "it is asked"}',
            )
        return None

    def _list_records(self, request: CniRequest) -> Sequence[Attachment]:
        """What is attached of what the request is about."""
        ifname = self._ifname_of(request)
        return [
            record
            for record in self._node.attachments(
                container_id=request.container_id
            )
            if ifname in ('', record.vif.ifname)
        ]

    def _ifname_of(self, request: CniRequest) -> str:
        """The interface it is about; empty for all of the sandbox.

        The interface that a chained plugin is told is the primary CNI's.
        """
        return request.ifname if self._delegate else ''
