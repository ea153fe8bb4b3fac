# SPDX-License-Identifier: Apache-2.0
"""The API server with its etcd, its users and this project's objects."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from servers import LOOPBACK, ReservedPort, Running, Server, wait_for

from .install import ensure_installed

REPOSITORY = pathlib.Path(__file__).parents[3]
OBJECTS = REPOSITORY / 'deploy' / 'base'

OURS = 'kuryr-sriov'
"""Namespace of the two daemons."""

USERS = {
    'admin': ('admin', 'system:masters'),
    'controller': (f'system:serviceaccount:{OURS}:kuryr-sriov-controller',),
    'node': (f'system:serviceaccount:{OURS}:kuryr-sriov-node',),
    'author': ('author',),
}
"""Names of users, and their groups, by token.

The roles of ``deploy/base/rbac.yaml`` are bound to the two of this project.
The token ``node`` says of which account it is and not of which node;
``Cluster.node_token`` makes those that the kubelet would.
"""

# of which Kubernetes' controllers, which do not run here, make "admin"
AUTHOR_ROLES = tuple(
    f'system:aggregate-to-{role}' for role in ('admin', 'edit', 'view')
)

_ADMISSION = '/apis/admissionregistration.k8s.io/v1'
_RBAC = '/apis/rbac.authorization.k8s.io/v1'
KINDS = {
    'ClusterRole': (_RBAC, 'clusterroles'),
    'ClusterRoleBinding': (_RBAC, 'clusterrolebindings'),
    'CustomResourceDefinition': (
        '/apis/apiextensions.k8s.io/v1',
        'customresourcedefinitions',
    ),
    'Namespace': ('/api/v1', 'namespaces'),
    'ValidatingAdmissionPolicy': (
        _ADMISSION,
        'validatingadmissionpolicies',
    ),
    'ValidatingAdmissionPolicyBinding': (
        _ADMISSION,
        'validatingadmissionpolicybindings',
    ),
}
NAMESPACED = {
    'Deployment': ('/apis/apps/v1', 'deployments'),
    'Event': ('/apis/events.k8s.io/v1', 'events'),
    'Lease': ('/apis/coordination.k8s.io/v1', 'leases'),
    'NetworkAttachmentDefinition': (
        '/apis/k8s.cni.cncf.io/v1',
        'network-attachment-definitions',
    ),
    'Pod': ('/api/v1', 'pods'),
    'Role': (_RBAC, 'roles'),
    'RoleBinding': (_RBAC, 'rolebindings'),
    'ServiceAccount': ('/api/v1', 'serviceaccounts'),
}


def place(kind: str, namespace: str = 'default') -> str:
    """Path of the list of all objects of a kind, in a namespace if in one."""
    if kind in KINDS:
        return '/'.join(KINDS[kind])
    prefix, plural = NAMESPACED[kind]
    return f'{prefix}/namespaces/{namespace}/{plural}'


PLACES = {kind: place(kind) for kind in (*KINDS, *NAMESPACED)}

PORTS = '/apis/openstack.org/v1/namespaces/default/kuryrsriovports'
PORTS_CRD = 'kuryrsriovports.openstack.org'


class ApiError(Exception):
    """The API server says no.

    :ivar code: of the HTTP answer.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class ApiServer(Running):
    """A fresh API server with its etcd; a context manager.

    :param folder: of its data and logs.
    :param users: names of users, and their groups, by token.
    :param flags: further ones of ``kube-apiserver``.
    """

    def __init__(
        self,
        folder: pathlib.Path,
        users: Mapping[str, Sequence[str]],
        *flags: str,
    ) -> None:
        self.programs = programs = ensure_installed()
        self.folder = folder
        self._users = users
        self._ports = ReservedPort(), ReservedPort()
        etcd, api = self._ports
        self.port = api.number
        self.url = f'https://{LOOPBACK}:{api.number}'
        self.ca = folder / 'certificates' / 'apiserver.crt'
        env = dict(os.environ)
        self.etcd = Server(
            'etcd',
            [
                programs / 'etcd',
                f'--data-dir={folder}/etcd',
                f'--listen-client-urls={etcd.url}',
                f'--advertise-client-urls={etcd.url}',
                f'--listen-peer-urls=http://{LOOPBACK}:0',
                *('--socket-reuse-port', '--unsafe-no-fsync'),
            ],
            env,
            folder / 'etcd.log',
            f'{etcd.url}/health',
        )
        self.api = Server(
            'kube-apiserver',
            [
                programs / 'kube-apiserver',
                f'--etcd-servers={etcd.url}',
                f'--bind-address={LOOPBACK}',
                f'--secure-port={api.number}',
                '--permit-port-sharing',
                f'--cert-dir={folder}/certificates',
                f'--token-auth-file={folder}/tokens.csv',
                '--service-cluster-ip-range=10.0.0.0/24',
                f'--service-account-issuer={self.url}',
                f'--service-account-key-file={folder}/key.pem',
                f'--service-account-signing-key-file={folder}/key.pem',
                *flags,
            ],
            env,
            folder / 'kube-apiserver.log',
            f'{self.url}/readyz',
            ca=self.ca,
        )

    def start(self) -> None:
        (self.folder / 'tokens.csv').write_text(
            ''.join(
                f'{token},{user},{user},"{",".join(groups)}"\n'
                for token, (user, *groups) in self._users.items()
            )
        )
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (self.folder / 'key.pem').write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )
        self.etcd.start()
        self.api.start()

    def stop(self) -> None:
        """End everything that was started. Idempotent."""
        self.api.stop()
        self.etcd.stop()
        for port in self._ports:
            port.release()

    def kubeconfig(self, token: str) -> pathlib.Path:
        """A file with the credentials of a user, by token."""
        digest = hashlib.sha256(token.encode()).hexdigest()[:8]
        path = self.folder / f'{digest}.kubeconfig'
        cluster = {
            'server': self.url,
            'certificate-authority': str(self.ca),
        }
        context = {'cluster': 'here', 'user': 'we'}
        content = {
            'clusters': [{'name': 'here', 'cluster': cluster}],
            'users': [{'name': 'we', 'user': {'token': token}}],
            'contexts': [{'name': 'here', 'context': context}],
            'current-context': 'here',
        }
        path.write_text(yaml.safe_dump(content))
        return path

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        user: str = 'admin',
        timeout: float = 30,
        **headers: str,
    ) -> Any:
        """The object that the API server answers.

        :param user: a token.
        :param timeout: seconds that it may take.
        :raises ApiError: it says no.
        """
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                'Authorization': f'Bearer {user}',
                'Content-Type': 'application/json',
                **{k.replace('_', '-'): v for k, v in headers.items()},
            },
        )
        context = ssl.create_default_context(cafile=self.ca)
        try:
            with urllib.request.urlopen(
                request, timeout=timeout, context=context
            ) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            raise ApiError(error.code, text) from error

    def create(self, thing: Any, user: str = 'admin') -> Any:
        """Make an object; a field that is not known is an error."""
        namespace = thing['metadata'].get('namespace', 'default')
        path = f'{place(thing["kind"], namespace)}?fieldValidation=Strict'
        return self.call('POST', path, thing, user)

    def make_nad(self, name: str, subnet: str) -> None:
        """A network with the how-to's configuration, on that subnet."""
        config = {'driverType': 'sriov', 'subnetId': subnet}
        self.create(
            {
                'apiVersion': 'k8s.cni.cncf.io/v1',
                'kind': 'NetworkAttachmentDefinition',
                'metadata': {
                    'name': name,
                    'annotations': {
                        'openstack.org/kuryr-config': json.dumps(config)
                    },
                },
            }
        )

    def apply(self, file: pathlib.Path) -> list[Any]:
        """Make all objects of a file."""
        things = yaml.safe_load_all(file.read_text())
        return [self.create(thing) for thing in things]

    def wait_served(self, path: str) -> None:
        """Return once a kind of objects can be listed."""

        def served() -> bool:
            try:
                self.call('GET', path)
            except ApiError as error:
                if error.code not in (404, 429):  # not there, not ready
                    raise
                return False
            return True

        wait_for(served, 30, path)


class Cluster(ApiServer):
    """An API server with the objects of this project, and no controllers."""

    def __init__(self, folder: pathlib.Path) -> None:
        super().__init__(
            folder,
            USERS,
            f'--advertise-address={LOOPBACK}',
            '--endpoint-reconciler-type=none',
            '--authorization-mode=RBAC',
            # no controller makes the service accounts that it wants
            '--disable-admission-plugins=ServiceAccount',
        )

    def start(self) -> None:
        super().start()
        self.create(
            {
                'apiVersion': 'v1',
                'kind': 'Namespace',
                'metadata': {'name': OURS},
            }
        )
        for name in ('crd', 'nad-crd', 'rbac', 'policy'):
            self.apply(OBJECTS / f'{name}.yaml')
        for role in AUTHOR_ROLES:
            self._bind('author', role)
        self._wait_ready()

    def restart(self) -> None:
        """Start the API server again, once it has been stopped."""
        self.api.start()
        self._wait_ready()

    def _wait_ready(self) -> None:
        self.wait_served(PORTS)
        self.wait_served(PLACES['NetworkAttachmentDefinition'])

    def _bind(self, user: str, role: str) -> None:
        group = 'rbac.authorization.k8s.io'
        self.create(
            {
                'apiVersion': f'{group}/v1',
                'kind': 'ClusterRoleBinding',
                'metadata': {'name': f'{user}-{role.replace(":", "-")}'},
                'roleRef': {
                    'apiGroup': group,
                    'kind': 'ClusterRole',
                    'name': role,
                },
                'subjects': [
                    {'apiGroup': group, 'kind': 'User', 'name': user}
                ],
            }
        )

    def node_token(self, node: str) -> str:
        """A token of the node daemon's pod there, as its kubelet asks for."""
        name = f'kuryr-sriov-node-{node}'
        with contextlib.suppress(ApiError):
            self.create(
                {
                    'apiVersion': 'v1',
                    'kind': 'Pod',
                    'metadata': {'name': name, 'namespace': OURS},
                    'spec': {
                        'nodeName': node,
                        'serviceAccountName': 'kuryr-sriov-node',
                        'containers': [{'name': 'c', 'image': 'kuryr-sriov'}],
                    },
                }
            )
        pod = self.call('GET', f'{place("Pod", OURS)}/{name}')
        bound = {
            'apiVersion': 'v1',
            'kind': 'Pod',
            'name': name,
            'uid': pod['metadata']['uid'],
        }
        answer = self.call(
            'POST',
            f'{place("ServiceAccount", OURS)}/kuryr-sriov-node/token',
            {
                'apiVersion': 'authentication.k8s.io/v1',
                'kind': 'TokenRequest',
                'spec': {'boundObjectRef': bound},
            },
        )
        return str(answer['status']['token'])
