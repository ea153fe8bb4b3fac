# SPDX-License-Identifier: Apache-2.0
"""The API server with its etcd, its users and this project's objects."""

from __future__ import annotations

import json
import os
import pathlib
import ssl
import urllib.error
import urllib.request
from typing import Any

import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from servers import LOOPBACK, ReservedPort, Running, Server, wait_for

from .install import ensure_installed

REPOSITORY = pathlib.Path(__file__).parents[3]
OBJECTS = REPOSITORY / 'etc' / 'kubernetes'

USERS = {
    'admin': ('system:masters',),
    'kuryr-sriov-controller': (),
    'kuryr-sriov-node': (),
    'author': (),
}
"""Users and their groups; a user's token is its name.

The two of this project get the cluster roles of their names, ``author`` all
rights that Kubernetes gives to the administrator of a namespace.
"""

ROLES = {
    'kuryr-sriov-controller': ('kuryr-sriov-controller',),
    'kuryr-sriov-node': ('kuryr-sriov-node',),
    # of which Kubernetes' controllers, which do not run here, make "admin"
    'author': tuple(
        f'system:aggregate-to-{role}' for role in ('admin', 'edit', 'view')
    ),
}

PLACES = {
    'ClusterRole': '/apis/rbac.authorization.k8s.io/v1/clusterroles',
    'ClusterRoleBinding': (
        '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings'
    ),
    'CustomResourceDefinition': (
        '/apis/apiextensions.k8s.io/v1/customresourcedefinitions'
    ),
    'Deployment': '/apis/apps/v1/namespaces/default/deployments',
    'NetworkAttachmentDefinition': (
        '/apis/k8s.cni.cncf.io/v1/namespaces/default/'
        'network-attachment-definitions'
    ),
    'Pod': '/api/v1/namespaces/default/pods',
}

PORTS = '/apis/openstack.org/v1/namespaces/default/kuryrsriovports'
PORTS_CRD = 'kuryrsriovports.openstack.org'


class ApiError(Exception):
    """The API server says no.

    :ivar code: of the HTTP answer.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


class Cluster(Running):
    """A fresh API server in ``folder``; a context manager."""

    def __init__(self, folder: pathlib.Path) -> None:
        programs = ensure_installed()
        self.folder = folder
        self._ports = ReservedPort(), ReservedPort()
        etcd, api = self._ports
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
                f'--advertise-address={LOOPBACK}',
                f'--secure-port={api.number}',
                *('--permit-port-sharing', '--endpoint-reconciler-type=none'),
                f'--cert-dir={folder}/certificates',
                f'--token-auth-file={folder}/tokens.csv',
                '--authorization-mode=RBAC',
                '--service-cluster-ip-range=10.0.0.0/24',
                # no controller makes the service accounts that it wants
                '--disable-admission-plugins=ServiceAccount',
                f'--service-account-issuer={self.url}',
                f'--service-account-key-file={folder}/key.pem',
                f'--service-account-signing-key-file={folder}/key.pem',
            ],
            env,
            folder / 'kube-apiserver.log',
            f'{self.url}/readyz',
            ca=self.ca,
        )

    def start(self) -> None:
        (self.folder / 'tokens.csv').write_text(
            ''.join(
                f'{user},{user},{user},"{",".join(groups)}"\n'
                for user, groups in USERS.items()
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
        self.apply(OBJECTS / 'crd.yaml')
        self.apply(OBJECTS / 'rbac.yaml')
        self.apply(pathlib.Path(__file__).with_name('nad-crd.yaml'))
        for user, roles in ROLES.items():
            for role in roles:
                self._bind(user, role)
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

    def stop(self) -> None:
        """End everything that was started. Idempotent."""
        self.api.stop()
        self.etcd.stop()
        for port in self._ports:
            port.release()

    def kubeconfig(self, user: str) -> pathlib.Path:
        """A file with the user's credentials."""
        path = self.folder / f'{user}.kubeconfig'
        cluster = {
            'server': self.url,
            'certificate-authority': str(self.ca),
        }
        context = {'cluster': 'here', 'user': user}
        content = {
            'clusters': [{'name': 'here', 'cluster': cluster}],
            'users': [{'name': user, 'user': {'token': user}}],
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
        **headers: str,
    ) -> Any:
        """The object that the API server answers.

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
                request, timeout=30, context=context
            ) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            text = error.read().decode()
            raise ApiError(error.code, text) from error

    def create(self, thing: Any, user: str = 'admin') -> Any:
        """Make an object; a field that is not known is an error."""
        place = PLACES[thing['kind']] + '?fieldValidation=Strict'
        return self.call('POST', place, thing, user)

    def apply(self, file: pathlib.Path) -> list[Any]:
        """Make all objects of a file."""
        things = yaml.safe_load_all(file.read_text())
        return [self.create(thing) for thing in things]

    def wait_served(self, place: str) -> None:
        """Return once a kind of objects can be listed."""

        def served() -> bool:
            try:
                self.call('GET', place)
            except ApiError as error:
                if error.code not in (404, 429):  # not there, not ready
                    raise
                return False
            return True

        wait_for(served, 30, place)
