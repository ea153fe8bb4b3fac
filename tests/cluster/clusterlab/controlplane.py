# SPDX-License-Identifier: Apache-2.0
"""API server, controllers and scheduler, beside the node's machine."""

from __future__ import annotations

import os
import pathlib
import subprocess
from typing import Any

from kubelab.cluster import ApiServer
from servers import LOOPBACK, ReservedPort, Running, Server

NODE = 'node1'
PORT_OBJECTS = '/apis/openstack.org/v1/kuryrsriovports'

OUTSIDE = '10.0.2.2'
"""What the node's machine calls the loopback of its host."""

USERS = {
    'admin': ('admin', 'system:masters'),
    'controllers': ('system:kube-controller-manager',),
    'scheduler': ('system:kube-scheduler',),
    'kubelet': (f'system:node:{NODE}', 'system:nodes'),
}
"""Names of users, and their groups, by token."""


class ControlPlane(Running):
    """A fresh one in ``folder``."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.api = ApiServer(
            folder,
            USERS,
            f'--advertise-address={OUTSIDE}',
            '--authorization-mode=Node,RBAC',
            '--enable-admission-plugins=NodeRestriction',
            '--allow-privileged=true',
            # the kubelet's is self-signed
            '--kubelet-preferred-address-types=InternalIP',
        )
        self.kubectl = self.api.programs / 'kubectl'
        self._ports = ReservedPort(), ReservedPort()
        self.controllers = self._component(
            'kube-controller-manager',
            'controllers',
            self._ports[0],
            f'--service-account-private-key-file={folder}/key.pem',
            f'--root-ca-file={self.api.ca}',
            '--use-service-account-credentials',
            # a busy host may keep the node silent for longer than 50 s
            '--node-monitor-grace-period=150s',
        )
        self.scheduler = self._component(
            'kube-scheduler', 'scheduler', self._ports[1]
        )

    def _component(
        self, name: str, token: str, port: ReservedPort, *flags: str
    ) -> Server:
        config = self.api.kubeconfig(token)
        certificates = self.folder / name
        return Server(
            name,
            [
                self.api.programs / name,
                f'--kubeconfig={config}',
                f'--bind-address={LOOPBACK}',
                f'--secure-port={port.number}',
                '--permit-port-sharing',
                f'--cert-dir={certificates}',
                '--leader-elect=false',
                *flags,
            ],
            dict(os.environ),
            self.folder / f'{name}.log',
            f'https://{LOOPBACK}:{port.number}/healthz',
            ca=certificates / f'{name}.crt',
        )

    def start(self) -> None:
        self.api.start()
        self.controllers.launch()
        self.scheduler.launch()
        self.controllers.wait_ready()
        self.scheduler.wait_ready()

    def stop(self) -> None:
        """End everything that was started. Idempotent."""
        self.scheduler.stop()
        self.controllers.stop()
        self.api.stop()
        for port in self._ports:
            port.release()

    def restart_api_server(self) -> None:
        """Let it die, and start it again."""
        self.api.api.kill()
        self.api.api.start()
        # Kubernetes' own kinds come first
        self.api.wait_served(PORT_OBJECTS)

    @property
    def outside(self) -> str:
        """URL of the API server, as the node's machine has it."""
        return self.api.url.replace(LOOPBACK, OUTSIDE)

    def run(
        self,
        *words: object,
        stdin: str = '',
        timeout: float = 300,
        folder: pathlib.Path | None = None,
    ) -> str:
        """What ``kubectl`` says, as the cluster's administrator.

        :param folder: where it runs; this one for nothing.

        :raises KubectlFailed: it failed; has what it said.
        """
        config = self.api.kubeconfig('admin')
        done = subprocess.run(
            [self.kubectl, f'--kubeconfig={config}', *map(str, words)],
            input=stdin,
            text=True,
            capture_output=True,
            timeout=timeout,
            cwd=folder,
            check=False,
        )
        if done.returncode:
            # what kuryr-sriov says of a pod that is not well, for one
            said = f'{done.stdout}{done.stderr}'.strip()
            raise KubectlFailed(f'kubectl {" ".join(map(str, words))}: {said}')
        return done.stdout

    def get(self, path: str) -> Any:
        """An object, or a list of objects, as the API server has it.

        ``kubectl`` would take a tenth of a second of a processor to ask.

        :raises ApiError: it is not there.
        """
        return self.api.call('GET', path, timeout=300)


class KubectlFailed(Exception):
    """``kubectl`` did not do what it was asked for."""
