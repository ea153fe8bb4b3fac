# SPDX-License-Identifier: Apache-2.0
"""The calls that we make to the Kubernetes API, in our own terms.

A pod's VIFs travel from the controller to the node in a port object: a
pod's annotations can be edited by its author, this only by whom RBAC lets.

Writes are patches, of what is ours alone: nothing is read, modified and
written back. This follows the Kubernetes API concepts: JSON merge patch
(RFC 7386), server-side apply, and ``Status`` objects for errors.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from kuryr_sriov import model
from kuryr_sriov.clients.kubernetes import portobject
from kuryr_sriov.clients.kubernetes.portobject import (
    Condition,
    PortObject,
    ReportedAttachment,
)
from kuryr_sriov.clients.kubernetes.session import (
    APPLY,
    MERGE_PATCH,
    KubernetesSession,
    Resource,
)
from kuryr_sriov.clients.kubernetes.watch import (
    Change,
    ObjectCache,
    name_of,
)
from kuryr_sriov.exceptions import (
    NetworkMissing,
    PermanentError,
    TransientError,
)
from kuryr_sriov.npwg.status import NETWORK_STATUS

T = TypeVar('T')

NADS = Resource('/apis/k8s.cni.cncf.io/v1', 'network-attachment-definitions')
NODES = Resource('/api/v1', 'nodes')
NAMESPACES = Resource('/api/v1', 'namespaces')
PODS = Resource('/api/v1', 'pods')
PORTS = Resource('/apis/openstack.org/v1', 'kuryrsriovports')

CONTROLLER, NODE = 'kuryr-sriov-controller', 'kuryr-sriov-node'
ASKING = 'kuryr-sriov-node-asking'
"""Field managers: who owns what of a port object."""


class Kubernetes:
    """The calls of controller and node. Thread-safe; see the session."""

    def __init__(self, session: KubernetesSession) -> None:
        self.session = session

    def get_nad(self, namespace: str, name: str) -> Mapping[str, Any]:
        """The NetworkAttachmentDefinition object.

        :raises NetworkMissing: there is none.
        """
        return self.session.call(
            'GET',
            NADS.path(namespace, name),
            missing=lambda why: no_nad(namespace, name, why),
        )

    def is_pod_there(self, pod: model.Pod) -> bool:
        """Whether the API server has that very pod, by its uid."""
        body = self.get_pod(pod.namespace, pod.name)
        return bool(body) and body['metadata']['uid'] == pod.uid

    def get_pod(self, namespace: str, name: str) -> Mapping[str, Any]:
        """The pod object of that name; empty where there is none."""
        try:
            return self.session.call(
                'GET', PODS.path(namespace, name), missing=_Missing
            )
        except _Missing:
            return {}

    def get_port_object(self, pod: model.Pod) -> PortObject | None:
        """The pod's port object; None where there is none."""
        path = PORTS.path(pod.namespace, pod.uid)
        try:
            body = self.session.call('GET', path, missing=_Missing)
        except _Missing:
            return None
        return portobject.read_port_object(body)

    def get_cluster_uid(self) -> str:
        """What tells this cluster from others: its ``kube-system``'s uid."""
        # It is as old as the cluster, and the API server refuses to delete it.
        body = self.session.call('GET', NAMESPACES.path(name='kube-system'))
        return str(body['metadata']['uid'])

    def list_offers(self) -> dict[str, frozenset[str]]:
        """Names of the resources that each node of the cluster offers."""
        return {
            node['metadata']['name']: frozenset(
                node.get('status', {}).get('allocatable', ())
            )
            for page in self.session.list_objects(NODES.path())
            for node in page['items']
        }

    def patch_network_status(
        self,
        pod: model.Pod,
        status: Sequence[Mapping[str, Any]],
        resource_version: str = '',
    ) -> None:
        """Set the pod's ``network-status`` annotation.

        :param status: all of it, as ``npwg.status`` has it.
        :param resource_version: of the pod that it was made from, where it
            has what others wrote; empty for whichever.
        :raises ResourceConflict: the pod has changed since.
        """
        metadata: dict[str, Any] = {
            # so that another pod of that name refuses it
            'uid': pod.uid,
            'annotations': {NETWORK_STATUS: json.dumps(status)},
        }
        if resource_version:
            metadata['resourceVersion'] = resource_version
        self.session.call(
            'PATCH',
            PODS.path(pod.namespace, pod.name, 'status'),
            {'metadata': metadata},
            MERGE_PATCH,
            missing=lambda why: PermanentError(
                f'pod {pod} is gone ({why}); nothing is left to report'
            ),
        )

    def publish(
        self, pod: model.Pod, vifs: Iterable[model.Vif], request: str = ''
    ) -> PortObject:
        """Hand a pod's VIFs to its node, in place of earlier ones.

        :param request: digest of what the VIFs were made from.
        :return: the port object as it is then.
        """
        body = portobject.promise_body(pod, vifs, request)
        answer = self._apply_patch(pod, '', body, CONTROLLER, _no_definition)
        return portobject.read_port_object(answer)

    def vifs_of(self, pod: model.Pod) -> tuple[model.Vif, ...]:
        """What was published for a pod.

        :raises TransientError: nothing has been so far.
        """
        body = self.session.call(
            'GET',
            PORTS.path(pod.namespace, pod.uid),
            missing=lambda why: TransientError(
                f'no VIFs of pod {pod} are published ({why}); see whether '
                'the controller runs, and what it logs of the pod',
                retry_after=1.0,
            ),
        )
        return portobject.read_port_object(body).vifs

    def report(
        self,
        pod: model.Pod,
        attachments: Iterable[ReportedAttachment],
        condition: Condition,
    ) -> PortObject:
        """Tell the controller what the node has attached for a pod.

        :param condition: Attached.
        :return: the port object as it is then.
        :raises PermanentError: the port object is gone.
        """
        body = portobject.report_body(pod, attachments, condition)
        return portobject.read_port_object(
            self._apply_patch(
                pod, 'status', body, NODE, lambda why: _pod_gone(pod, why)
            )
        )

    def tell_found(self, pod: model.Pod, found: Mapping[str, str]) -> None:
        """Ask the controller to complete VIFs on these ports.

        :param found: port ids by interface.
        :raises PermanentError: the port object is gone.
        """
        body = portobject.found_body(pod, found)
        # by a manager of its own: a report does not name it, and would drop it
        self._apply_patch(
            pod, 'status', body, ASKING, lambda why: _pod_gone(pod, why)
        )

    def record(
        self,
        pod: model.Pod,
        conditions: Mapping[str, Condition],
        activated: Mapping[str, str],
    ) -> PortObject:
        """Record what the controller did: its conditions, by type.

        :param activated: PCI address by VIF id.
        :return: the port object as it is then.
        :raises PermanentError: the port object is gone.
        """
        body = portobject.verdict_body(pod, conditions, activated)
        return portobject.read_port_object(
            self._apply_patch(
                pod,
                'status',
                body,
                CONTROLLER,
                lambda why: _pod_gone(pod, why),
            )
        )

    def delete_port_object(self, port: PortObject) -> PortObject | None:
        """Begin to delete it; return what is left, None where it is gone."""
        pod = port.pod
        try:
            body = self.session.call(
                'DELETE', PORTS.path(pod.namespace, pod.uid), missing=_Missing
            )
        except _Missing:
            return None
        if body['kind'] != portobject.KIND:
            return None  # it had no finalizer: a Status tells that it is gone
        return portobject.read_port_object(body)

    def remove_finalizer(self, port: PortObject) -> None:
        """Let the object go: the provider has its VIFs back.

        :raises ResourceConflict: it has changed since ``port`` was read.
        """
        # A merge patch replaces the whole list: with the version that was
        # read, a finalizer that somebody has added since is not lost.
        left = [f for f in port.finalizers if f != portobject.FINALIZER]
        metadata = {
            'resourceVersion': port.resource_version,
            'finalizers': left,
        }
        with contextlib.suppress(_Missing):
            self.session.call(
                'PATCH',
                PORTS.path(port.pod.namespace, port.pod.uid),
                {'metadata': metadata},
                MERGE_PATCH,
                missing=_Missing,
            )

    def watch_pods(
        self,
        keep: Callable[[Mapping[str, Any]], T | None],
        changed: Callable[[Change[T]], None],
        node: str = '',
    ) -> ObjectCache[T]:
        """A live copy of the pods that are on a node, by uid.

        :param node: only those of that one; empty for all nodes.
        """
        # A pod that is on no node yet has no VIFs: their ports are bound to a
        # node.
        on = f'spec.nodeName={node}' if node else 'spec.nodeName!='
        query = {'fieldSelector': on}
        return ObjectCache(
            self.session, PODS.path(), keep, changed, query=query
        )

    def watch_nads(
        self,
        keep: Callable[[Mapping[str, Any]], T | None],
        changed: Callable[[Change[T]], None],
    ) -> ObjectCache[T]:
        """A live copy of all NADs, by namespace and name."""
        return ObjectCache(
            self.session, NADS.path(), keep, changed, key=name_of
        )

    def watch_port_objects(
        self, changed: Callable[[Change[PortObject]], None], node: str = ''
    ) -> ObjectCache[PortObject]:
        """A live copy of the port objects, by their pods' uids.

        :param node: only those of that one; empty for all nodes.
        """
        query = {'fieldSelector': f'spec.podNodeName={node}'} if node else {}
        return ObjectCache(
            self.session,
            PORTS.path(),
            portobject.read_port_object,
            changed,
            query=query,
            key=lambda body: str(body['metadata']['name']),
        )

    def _apply_patch(
        self,
        pod: model.Pod,
        part: str,
        body: Mapping[str, Any],
        manager: str,
        missing: Any,
    ) -> Mapping[str, Any]:
        """Server-side apply: what ``manager`` no longer names goes."""
        return self.session.call(
            'PATCH',
            PORTS.path(pod.namespace, pod.uid, part),
            body,
            APPLY,
            # The fields are ours alone; without force, somebody's edit by hand
            # would stop the pod until a person solves the conflict.
            query={'fieldManager': manager, 'force': 'true'},
            missing=missing,
        )


def no_nad(namespace: str, name: str, why: str) -> NetworkMissing:
    """The error for a NetworkAttachmentDefinition that is not there."""
    return NetworkMissing(
        f'there is no NetworkAttachmentDefinition {namespace}/{name} '
        f'({why}); create it, or correct the networks annotation'
    )


class _Missing(Exception):
    """The API server answered 404."""


def _no_definition(why: str) -> PermanentError:
    return PermanentError(
        f'the API server has no {PORTS.plural} ({why}); apply '
        'deploy/base/crd.yaml'
    )


def _pod_gone(pod: model.Pod, why: str) -> PermanentError:
    return PermanentError(
        f'{portobject.KIND} {pod.namespace}/{pod.uid} of pod {pod} is gone '
        f'({why}); nothing is left to report'
    )
