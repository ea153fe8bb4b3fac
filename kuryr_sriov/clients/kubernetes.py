# SPDX-License-Identifier: Apache-2.0
"""The Kubernetes API, as far as it concerns VIFs.

A pod's VIFs travel from the controller to the node in a custom resource,
``KuryrSriovPort`` of ``openstack.org/v1``, one for each pod and named by
the pod's uid: annotations of a pod can be edited by its author, this only
by whom RBAC lets (``etc/kubernetes``). It belongs to the pod, so that
Kubernetes deletes it together with the pod.

Writes are patches, of what is ours alone: nothing is read, modified and
written back. This follows the Kubernetes API concepts: JSON merge patch
(RFC 7386), server-side apply, and ``Status`` objects for errors.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from kuryr_sriov import codec, model
from kuryr_sriov.exceptions import (
    ConfigurationError,
    InvalidAnnotation,
    PermanentError,
    TransientError,
)
from kuryr_sriov.npwg.status import NETWORK_STATUS

NADS = '/apis/k8s.cni.cncf.io/v1', 'network-attachment-definitions'
PODS = '/api/v1', 'pods'
PORTS = '/apis/openstack.org/v1', 'kuryrsriovports'

MERGE_PATCH = 'application/merge-patch+json'
APPLY = 'application/apply-patch+yaml'

Failure = Callable[[str], Exception]


class Kubernetes:
    """A client. Thread-safe; connects at first use.

    Errors that a retry may cure (no answer, 409, 429, 5xx) are
    ``TransientError``, the others ``PermanentError``.

    :param api_root: base URL where no credentials are needed, such as
        ``kubectl proxy``.
    :param timeout: seconds for one call.
    :param kubeconfig: file with credentials. If this and ``api_root`` are
        empty, they are those of the service account of the pod that this
        runs in, or else of the file that ``KUBECONFIG`` names.
    :raises ConfigurationError: from every method: there are no
        credentials, or they cannot be used.
    """

    def __init__(
        self, api_root: str = '', timeout: float = 10.0, kubeconfig: str = ''
    ) -> None:
        self._api_root = api_root.rstrip('/')
        self._timeout = timeout
        self._kubeconfig = kubeconfig
        self._lock = threading.Lock()
        self._connected: tuple[Any, Any] | None = None

    def get_nad(self, namespace: str, name: str) -> Mapping[str, Any]:
        """The NetworkAttachmentDefinition object.

        :raises InvalidAnnotation: there is none.
        """
        return self._call(
            'GET',
            _path(NADS, namespace, name),
            missing=lambda why: InvalidAnnotation(
                f'there is no NetworkAttachmentDefinition {namespace}/{name} '
                f'({why}); create it, or correct the networks annotation'
            ),
        )

    def patch_network_status(
        self, pod: model.Pod, status: Sequence[Mapping[str, Any]]
    ) -> None:
        """Set the pod's ``network-status`` annotation.

        :param status: all of it, as ``npwg.network_status`` has it.
        """
        annotations = {NETWORK_STATUS: json.dumps(status)}
        self._call(
            'PATCH',
            _path(PODS, pod.namespace, pod.name) + '/status',
            # With its uid, so that another pod of that name refuses it.
            {'metadata': {'uid': pod.uid, 'annotations': annotations}},
            MERGE_PATCH,
            missing=lambda why: PermanentError(
                f'pod {pod} is gone ({why}); nothing is left to report'
            ),
        )

    def publish(self, pod: model.Pod, vifs: Sequence[model.Vif]) -> None:
        """Hand a pod's VIFs to its node, in place of earlier ones."""
        group, plural = PORTS
        owner = {
            'apiVersion': 'v1',
            'kind': 'Pod',
            'name': pod.name,
            'uid': pod.uid,
        }
        port = {
            'apiVersion': group.removeprefix('/apis/'),
            'kind': 'KuryrSriovPort',
            'metadata': {'name': pod.uid, 'ownerReferences': [owner]},
            'spec': {
                'podName': pod.name,
                'podUid': pod.uid,
                'podNodeName': pod.node,
                'vifs': codec.to_builtins(vifs),
            },
        }
        self._call(
            'PATCH',
            _path(PORTS, pod.namespace, pod.uid)
            + '?fieldManager=kuryr-sriov&force=true',
            port,
            APPLY,
            missing=lambda why: PermanentError(
                f'the API server has no {plural} ({why}); apply '
                'etc/kubernetes/crd.yaml'
            ),
        )

    def vifs_of(self, pod: model.Pod) -> tuple[model.Vif, ...]:
        """What was published for a pod.

        :raises TransientError: nothing has been so far.
        """
        port = self._call(
            'GET',
            _path(PORTS, pod.namespace, pod.uid),
            missing=lambda why: TransientError(
                f'no VIFs of pod {pod} are published ({why}); see whether '
                'the controller runs, and what it logs of the pod',
                retry_after=1.0,
            ),
        )
        return codec.from_json(
            tuple[model.Vif, ...],
            json.dumps(port.get('spec', {}).get('vifs')),
            lambda why: PermanentError(
                f'KuryrSriovPort {pod.namespace}/{pod.uid} cannot be read: '
                f'{why}; restart the controller to have it written anew'
            ),
        )

    def close(self) -> None:
        """Close all connections; the next call opens new ones."""
        with self._lock:
            if self._connected is not None:
                self._connected[1].clear()
                self._connected = None

    def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        media_type: str = '',
        *,
        missing: Failure,
    ) -> Mapping[str, Any]:
        """The object of the answer.

        :param missing: makes the error for a 404.
        """
        import urllib3

        configuration, pool = self._connect()
        where = f'{method} {configuration.host}{path}'
        headers = {'Accept': 'application/json', 'User-Agent': 'kuryr-sriov'}
        if body is not None:
            headers['Content-Type'] = media_type
        for setting in configuration.auth_settings().values():
            headers[setting['key']] = setting['value']
        try:
            response = pool.request(
                method,
                configuration.host + path,
                body=None if body is None else json.dumps(body).encode(),
                headers=headers,
                timeout=urllib3.Timeout(total=self._timeout),
                retries=False,
            )
        except urllib3.exceptions.HTTPError as error:
            raise TransientError(
                f'{where}: no answer: {error}; see whether the API server '
                'can be reached from here'
            ) from error
        answer = _json(response.data)
        if 200 <= response.status < 300 and 'kind' in answer:
            return answer
        raise _error(where, response.status, response.headers, answer, missing)

    def _connect(self) -> tuple[Any, Any]:
        """Configuration and urllib3 pool; loading them takes a while."""
        with self._lock:
            if self._connected is None:
                from kubernetes.client.rest import RESTClientObject

                configuration = self._configuration()
                pool = RESTClientObject(configuration).pool_manager
                self._connected = configuration, pool
            return self._connected

    def _configuration(self) -> Any:
        import kubernetes.config
        from kubernetes.client.configuration import Configuration

        config: Any = kubernetes.config  # has no types
        configuration = Configuration()
        in_pod = 'KUBERNETES_SERVICE_HOST' in os.environ
        try:
            if self._api_root:
                configuration.host = self._api_root
            elif in_pod and not self._kubeconfig:
                config.load_incluster_config(configuration)
            else:
                config.load_kube_config(
                    self._kubeconfig or os.environ.get('KUBECONFIG'),
                    client_configuration=configuration,
                )
        except config.ConfigException as error:
            raise ConfigurationError(
                [
                    f'no access to the Kubernetes API: {error}; run in a pod '
                    'with a service account, or set KUBECONFIG'
                ]
            ) from error
        return configuration


def _path(resource: tuple[str, str], namespace: str, name: str) -> str:
    group, plural = resource
    namespace, name = quote(namespace, safe=''), quote(name, safe='')
    return f'{group}/namespaces/{namespace}/{plural}/{name}'


def _json(data: bytes) -> Mapping[str, Any]:
    """The object in a body; an empty one where there is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _error(
    where: str,
    status: int,
    headers: Mapping[str, str],
    answer: Mapping[str, Any],
    missing: Failure,
) -> Exception:
    why = answer.get('message') or f'HTTP status {status}'
    if status == 404 or _is_another(status, answer):
        return missing(why)
    if status in (409, 429) or status >= 500:
        after = headers.get('Retry-After', '')
        return TransientError(
            f'{where}: {why}; if it stays so, see what the API server logs',
            retry_after=float(after) if after.isdecimal() else 5.0,
        )
    if status == 401:
        remedy = 'renew the credentials'
    elif status == 403:
        remedy = 'bind the roles of etc/kubernetes/rbac.yaml'
    else:
        remedy = 'see whether this is the address of an API server'
    return PermanentError(f'{where}: {why}; {remedy}')


def _is_another(status: int, answer: Mapping[str, Any]) -> bool:
    """Whether the object of that name has not got the uid we gave."""
    causes = (answer.get('details') or {}).get('causes') or ()
    return status == 422 and any(
        cause.get('field') == 'metadata.uid' for cause in causes
    )
